"""What the smaller commands do, apart from printing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import load_market
from clusterfolio.engine.assembly.policy import make_policy
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.config.run import RunConfig, make_config
from clusterfolio.engine.config.settings import merge, read_toml
from clusterfolio.engine.config.trust import check_trust
from clusterfolio.engine.progress import Reporter
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.engine.run_dir.stored import use_model
from clusterfolio.feeds.panel import Panel
from clusterfolio.strategies.orders import missing_shares, target_shares
from clusterfolio.strategies.policy import Decision, PortfolioState, ask

CASH = "CASH"


def decide(
    run_dir: Path,
    asof: str,
    holdings: Path | None,
    paths: Sequence[str],
    reporter: Reporter,
    trust: bool = False,
) -> tuple[Decision, pd.DataFrame]:
    """What a run's policy would hold after the close of ``asof``, and the orders from ``holdings`` to there.

    Args:
        holdings: CSV with columns symbol and shares; the symbol CASH states money. None = the run's capital in cash.
        trust: import the classes that the run directory names.
        paths: newer prices for source "files"; empty = where the run found its own.

    Returns:
        The decision, and its orders: symbol, side, shares, price (the last close), value, weight_now, weight_target.
    """
    facts = artifacts.read_own_run(run_dir, "decide with")
    settings = read_toml(Path(run_dir) / "config.toml")
    check_trust(run_dir, settings, trust)
    config = make_config(merge(settings, {"data": {"path": list(paths)}}) if paths else settings)
    day = pd.to_datetime(asof, format="%Y-%m-%d", errors="coerce")
    if pd.isna(day):
        raise ValueError(f"--asof: got {asof!r}, expected a day as YYYY-MM-DD")
    reporter.stage("load")
    panel = load_market(config, asof=day).panel
    if day not in panel.sessions or day != panel.dates[-1]:
        raise ValueError(f"--asof {asof}: the last session before it with prices is {panel.sessions[-1].date()}")
    panel, cash, _ = prepare(config, panel)
    policy = make_policy(config, cash)
    use_model(policy, run_dir, day)
    reporter.stage("decide")
    held = read_holdings(holdings, panel) if holdings else pd.Series({CASH: config.trading.capital})
    prices = panel.session_closes().iloc[-1]
    shares = held.drop(CASH, errors="ignore")
    value = float((shares * prices[shares.index]).sum() + held.get(CASH, 0.0))
    if value <= 0:
        raise ValueError(f"--holdings {holdings}: worth {value:,.2f} {facts['currency']}, expected more than 0")
    weights = shares * prices[shares.index] / value
    state = PortfolioState(weights, held.get(CASH, 0.0) / value)
    decision = ask(policy, panel, state)
    return decision, order_list(decision.weights, shares, prices, value, config)


def order_list(
    target: pd.Series, shares: pd.Series, prices: pd.Series, value: float, config: RunConfig
) -> pd.DataFrame:
    """Orders from the shares held to the target weights, sells first; sized as the backtest sizes them."""
    names = sorted({*target.index, *shares.index})
    weights, held, price = (
        series.reindex(names).fillna(fill).to_numpy(dtype=float)
        for series, fill in ((target, 0.0), (shares, 0.0), (prices, np.nan))
    )
    trading = config.trading
    wanted = target_shares(weights, price, value, cash_buffer=trading.cash_buffer, fractional=trading.fractional)
    change = missing_shares(wanted, held)
    table = pd.DataFrame(
        {
            "symbol": names,
            "side": np.where(change > 0, "buy", "sell"),
            "shares": np.abs(change),
            "price": price,
            "value": np.abs(change) * price,
            "weight_now": held * price / value,
            "weight_target": weights,
        }
    )
    table = table[table["shares"] > 0]
    return table.sort_values(["side", "symbol"], ascending=[False, True], ignore_index=True)


def read_holdings(path: Path, panel: Panel) -> pd.Series:
    """Shares by symbol from a CSV with columns symbol and shares; CASH is money in the account's currency."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"--holdings {path}: no such file")
    table = pd.read_csv(path, dtype={"symbol": str}, keep_default_na=False)
    if not {"symbol", "shares"} <= set(table.columns):
        raise ValueError(f"--holdings {path}: columns {', '.join(table.columns)}; expected symbol, shares")
    shares = pd.to_numeric(table["shares"], errors="coerce")
    if shares.isna().any() or (shares < 0).any():
        row = table[shares.isna() | (shares < 0)].iloc[0]
        raise ValueError(f"--holdings {path}: {row['symbol']} has shares {row['shares']!r}, expected a number >= 0")
    unknown = [name for name in table["symbol"] if name != CASH and name not in panel.symbols]
    if unknown:
        raise ValueError(f"--holdings {path}: no prices for {', '.join(unknown[:5])}")
    return shares.groupby(table["symbol"]).sum()
