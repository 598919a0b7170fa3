"""Look before you run: what a run would make of the prices, symbol by symbol, and the prices it would see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly.market import panel_of, read_source, universe_symbols
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.run_dir.remarks import grouped
from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.ingest import NOT_STATED, TOLD_BY_ENDING
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.quality import one_row_per_day
from clusterfolio.feeds.raw import ABSENT, DOUBTED, DROPPED, PASSED_OVER, REPAIRED, USED, RawBars, RawData

#: Largest moves that are kept of a symbol.
MOVES = 10

#: Columns of the prices of a check.
PRICES = ("date", "symbol", "close", "currency", "value", "traded")

#: How the reason begins for which a file is passed over that can hold no prices: a text, or neither days nor prices.
NO_PRICES = ("not a table", "no price table: no column for a date or a closing price")

#: Columns of what is told of a symbol.
DESCRIBED = ["read", "currency", "told_by", "first", "last", "bars", "withheld"]


@dataclass(frozen=True)
class PriceCheck:
    """What a run would make of its prices.

    Attributes:
        verdicts: as ``engine.assembly.market.panel_of``: verdict, why and remarks by symbol.
        symbols: a row per symbol with prices: ``read`` (where from and how), ``currency``, ``told_by`` (how that is
            known), ``first``, ``last`` (days), ``bars``, ``withheld`` (days the source has and a run does not see).
        moves: columns symbol, day, move: the largest simple returns from bar to bar in the account's currency,
            dividends and splits in them; the largest first, ``MOVES`` a symbol.
        actions: columns symbol, day, what ("dividend", "split", "adjusted close"), size: what the source states; an
            adjusted close is one row, on its first day.
        prices: ``PRICES``: a row per day the source has: close as it states it, in the listing's currency; value: total
            return in the account's currency; traded: whether a run sees the bar (value is NaN where it does not).
        problems: what was dropped, refused or left in doubt, in words; empty = nothing.
    """

    verdicts: pd.DataFrame
    symbols: pd.DataFrame
    moves: pd.DataFrame
    actions: pd.DataFrame
    prices: pd.DataFrame = field(repr=False)
    problems: list[str]

    def groups(self) -> list[dict]:
        """The remarks by kind (``engine.run_dir.remarks.grouped``)."""
        return grouped(self.verdicts)


def check_prices(config: RunConfig, only: Sequence[str] = ()) -> PriceCheck:
    """Read the prices as a run with this configuration would.

    Args:
        only: symbols to tell about; empty = all. All are read: the others may convert these.

    Raises:
        DataError: the data cannot carry a run.
        ValueError: a symbol of ``only`` that the run does not ask for.
    """
    raw = read_source(config, universe_symbols(config))
    panel, verdicts = panel_of(config, raw)
    unknown = [name for name in only if name not in verdicts.index]
    if unknown:
        raise ValueError(f"--symbol {unknown[0]}: not among the {len(verdicts)} symbols and files that were read")
    if only:
        verdicts = verdicts[[_origin(name) in only for name in verdicts.index]]
    shown = [name for name in verdicts.index if name in panel.symbols]
    described = [_described(name, panel, raw, verdicts.loc[name]) for name in shown]
    actions = [row for name in shown for row in _actions(name, raw)]
    return PriceCheck(
        verdicts=verdicts,
        symbols=pd.DataFrame(described, index=pd.Index(shown, name="symbol"), columns=DESCRIBED),
        moves=_together([_moves(name, panel.close[name].dropna()) for name in shown], ("symbol", "day", "move")),
        actions=pd.DataFrame(actions, columns=["symbol", "day", "what", "size"]),
        prices=_together([_prices(name, panel, raw) for name in shown], PRICES),
        problems=_problems(verdicts),
    )


def _together(tables: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))


def _origin(name: str) -> str:
    """The source's symbol behind an asset, which may be one of several histories under it (``SYM~2``)."""
    return name.partition("~")[0]


def _bars(name: str, raw: RawData) -> RawBars:
    return raw.bars[name] if name in raw.bars else raw.bars[_origin(name)]


def _described(name: str, panel: Panel, raw: RawData, said: pd.Series) -> dict:
    closes, delivered = panel.close[name].dropna(), _bars(name, raw)
    stated = _days(name, panel, raw)
    return {
        "read": raw.readings.get(_origin(name), ""),
        "currency": panel.assets.loc[name, "currency"],
        "told_by": _told_by(name, delivered, said),
        "first": closes.index[0],
        "last": closes.index[-1],
        "bars": len(closes),
        "withheld": len(stated) - len(closes.index.intersection(stated)),
    }


def _told_by(name: str, delivered: RawBars, said: pd.Series) -> str:
    """How the currency of an asset is known."""
    if delivered.currency:
        return "the source"
    if pair_of(name) is not None:
        return "the pair"
    if any(remark.kind == TOLD_BY_ENDING for remark in said["remarks"]):
        return "the ending"
    guessed = any(remark.kind.startswith(NOT_STATED) for remark in said["remarks"])
    return "nothing: assumed" if guessed else "the universe"


def _days(name: str, panel: Panel, raw: RawData) -> pd.DatetimeIndex:
    """The days with a price that the source has of an asset, inside the panel's span; of one of several histories, its
    own.
    """
    index, columns, _ = one_row_per_day(_bars(name, raw).frame)
    priced = np.any([np.isfinite(columns[column]) for column in ("close", "adj_close") if column in columns], axis=0)
    days = index[priced]
    days = days[(days >= panel.dates[0]) & (days <= panel.dates[-1])]
    histories = [symbol for symbol in panel.symbols if _origin(symbol) == _origin(name) and symbol != _origin(symbol)]
    begun = [panel.close[symbol].first_valid_index() for symbol in histories]
    after = [day for symbol, day in zip(histories, begun, strict=True) if symbol != name]
    if name in histories:
        days = days[days >= panel.close[name].first_valid_index()]
        after = [day for day in after if day > panel.close[name].first_valid_index()]
    return days[days < min(after)] if after else days


def _moves(name: str, closes: pd.Series) -> pd.DataFrame:
    returns = closes.pct_change().dropna()
    largest = np.log1p(returns.astype(float)).abs().nlargest(MOVES).index
    return pd.DataFrame({"symbol": name, "day": largest, "move": returns.loc[largest].to_numpy(dtype=float)})


def _actions(name: str, raw: RawData) -> list[tuple]:
    if name != _origin(name):
        return []
    frame = _bars(name, raw).frame.sort_index(kind="stable")
    rows = []
    for column in ("dividend", "split"):
        if column in frame.columns:
            stated = frame.loc[(frame[column] > 0) & ((frame[column] != 1) | (column == "dividend")), column]
            rows += [(name, day, column, float(size)) for day, size in stated.items()]
    if "adj_close" in frame.columns and frame["adj_close"].notna().any():
        rows.append((name, frame["adj_close"].first_valid_index(), "adjusted close", np.nan))
    return rows


def _prices(name: str, panel: Panel, raw: RawData) -> pd.DataFrame:
    index, columns, _ = one_row_per_day(_bars(name, raw).frame)
    value = panel.close[name].dropna()
    days = _days(name, panel, raw).union(value.index)
    stated = pd.Series(columns.get("close", np.nan), index)
    return pd.DataFrame(
        {
            "date": days,
            "symbol": name,
            "close": stated.reindex(days).to_numpy(),
            "currency": panel.assets.loc[name, "currency"],
            "value": value.reindex(days).to_numpy(),
            "traded": days.isin(value.index),
        }
    )


def _problems(verdicts: pd.DataFrame) -> list[str]:
    """What was dropped, refused, not found or left in doubt. A file that holds no prices is none of these."""
    said = []
    for name, row in verdicts.iterrows():
        lost = row["verdict"] in (DROPPED, ABSENT)
        refused = row["verdict"] == PASSED_OVER and not row["why"].startswith(NO_PRICES)
        if lost or refused:
            said.append(f"{row['verdict']}: {name}: {row['why']}")
        elif row["verdict"] in (USED, REPAIRED):
            said += [f"{DOUBTED}: {name}: {remark}" for remark in row["remarks"] if remark.nature == DOUBTED]
    return said
