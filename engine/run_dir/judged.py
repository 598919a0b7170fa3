"""The directory of a judged run: it carries its own prices, since no source has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.config.run import RunConfig, make_config
from clusterfolio.engine.run_dir.tables import read_symbols
from clusterfolio.feeds.panel import ASSET_DEFAULTS, FIELDS, Panel
from clusterfolio.feeds.writing import write_table

#: What a judged run's directory holds beside a run's tables: bars, and what cash earned.
PRICES_FILE, CASH_FILE = "prices.parquet", "cash.csv"

#: Kept back when 1/N is traded beside the account, so that its orders are not refused for a few cents.
BUFFER = 0.01


def is_judged(facts: dict) -> bool:
    """Whether a run.json is of a run that this program judged and did not make."""
    return "judged" in facts


def judged_config(facts: dict) -> RunConfig:
    """The settings by which a judged run is put beside others.

    Args:
        facts: the content of its run.json.
    """
    settings = facts["config"]
    return make_config(
        {
            "engine": {"seed": settings["engine"]["seed"]},
            "significance": {"portfolios": settings["significance"]["portfolios"]},
            "trading": {"capital": facts["capital"], "cash_buffer": BUFFER, "cash_interest": False},
        }
    )


def write_prices(folder: Path, panel: Panel, cash: pd.Series) -> None:
    """Write a panel's bars, a row per name and day, and what cash earned per session."""
    rows, columns = np.nonzero(panel.close.notna().to_numpy())
    table = pd.DataFrame({"date": panel.dates[rows], "symbol": panel.symbols[columns]})
    for field in FIELDS:
        table[field] = getattr(panel, field).to_numpy(dtype=float)[rows, columns]
    table["session"] = table["date"].isin(panel.sessions)
    table.to_parquet(folder / PRICES_FILE, index=False)
    write_table(folder / CASH_FILE, cash.rename("cash").rename_axis("date").to_frame())


def read_prices(folder: Path, facts: dict) -> tuple[Panel, pd.Series]:
    """The panel and the cash of a judged run."""
    table = pd.read_parquet(folder / PRICES_FILE)
    symbols = read_symbols(folder)
    # The order of the columns is part of the data's fingerprint.
    names = [name for name in symbols.index if name in set(table["symbol"])]
    days = pd.DatetimeIndex(np.sort(table["date"].unique()))
    at = days.get_indexer(table["date"]), pd.Index(names, dtype=object).get_indexer(table["symbol"])
    frames = {}
    for field in FIELDS:
        values = np.full((len(days), len(names)), np.nan)
        values[at] = table[field]
        frames[field] = pd.DataFrame(values, days, pd.Index(names, dtype=object))
    assets = symbols.loc[names, list(ASSET_DEFAULTS)].rename_axis(None)
    panel = Panel(
        **frames,
        assets=assets.astype({name: type(value) for name, value in ASSET_DEFAULTS.items()}),
        sessions=pd.DatetimeIndex(np.sort(table.loc[table["session"], "date"].unique())),
        benchmark=facts["benchmark"],
        currency=facts["currency"],
        simulated=bool(facts["simulated"]),
    )
    cash = pd.read_csv(folder / CASH_FILE, index_col=0, parse_dates=True)["cash"]
    return panel, cash
