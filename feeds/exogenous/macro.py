"""Exogenous daily series, dated by the day they became known: what cash earns, and the state of the economy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.exogenous.publication import (
    PUBLICATION_LAG,
    by_date,
    find_macro_file,
    known_on,
    lag_of,
    read_table,
    serves,
)
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR, Panel

DAYS_PER_YEAR = 360

#: Series that state an annual rate on cash, in percent.
CASH_RATES = ("DFF", "SOFR", "DTB3", "DGS1MO", "DGS3MO", "FEDFUNDS", "ECBDFR")

#: How far the date a year before may lie from one that has a value, for a change over a year.
NEAR = pd.Timedelta(days=10)


@dataclass(frozen=True)
class CashConfig:
    """What cash earns: what Sharpe ratios are taken over and, with ``trading.cash_interest``, idle cash is paid.

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
    """Simple return of cash at each of the panel's sessions since the one before, and where it comes from, in words.

    The rate published by the close of a session is what cash earns until the next one, so what a session pays is known
    at the close before it. A constant pays the same at every session; a series pays by calendar days; and a fund pays
    what it returned on the session before.
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
        earned = panel.session_returns()[config.fund].shift(1).fillna(0.0)
        return earned, f"the returns of {config.fund}, a session later"
    known = read_macro_series(found, config.series)
    rate = known.reindex(panel.sessions, method="ffill")
    if rate.isna().all():
        raise ValueError(
            f"cash.series: {config.series} in {found.name} has no value before {panel.sessions[-1].date()}"
        )
    days = np.diff(panel.sessions.to_numpy(), prepend=panel.sessions[:1].to_numpy()) / np.timedelta64(1, "D")
    return rate.shift(1).fillna(0.0) / 100 * days / DAYS_PER_YEAR, f"{config.series} ({found.name}), as published"


def read_macro_series(path: Path, series: str) -> pd.Series:
    """One series of a table (date, series, value), indexed by the day its value could be known."""
    table = read_table(path, "cash.path")
    values = by_date(table, series)
    if values.empty:
        raise ValueError(_absent("cash.series", series, path.name, table))
    if series not in CASH_RATES:
        raise ValueError(f"cash.series: {series!r} is no rate that cash earns; use one of {', '.join(CASH_RATES)}")
    values.index = known_on(series, values.index)
    return values[~values.index.duplicated(keep="last")]


@dataclass(frozen=True)
class Channel:
    """An exogenous channel made from published series.

    Attributes:
        meaning: what its values are.
        series: the FRED series it is made from.
        make: their values by date, a column each, to the channel's, of which none uses a later row.
    """

    meaning: str
    series: tuple[str, ...]
    make: Callable[[pd.DataFrame], pd.Series]


def a_year_before(values: pd.Series) -> np.ndarray:
    """For each date the value of the date a year before or at most ``NEAR`` before that; NaN where there is none."""
    wanted = values.index - pd.DateOffset(years=1)
    return values.reindex(wanted, method="ffill", tolerance=NEAR).to_numpy()


def level(frame: pd.DataFrame) -> pd.Series:
    """The series as it is."""
    return frame.iloc[:, 0]


def logarithm(frame: pd.DataFrame) -> pd.Series:
    """Natural logarithm; NaN where the value is not positive."""
    values = frame.iloc[:, 0]
    return np.log(values.where(values > 0))


def year_change(frame: pd.DataFrame) -> pd.Series:
    """Difference to the value a year before."""
    return frame.iloc[:, 0] - a_year_before(frame.iloc[:, 0])


def year_growth(frame: pd.DataFrame) -> pd.Series:
    """Growth over the value a year before, in percent."""
    return 100.0 * (frame.iloc[:, 0] / a_year_before(frame.iloc[:, 0]) - 1.0)


def slope(yields: pd.DataFrame) -> pd.Series:
    """Ten years' yield less three months'."""
    return yields["DGS10"] - yields["DGS3MO"]


def curvature(yields: pd.DataFrame) -> pd.Series:
    """Twice the two years' yield less three months' and ten years'."""
    return 2 * yields["DGS2"] - yields["DGS3MO"] - yields["DGS10"]


#: Channels by name. What wanders without bound (prices, rates) enters as its change over a year, so that a scale
#: learned on the training span still fits later. Slope and curvature of the Treasury curve as in Diebold and Li (2006),
#: from yields of 3 months, 2 and 10 years.
CHANNELS = {
    "policy_rate": Channel("effective federal funds rate, change over a year, points", ("DFF",), year_change),
    "inflation": Channel("consumer prices, change over a year, %", ("CPIAUCSL",), year_growth),
    "core_inflation": Channel("the same without food and energy, %", ("CPILFESL",), year_growth),
    "unemployment": Channel("unemployment rate, change over a year, points", ("UNRATE",), year_change),
    "gdp_growth": Channel("real GDP, growth over a quarter at an annual rate, %", ("A191RL1Q225SBEA",), level),
    "curve_level": Channel("10-year Treasury yield, change over a year, points", ("DGS10",), year_change),
    "curve_slope": Channel("10-year less 3-month Treasury yield, points", ("DGS10", "DGS3MO"), slope),
    "curve_curvature": Channel(
        "twice the 2-year less 3-month and 10-year Treasury yields, points",
        ("DGS2", "DGS3MO", "DGS10"),
        curvature,
    ),
    "credit_spread": Channel("log of the spread of investment-grade bonds over Treasuries", ("BAMLC0A0CM",), logarithm),
    "high_yield_spread": Channel("log of the spread of high-yield bonds over Treasuries", ("BAMLH0A0HYM2",), logarithm),
    "vix": Channel("log of the VIX", ("VIXCLS",), logarithm),
    "breakeven": Channel("10-year break-even inflation, %", ("T10YIE",), level),
    "real_rate": Channel("10-year real Treasury yield, change over a year, points", ("DFII10",), year_change),
    "dollar": Channel("broad dollar index, change over a year, %", ("DTWEXBGS",), year_growth),
    "policy_uncertainty": Channel("log of the daily economic policy uncertainty index", ("USEPUINDXD",), logarithm),
}  # fmt: skip

PRESETS = {
    "core": (
        *("policy_rate", "inflation", "unemployment", "curve_level", "curve_slope", "curve_curvature"),
        *("credit_spread", "high_yield_spread", "vix"),
    ),
    "all": tuple(CHANNELS),
}


def channel_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """The channels that these names, presets among them, stand for, each once."""
    return tuple(dict.fromkeys(name for item in wanted for name in PRESETS.get(item, (item,))))


def channel(name: str, lags: Mapping[str, int] | None = None) -> Channel:
    """A channel by name; the name of a series whose lag is known is that series as it stands."""
    if name in CHANNELS:
        return CHANNELS[name]
    if name in PUBLICATION_LAG or name in (lags or {}):
        return Channel(f"{name}, as published", (name,), level)
    raise ValueError(
        f"inputs.macro: unknown {name!r}; available: {', '.join(PRESETS)}; {', '.join(CHANNELS)}; or one of the series "
        f'{", ".join(sorted(PUBLICATION_LAG))}; for any other say when it is known: inputs.lags = ["{name}=DAYS"]'
    )


def macro_channels(
    names: Sequence[str],
    dates: pd.DatetimeIndex,
    read: Callable[[str], pd.Series],
    lags: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Each channel's last value known by the close of each day, ``(n_dates, n_channels)``; NaN where there is none.

    Args:
        names: as from ``channel_names``.
        dates: increasing days.
        read: a series' values by the date they bear, increasing.
        lags: days until values are known, for series not in ``PUBLICATION_LAG``.
    """
    made = {name: channel(name, lags) for name in names}
    series = {name: read(name) for each in made.values() for name in each.series}
    return pd.DataFrame({name: _known(each, series, dates, lags) for name, each in made.items()}, index=dates)


def _known(
    made: Channel, series: Mapping[str, pd.Series], dates: pd.DatetimeIndex, lags: Mapping[str, int] | None
) -> np.ndarray:
    frame = pd.concat([series[name].rename(name) for name in made.series], axis=1, join="inner")
    values = made.make(frame).to_numpy(dtype=float)
    known = np.maximum.reduce([known_on(name, frame.index, lags).to_numpy() for name in made.series])
    usable = np.isfinite(values)
    told = pd.Series(values[usable], index=pd.DatetimeIndex(known[usable]))
    told = told[~told.index.duplicated(keep="last")]
    longest = max(serves(lag_of(name, lags)) for name in made.series)
    return told.reindex(dates, method="ffill", tolerance=longest).to_numpy()


def _absent(key: str, series: str, where: str, table: pd.DataFrame) -> str:
    return f"{key}: {series!r} is not in {where}; it has {', '.join(sorted(table['series'].unique()))}"


def file_reader(path: Path) -> Callable[[str], pd.Series]:
    """``macro_channels``'s ``read`` over a table with columns date, series, value."""
    table = read_table(path, "inputs.macro_path")

    def read(series: str) -> pd.Series:
        values = by_date(table, series)
        if values.empty:
            raise ValueError(_absent("inputs.macro", series, path.name, table))
        return values

    return read
