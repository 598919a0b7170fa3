"""Exogenous daily series, dated by the day they became known; here: what cash earns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from feeds.panel import Panel

#: Days from the day a series is dated by to the day it can be known. The Fed publishes the effective rate of a day on
#: the next business day; over a weekend that is three days.
PUBLICATION_LAG = {"DFF": 3, "DTB3": 3, "SOFR": 3}

DAYS_PER_YEAR, SESSIONS_PER_YEAR = 360, 252


@dataclass(frozen=True)
class CashConfig:
    """What cash earns: the rate that Sharpe ratios are measured in excess of.

    Attributes:
        source: "macro" = a series of a macro file; "fund" = a bill fund's returns; "constant" = `rate`; "auto" = the
            series where a macro file lies among the data, else the constant.
        rate: annual rate of the constant, 0.03 = 3 %.
        series: name of the macro series, in percent a year.
        fund: symbol of the bill fund.
        path: the macro file (columns date, series, value); empty = looked for among the data's files.
    """

    source: str = "auto"
    rate: float = 0.03
    series: str = "DFF"
    fund: str = ""
    path: str = ""

    def __post_init__(self):
        if self.source not in ("auto", "macro", "fund", "constant"):
            raise ValueError(f"cash.source: got {self.source!r}, expected auto, macro, fund or constant")
        if self.source == "fund" and not self.fund:
            raise ValueError("cash.fund: empty, but cash.source is 'fund'; name a bill fund, for example BIL")


def cash_returns(panel: Panel, config: CashConfig, paths: tuple[str, ...] = ()) -> tuple[pd.Series, str]:
    """Daily simple return of cash at each of the panel's sessions, and a sentence that says where it comes from.

    The rate that applies to a session is the last one published by its close.
    """
    source, found = config.source, None
    if source in ("auto", "macro"):
        found = find_macro_file(config.path or None, paths)
        if found is None and source == "macro":
            raise ValueError(
                f"cash.path: no macro file (columns date, series, value) in {config.path or list(paths)!r}"
            )
        source = "constant" if found is None else "macro"
    if source == "constant":
        daily = config.rate / SESSIONS_PER_YEAR
        return pd.Series(daily, panel.sessions), f"a constant {config.rate * 100:g} % a year"
    if source == "fund":
        if config.fund not in panel.symbols:
            raise ValueError(f"cash.fund: {config.fund!r} is not among the panel's symbols")
        return panel.session_returns()[config.fund].fillna(0.0), f"the returns of {config.fund}"
    known = read_macro_series(found, config.series)
    rate = known.reindex(panel.sessions, method="ffill")
    if rate.isna().all():
        raise ValueError(
            f"cash.series: {config.series} in {found.name} has no value before {panel.sessions[-1].date()}"
        )
    days = np.diff(panel.sessions.to_numpy(), prepend=panel.sessions[:1].to_numpy()) / np.timedelta64(1, "D")
    return rate.fillna(0.0) / 100 * days / DAYS_PER_YEAR, f"{config.series} ({found.name}), as published"


def read_macro_series(path: Path, series: str) -> pd.Series:
    """One series of a table (date, series, value), indexed by the day its value could be known."""
    table = _read(path)
    chosen = table[table["series"] == series]
    if chosen.empty:
        names = ", ".join(sorted(table["series"].unique()))
        raise ValueError(f"cash.series: {series!r} is not in {path.name}; it has {names}")
    if series not in PUBLICATION_LAG:
        raise ValueError(
            f"cash.series: when {series!r} is published is not known here; use one of {', '.join(PUBLICATION_LAG)}"
        )
    known = pd.to_datetime(chosen["date"]) + pd.Timedelta(days=PUBLICATION_LAG[series])
    values = pd.Series(chosen["value"].to_numpy(dtype=float), index=pd.DatetimeIndex(known)).dropna()
    return values[~values.index.duplicated(keep="last")].sort_index()


def find_macro_file(path: str | None, paths: tuple[str, ...]) -> Path | None:
    """The file named, or the first one called macro.parquet or macro.csv among the data's files and folders."""
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"cash.path: no file at {path}")
        return Path(path)
    for place in map(Path, paths):
        for candidate in [place] if place.is_file() else [place / "macro.parquet", place / "macro.csv"]:
            if candidate.stem == "macro" and candidate.is_file():
                return candidate
    return None


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if not {"date", "series", "value"} <= set(table.columns):
        raise ValueError(f"cash.path: {path} has columns {', '.join(table.columns)}; expected date, series, value")
    return table
