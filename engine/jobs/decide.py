"""What to hold after a day's close, and the orders that get there, with a finished run's policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from clusterfolio.engine.trading.costs import costs_of
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.symbols import MONEY
from clusterfolio.feeds.writing import restored
from clusterfolio.strategies.order_list import order_list, quotes_of
from clusterfolio.strategies.policy import (
    Decision,
    Policy,
    PortfolioState,
    ask,
    guard_of,
    guarded,
    largest_exposure,
    rests,
)


@dataclass(frozen=True)
class Orders:
    """A decision and how to get there.

    Attributes:
        orders: columns ``strategies.order_list.COLUMNS``; money in the account's currency but for ``price``.
        refused: what cannot be ordered: columns ``strategies.order_list.REFUSED``.
        value: of the account, in its currency.
        notes: what else is to be known before the orders are sent.
    """

    decision: Decision
    orders: pd.DataFrame
    refused: pd.DataFrame
    value: float
    currency: str
    notes: tuple[str, ...] = ()


def decide(
    run_dir: Path,
    asof: str,
    holdings: Path | None,
    paths: Sequence[str],
    reporter: Reporter,
    trust: bool = False,
) -> Orders:
    """What a run's policy would hold after the close of ``asof``, and the orders from ``holdings`` to there.

    Args:
        holdings: CSV with columns symbol and shares (``read_holdings``). None = the run's capital in cash.
        paths: newer prices for source "files"; empty = where the run found its own.
        trust: import the classes that the run directory names.
    """
    facts = artifacts.read_own_run(run_dir, "decide with")
    settings = read_toml(Path(run_dir) / "config.toml")
    check_trust(run_dir, settings, trust)
    config = make_config(merge(settings, {"data": {"path": list(paths)}}) if paths else settings)
    day = pd.to_datetime(asof, format="%Y-%m-%d", errors="coerce")
    if pd.isna(day):
        raise ValueError(f"--asof: got {asof!r}, expected a day as YYYY-MM-DD")
    held = read_holdings(holdings) if holdings else pd.Series({MONEY: config.trading.capital})
    _check_places(run_dir, config)
    reporter.stage("load")
    market = load_market(config, asof=day)
    panel = market.panel
    if day not in panel.sessions or day != panel.dates[-1]:
        raise ValueError(f"--asof {asof}: the last session before it with prices is {panel.sessions[-1].date()}")
    units = held.drop(MONEY, errors="ignore")
    unknown = [name for name in units.index if name not in panel.symbols]
    if unknown:
        raise ValueError(f"--holdings {holdings}: no prices for {', '.join(unknown[:5])}")
    panel, cash, _ = prepare(config, panel)
    policy = make_policy(config, cash)
    use_model(policy, run_dir, day)
    reporter.stage("decide")
    quotes = quotes_of(panel)
    worth = units * quotes["each"].reindex(units.index)
    unpriced = worth.index[worth.isna()]
    if len(unpriced):
        raise ValueError(
            f"--holdings {holdings}: {unpriced[0]} cannot be valued: {quotes['why_not'][unpriced[0]] or 'no price'}"
        )
    value = float(worth.sum() + held.get(MONEY, 0.0))
    if value <= 0:
        raise ValueError(f"--holdings {holdings}: worth {value:,.2f} {facts['currency']}, expected more than 0")
    state = PortfolioState(worth / value, held.get(MONEY, 0.0) / value, decided=day)
    decision = ask(policy, panel, state)
    weights, ruled = _under_rules(policy, decision, panel, state)
    charges = costs_of(panel, panel, config.trading).charges(day, panel.close.ffill().iloc[-1])
    orders, refused = order_list(
        weights, units, quotes, value, cash_buffer=config.trading.cash_buffer,
        fractional=config.trading.fractional, charges=charges,
        max_exposure=largest_exposure(guard_of(policy)),
    )  # fmt: skip
    notes = (
        ruled
        + _borrowed(weights, value, panel.currency, config.trading.cash_buffer)
        + _in_parts(orders, charges, config.trading.volume_cap)
        + _stale(quotes, orders, day, panel.currency)
        + market.later_splits(set(orders["symbol"]))
    )
    return Orders(decision, orders, refused, value, panel.currency, notes)


def _under_rules(
    policy: Policy, decision: Decision, panel: Panel, state: PortfolioState
) -> tuple[pd.Series, tuple[str, ...]]:
    """A decision's weights as the policy's guard leaves them, and what it says."""
    guard = guard_of(policy)
    if guard is None:
        return decision.weights, ()
    found = guarded(guard, decision.weights, panel, state)
    together: dict[str, list[str]] = {}
    for name, why in found.reasons.items():
        together.setdefault(why, []).append(name)
    said = [f"{', '.join(names)}: {why}" for why, names in together.items()]
    if rests(guard):
        said.append(
            "risk.stop_orders: orders that rest with the broker are not in this list; place them once the buys have "
            "filled, by the price they filled at"
        )
    unknown = "risk rules that look at when a name was bought, or at the account's past, had nothing to look at here"
    return found.weights, (*said, unknown)


def _borrowed(weights: pd.Series, value: float, currency: str, cash_buffer: float) -> tuple[str, ...]:
    """That the orders need a loan, where they do."""
    lent = float(weights.sum()) * (1.0 - cash_buffer) - 1.0
    if lent <= 0:
        return ()
    return (f"about {lent * value:,.0f} {currency} are to be borrowed: it takes a margin account that lends as much",)


def _in_parts(orders: pd.DataFrame, charges: pd.DataFrame, volume_cap: float) -> tuple[str, ...]:
    """Orders that are for a part of what is missing, as no more goes through in a day."""
    most = charges["most"].reindex(orders["symbol"]).to_numpy()
    short = [name for name, full in zip(orders["symbol"], orders["value"] >= 0.99 * most, strict=True) if full]
    return tuple(
        f"{name}: its order is the {volume_cap:.0%} of its average volume that trading.volume_cap lets through; order "
        "the rest on the days after".replace("%", " %")
        for name in short
    )


def _stale(quotes: pd.DataFrame, orders: pd.DataFrame, day: pd.Timestamp, account: str) -> tuple[str, ...]:
    """Orders priced by a close, and where it is in another currency by an exchange rate, of an earlier day."""
    rows = quotes.loc[orders["symbol"]]
    rows = rows[rows["day"] < day]
    foreign = (rows["currency"] != account) & (rows["unit"] == "shares")
    by = foreign.map({True: " and that day's exchange rate", False: ""})
    return tuple(f"{name}: priced by its close of {rows.loc[name, 'day'].date()}{by[name]}" for name in rows.index)


def _check_places(run_dir: Path, config: RunConfig) -> None:
    """Name a source that is not where the run found it, before anything is read."""
    for path in config.data.path:
        if not Path(path).exists():
            raise FileNotFoundError(
                f"{run_dir}: its prices were read from {path}, which is not there any more; --path names another place"
            )


def read_holdings(path: Path) -> pd.Series:
    """What is held by symbol, from a CSV with columns symbol and shares.

    CASH is money in the account's currency, below 0 where it is borrowed. Of a pair it is the amount of the currency
    that is not the account's (JPY=X in an account in dollars: yen).
    """
    said = f"--holdings {path}"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{said}: no such file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{said}: not a table of symbol, shares ({error})") from error
    if not {"symbol", "shares"} <= set(table.columns):
        raise ValueError(f"{said}: columns {', '.join(table.columns)}; expected symbol, shares")
    table["symbol"] = restored(table["symbol"].str.strip())
    shares = pd.to_numeric(table["shares"], errors="coerce").set_axis(table["symbol"])
    wrong = ~(np.isfinite(shares.to_numpy()) & ((shares.to_numpy() >= 0) | (table["symbol"] == MONEY).to_numpy()))
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{said}: {row['symbol']} has shares {row['shares']!r}, expected a number >= 0")
    twice = table["symbol"][table["symbol"].duplicated()]
    if len(twice):
        counts = ", ".join(table["shares"][table["symbol"] == twice.iloc[0]])
        raise ValueError(f"{said}: {twice.iloc[0]} stands there more than once ({counts}); expected a row per symbol")
    return shares
