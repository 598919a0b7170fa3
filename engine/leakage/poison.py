"""Other futures: the same data up to a day and something else after it, at the source's bars and in the panel.

What is known at the close of a day must not depend on which of these futures follows. A *way* changes the rows after
the day, all symbols at once; everything up to the day is left to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import FIELDS, MARKET, Panel, make_assets
from clusterfolio.feeds.raw import RawBars, RawData

#: Rows after a day by symbol; columns a subset of ``feeds.raw.RAW_COLUMNS``, and others that are left alone.
Frames = dict[str, pd.DataFrame]

#: ``(frames, rng, spared) -> frames``; ``spared`` names symbols that must stay what they are and go on to exist.
Way = Callable[[Frames, np.random.Generator, Collection[str]], Frames]

PRICES = ("open", "high", "low", "close", "adj_close")

#: Symbols that ``listed`` adds.
NEW = ("NEW.0", "NEW.1", "NEW.2")


def scaled(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Prices times 1000, volumes times 7."""
    return {name: _volumes(_prices(frame, 1000.0), 7.0) for name, frame in frames.items()}


def negated(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Two bars in five with negative prices; not all, as a run ends where nothing tradable is left."""
    return {name: _prices(frame, np.where(rng.random(len(frame)) < 0.4, -1.0, 1.0)) for name, frame in frames.items()}


def missing(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Two bars in five empty."""
    return {name: frame.mask(pd.Series(rng.random(len(frame)) < 0.4, frame.index)) for name, frame in frames.items()}


def doubled(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Every tenth day, on one symbol in twelve every day, stated twice, the second time with a close 30 % higher."""
    often = _free(frames, spared)[::12]
    result = {}
    for name, frame in frames.items():
        again = frame.iloc[:: 1 if name in often else 10]
        result[name] = pd.concat([frame, again.assign(**{_level(frame): again[_level(frame)] * 1.3})])
    return result


def split(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """A split of seven to one on the fourth day, and a dividend of 5 % every day."""
    return {
        name: frame.assign(split=np.where(np.arange(len(frame)) == 3, 7.0, 0.0), dividend=frame[_level(frame)] * 0.05)
        for name, frame in frames.items()
    }


def jumped(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Prices three times as high from the seventh day on, a split nobody recorded, on every fourth symbol."""
    chosen = _free(frames, spared)[::4]
    return {
        name: _prices(frame, np.where(np.arange(len(frame)) > 5, 3.0, 1.0)) if name in chosen else frame
        for name, frame in frames.items()
    }


def exchanged(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Each symbol goes on as another one, near its own price: plausible bars, so that nothing withholds them."""
    names = [name for name in frames if name not in spared]
    others = dict(zip(names, _derangement(len(names), rng), strict=True))

    def other(name: str) -> pd.DataFrame:
        frame = frames[names[others[name]]]
        first, own = (rows[_level(rows)].dropna().to_numpy() for rows in (frame, frames[name]))
        if not len(own) or not len(first) or not first[0] > 0:
            return frame
        return _prices(frame, float(rng.choice([0.85, 1.18]) * own[0] / first[0]))  # the first move shows, too

    return {name: other(name) if name in others else frame for name, frame in frames.items()}


def deleted(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Every twelfth symbol, at least three of them, has no bar any more."""
    free = _free(frames, spared)
    gone = free[:: max(1, min(12, len(free) // 3))]
    return {name: frame.iloc[:0] if name in gone else frame for name, frame in frames.items()}


def listed(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """The symbols of ``NEW`` begin, as copies of others with other prices; no other symbol is touched."""
    free = _free(frames, spared)
    return frames | {name: _prices(frames[free[i % len(free)]], 2.0 + i) for i, name in enumerate(NEW)}


def spoilt(frames: Frames, rng: np.random.Generator, spared: Collection[str] = ()) -> Frames:
    """Each symbol in one of the ways that spoil its bars, drawn at random; ``spared`` ones are scaled."""
    ways = (scaled, negated, missing, doubled, split, deleted)
    drawn = dict(zip(frames, rng.integers(len(ways), size=len(frames)), strict=True))
    result = {}
    for name, frame in frames.items():
        way = scaled if name in spared else ways[drawn[name]]
        result[name] = frame.iloc[:0] if way is deleted else way({name: frame}, rng, ())[name]
    return result


#: Every way, by name.
WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (scaled, negated, missing, doubled, split, jumped, exchanged, deleted, listed, spoilt)
}  # fmt: skip


def poison_frames(
    frames: Frames, day: pd.Timestamp, way: Way | None, rng: np.random.Generator, spared: Collection[str] = ()
) -> Frames:
    """The frames with the rows after ``day`` changed by ``way`` (None = cut off), and with symbols it lists.

    A frame may be unsorted or hold a day twice; its rows up to ``day`` keep their order.
    """
    known = {name: frame[frame.index <= day] for name, frame in frames.items()}
    if way is None:
        return known
    to_come = {name for name, rows in known.items() if rows.empty}  # kept: which symbols there are is for ``listed``
    after = way({name: frame[frame.index > day] for name, frame in frames.items()}, rng, {*spared, *to_come})
    return {name: pd.concat([known[name], rows]) if name in known else rows for name, rows in after.items()}


def poison_raw(
    raw: RawData, day: pd.Timestamp, way: Way | None, rng: np.random.Generator, spared: Collection[str] = ()
) -> RawData:
    """What a source would have delivered had something else happened after ``day`` (None = nothing yet)."""
    frames = {name: bars.frame for name, bars in raw.bars.items()}
    changed = poison_frames(frames, day, _as_stated(way, frames), rng, spared)
    currencies = {name: bars.currency for name, bars in raw.bars.items()}
    free = _free(frames, spared)
    currencies |= {name: currencies[free[i % len(free)]] for i, name in enumerate(NEW) if name in changed}
    return replace(raw, bars={name: RawBars(frame, currencies[name]) for name, frame in changed.items()})


def poison_panel(panel: Panel, day: pd.Timestamp, way: Way | None, rng: np.random.Generator) -> Panel:
    """The panel had something else happened after ``day`` (None = nothing yet), within what a panel promises.

    Days are the panel's own; a bar the way made impossible (no price, a negative one) is no bar. Symbols without any
    bar up to the panel's new end are not in it. Features are dropped: they are to be computed anew.
    """
    frames = {name: pd.DataFrame({f: getattr(panel, f)[name] for f in FIELDS}) for name in panel.symbols}
    changed = poison_frames(frames, day, way, rng, {panel.benchmark})
    dates = panel.dates[panel.dates <= day] if way is None else panel.dates
    bars = {}
    for name, frame in changed.items():
        frame = frame[~frame.index.duplicated(keep="last")].reindex(dates)[list(FIELDS)]
        possible = (frame[["open", "high", "low", "close"]] > 0).all(axis=1)
        frame = frame.where(possible)
        if possible.any() or name == panel.benchmark:
            bars[name] = frame
    symbols = pd.Index(list(bars), dtype=object)
    fields = {f: pd.DataFrame({name: frame[f] for name, frame in bars.items()}, dates, symbols) for f in FIELDS}
    return replace(
        panel,
        **fields,
        assets=make_assets(symbols, panel.assets),
        sessions=panel.sessions[panel.sessions <= dates[-1]],
        features=None,
        exog=_poisoned_series(panel.exog, day, dates),
        member=_poisoned_members(panel.member, day, dates, symbols),
        **_poisoned_market(panel, day, fields["close"]),
    )


def _poisoned_market(panel: Panel, day: pd.Timestamp, close: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Market prices and actions, each tripled after ``day``, where ``close`` has a bar; of new symbols nothing."""
    known = {name: getattr(panel, name) for name in MARKET if getattr(panel, name) is not None}
    return {
        name: _changed_after(frame, day, frame * 3).reindex_like(close).where(close.notna())
        for name, frame in known.items()
    }


def _poisoned_series(exog: pd.DataFrame | None, day: pd.Timestamp, dates: pd.DatetimeIndex) -> pd.DataFrame | None:
    """The series beside prices with every value after ``day`` changed, on these dates."""
    return None if exog is None else _changed_after(exog, day, exog * -50 + 700).loc[dates]


def _poisoned_members(
    member: pd.DataFrame | None, day: pd.Timestamp, dates: pd.DatetimeIndex, symbols: pd.Index
) -> pd.DataFrame | None:
    """Membership the other way round after ``day``; symbols that are new are members."""
    if member is None:
        return None
    changed = _changed_after(member, day, ~member)
    return changed.reindex(index=dates, columns=symbols, fill_value=True).astype(bool)


def _changed_after(frame: pd.DataFrame, day: pd.Timestamp, changed: pd.DataFrame) -> pd.DataFrame:
    """The frame up to a day, and what it is changed to after it."""
    return frame.where(np.broadcast_to(np.asarray(frame.index <= day)[:, None], frame.shape), changed)


def _prices(frame: pd.DataFrame, factor: float | np.ndarray) -> pd.DataFrame:
    return frame.assign(**{name: frame[name] * factor for name in PRICES if name in frame.columns})


def _level(frame: pd.DataFrame) -> str:
    return "close" if "close" in frame.columns else "adj_close"


def _volumes(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    return frame.assign(volume=frame["volume"] * factor) if "volume" in frame.columns else frame


def _free(frames: Frames, spared: Collection[str]) -> list[str]:
    return sorted(name for name in frames if name not in spared)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation that leaves none of ``n`` >= 2 in its place: a cycle through all in random order."""
    order = rng.permutation(n)
    other = np.empty(n, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other


def _as_stated(way: Way | None, frames: Frames) -> Way | None:
    """The way, kept to the columns each frame has: a new column would tell the reader something about the past."""
    if way is None:
        return None

    def kept(after: Frames, rng: np.random.Generator, spared: Collection[str]) -> Frames:
        changed = way(after, rng, spared)
        return {
            name: rows.reindex(columns=frames[name].columns) if name in frames else rows
            for name, rows in changed.items()
        }

    return kept
