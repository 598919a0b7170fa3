"""One symbol's rows from all of its files into one series: which day a stamp means, and which of several rows counts.

What a row means is decided from rows up to its day alone; what cannot be known is left out, or the symbol is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.raw import DOUBTED, GUESSED, MENDED, NOTED, DataError, RawBars
from clusterfolio.feeds.sources.files.parts import Note, Part

#: Files of one symbol agree where their prices differ by less than this fraction, or by a cent's rounding.
AGREE, CENT = 1e-3, 0.00501

#: Files are refused where they disagree on more than this share of their common days.
DISAGREE = 0.02

#: A file of less than this share of the other's days is a sample: where it disagrees, it is the one in error.
SAMPLE = 0.1

#: From this many files of a symbol on it is tried whether they can be taken as one.
MANY_FILES = 20

#: Bars in a row with a gap of ``WEEK`` days or more before each, from which on they are no daily bars.
WEEKLY_RUN, WEEK = 4, 5

DAY_NS = 86_400_000_000_000

#: Minutes of the day: from ``LATE`` on a stamp may be midnight of a zone farther east, from ``ENDS`` on it is the end.
LATE, ENDS = 600, 1430

#: Endings of exchanges that trade from Sunday to Thursday.
SUNDAY_MARKETS = (".SR", ".TA", ".QA", ".KW", ".CA", ".AE", ".BH", ".OM", ".JOR")


class Refused(DataError):
    """The symbol's rows cannot be believed; the text says why."""


@dataclass
class Settled:
    """One symbol's bars, and what is to be said about them."""

    bars: RawBars
    notes: list[Note] = field(default_factory=list)


def settle(symbol: str, parts: list[tuple[str, Part]]) -> Settled:
    """The bars of one symbol.

    Args:
        parts: the rows with the name of the file each stands in.

    Raises:
        Refused: intraday or weekly bars, days with several prices all over, files that disagree, days that cannot be
            the exchange's.
    """
    notes = list(dict.fromkeys(note for _, part in parts for note in part.notes))
    parts = _as_one(parts, notes)
    frames = [(name, _one_price(name, _placed(symbol, name, part, notes), notes)) for name, part in parts]
    parts, frames = _without_sparse(parts, frames, notes)
    currency, frames = _one_currency(parts, frames, notes)
    frame = _joined(frames, notes)
    frame = _daily(frame, notes)
    frame = _one_basis(frame, any(part.adjusted for _, part in parts), notes)
    if not {"close", "adj_close"} & set(frame.columns):
        raise Refused(f"no closing price in {_names(parts)}")
    return Settled(RawBars(frame, currency), list(dict.fromkeys(notes)))


def _as_one(parts: list[tuple[str, Part]], notes: list[Note]) -> list[tuple[str, Part]]:
    """Many files of different days (one a day, say) as one, where nothing has to be weighed between them."""
    if len(parts) < MANY_FILES or len({(part.currency, part.adjusted) for _, part in parts}) > 1:
        return parts
    whole = pd.concat([part.frame for _, part in parts])
    if not whole.index.normalize().is_unique or "adj_close" in whole.columns:
        return parts
    notes.append(("joined from several files", _names(parts), NOTED))
    return [(parts[0][0], Part(whole, parts[0][1].currency, parts[0][1].adjusted))]


def _without_sparse(
    parts: list[tuple[str, Part]], frames: list[tuple[str, pd.DataFrame]], notes: list[Note]
) -> tuple[list[tuple[str, Part]], list[tuple[str, pd.DataFrame]]]:
    """Without files of weekly bars or of single days, trades perhaps, beside one of daily bars."""
    sparse = [
        len(frame) > 2 and np.median(np.diff(frame.index.asi8)) >= WEEK * DAY_NS if len(frames) > 1 else False
        for _, frame in frames
    ]
    if not any(sparse) or all(sparse):
        return parts, frames
    left_out = [name for (name, _), far in zip(frames, sparse, strict=True) if far]
    notes.append(("files passed over", f"{', '.join(left_out[:3])}: no daily bars, beside some that are", NOTED))
    kept = [at for at, far in enumerate(sparse) if not far]
    return [parts[at] for at in kept], [frames[at] for at in kept]


def _one_currency(
    parts: list[tuple[str, Part]], frames: list[tuple[str, pd.DataFrame]], notes: list[Note]
) -> tuple[str, list[tuple[str, pd.DataFrame]]]:
    """The currency of the file that begins first, and the files in it; what states none behind it counts as in it."""
    stated = [part.currency for _, part in parts]
    if len(set(stated)) == 1:
        return stated[0], frames
    first = min(range(len(frames)), key=lambda at: (frames[at][1].index.min(), not stated[at], frames[at][0]))
    others = sorted(set(stated) - {stated[first], ""})
    if others and stated[first]:
        raise Refused(f"stated in {stated[first]} and in {', '.join(others)} in different files: {_names(parts)}")
    if others:
        notes.append(("files passed over", f"they state {', '.join(others)}, the earlier file states nothing", DOUBTED))
        frames = [frame for frame, currency in zip(frames, stated, strict=True) if not currency]
    return stated[first], frames


def _names(parts: list[tuple[str, object]]) -> str:
    names = [name for name, _ in parts]
    return ", ".join(names[:3]) + (f" ... ({len(names)} files)" if len(names) > 3 else "")


# Which day a stamp means -------------------------------------------------------------------------------------------


def _placed(symbol: str, name: str, part: Part, notes: list[Note]) -> pd.DataFrame:
    """The rows by day, in order. Several moments of a day are no daily bars."""
    frame = part.frame.sort_index(kind="stable") if not part.frame.index.is_monotonic_increasing else part.frame
    stamps = frame.index
    number = stamps.as_unit("ns").asi8
    if (number % DAY_NS).any():
        days = stamps.normalize()
        moments = pd.Series(stamps).groupby(days.to_numpy()).nunique()
        intraday = moments.index[moments > 1]
        if len(intraday) == len(moments):
            a_day = f"{stamps.nunique() / len(moments):.1f} a day on average"
            raise Refused(f"{name}: intraday bars ({a_day}); daily bars are needed")
        if len(intraday):
            notes.append(("intraday bars", f"days left out: {len(intraday)} of {len(moments)}", NOTED))
            daily = ~days.isin(intraday)
            frame, stamps = frame[daily], stamps[daily]
    moved = _moved(symbol, stamps, notes)
    return frame.set_axis(moved)


def _moved(symbol: str, stamps: pd.DatetimeIndex, notes: list[Note]) -> pd.DatetimeIndex:
    """The day each stamp belongs to, as weekdays prove it.

    A bar that begins at midnight of its exchange bears the day before in another zone: then bars stand on Sundays and
    none on Fridays. One that bears the moment of its end, midnight, stands on Saturdays and not on Mondays.
    """
    number, rest = np.divmod(stamps.as_unit("ns").asi8, DAY_NS)
    weekday = (number + 3) % 7  # 1970 began on a Thursday
    days = stamps.normalize() if rest.any() else stamps
    if not (weekday > 4).any():
        return days
    minute = rest // 60_000_000_000
    shift = np.zeros(len(days), dtype=int)
    for late in (False, True):
        rows = (minute >= LATE) == late
        if rows.any():
            shift[rows], note = _shift(symbol, weekday[rows], minute[rows], late)
            notes += [note] if note else []
    return days + pd.to_timedelta(shift, unit="D")


def _shift(symbol: str, weekday: np.ndarray, minute: np.ndarray, late: bool) -> tuple[int, Note | None]:
    """By how many days stamps of one part of the day are off, and what is to be said about it.

    A stretch of rows without Fridays proves it for all of them, or nothing does: rows that contradict it are refused.
    """
    n, monday, friday, saturday, sunday = len(weekday), *(weekday == day for day in (0, 4, 5, 6))
    weekend = (saturday | sunday).mean()
    if _stretch(sunday, friday | saturday, 1 if late or pair_of(symbol) else 10):
        if symbol.endswith(SUNDAY_MARKETS) and not late:
            return 0, None
        if friday.any() or not (late or pair_of(symbol)):
            raise Refused(
                "bars on Sundays and none on Fridays: dated a day early, or of a market that opens on Sundays"
            )
        return 1, ("days moved", f"{n} bars on Sundays to Thursdays: a day later", MENDED)
    if _stretch(saturday, monday | sunday, 10):
        if monday.any():
            raise Refused("bars on Saturdays and none on Mondays, but not all along")
        return -1, ("days moved", f"{n} bars on Tuesdays to Saturdays: a day earlier", MENDED)
    if not late or weekend <= 0.01:
        return 0, None
    if weekend < 0.2 and n >= 10:
        raise Refused("stamps late in the day, on some weekends: which day they mean is not told")
    if np.median(minute) >= ENDS:
        return 0, None
    return 1, ("days moved", f"{n} bars of an asset traded every day that begin late in it: a day later", GUESSED)


def _stretch(present: np.ndarray, absent: np.ndarray, fewest: int) -> bool:
    """Whether in some stretch of four weeks the one day of the week stands regularly and the others never do."""
    window = min(20, len(present))
    if len(present) < fewest or not present.any():
        return False
    seen = pd.Series(present).rolling(window).sum().to_numpy()
    others = pd.Series(absent).rolling(window).sum().to_numpy()
    return bool(((seen >= max(1, window // 7)) & (others == 0)).any())


# Which of several rows counts --------------------------------------------------------------------------------------


def _one_price(name: str, frame: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Without the days that one file states several times with different prices, and those around them."""
    level = _level(frame)
    if frame.index.is_unique or level is None:
        return frame
    stated = frame[level].groupby(frame.index)
    high, low = stated.max(), stated.min()
    conflict = (high > low * (1 + 1e-5)).to_numpy()
    if conflict.mean() > 0.9:
        raise Refused(
            f"{name}: the same day several times with different prices, on {conflict.sum()} of {len(conflict)} days"
        )
    if not conflict.any():
        return frame
    lately = pd.Series(conflict).rolling(20, min_periods=1).sum().to_numpy()
    mixed = conflict | (lately >= 3)  # two series in turns: a day with one row belongs to either
    notes.append(("days with several prices", f"{int(mixed.sum())} of {len(mixed)} withheld", DOUBTED))
    return frame[~frame.index.isin(high.index[mixed])]


def _level(frame: pd.DataFrame) -> str | None:
    return next((name for name in ("close", "adj_close") if name in frame.columns), None)


def _joined(frames: list[tuple[str, pd.DataFrame]], notes: list[Note]) -> pd.DataFrame:
    """One series of all files: the one that begins first, and what the others have beside and behind it."""
    if len(frames) == 1:
        return frames[0][1]
    frames = sorted(frames, key=lambda part: (_level(part[1]) is None, part[1].index.min(), -part[1].shape[1], part[0]))
    days = [frame.index.unique() for _, frame in frames]
    together = days[0].append(days[1:])
    notes.append(("joined from several files", _names(frames), NOTED))
    if together.is_unique and all(_level(frame) is not None for _, frame in frames):
        return _at_seams(frames, notes)
    (first, base), *others = frames
    base = _last_of_day(base)
    for name, frame in others:
        frame = _last_of_day(frame)
        common = base.index.intersection(frame.index)
        apart = _disagree(base.loc[common], frame.loc[common])
        if apart.any() and apart.mean() > DISAGREE:
            day = common[apart][0]
            said = f"{name} disagrees with {first} on {apart.sum()} of {len(common)} common days, first on {day.date()}"
            if len(frame) >= SAMPLE * len(base):
                raise Refused(said)
            notes.append(("files passed over", said, DOUBTED))
            continue
        unsure = common[apart]
        if len(unsure):
            notes.append(("days with several prices", f"{len(unsure)} withheld, on which files disagree", DOUBTED))
        base = base.combine_first(frame).drop(index=unsure)
    return base


def _last_of_day(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if frame.index.is_unique else frame.groupby(level=0).last()


def _disagree(left: pd.DataFrame, right: pd.DataFrame) -> np.ndarray:
    """On which days prices differ by more than rounding."""
    apart = np.zeros(len(left), dtype=bool)
    for name in ("close", "adj_close"):
        if name in left.columns and name in right.columns:
            one, other = left[name].to_numpy(), right[name].to_numpy()
            cents = (
                np.minimum(np.abs(one * 100 - np.round(one * 100)), np.abs(other * 100 - np.round(other * 100))) < 1e-6
            )
            near = np.abs(one - other) <= np.maximum(AGREE * np.abs(one), np.where(cents, CENT, 0.0))
            apart |= ~near & np.isfinite(one) & np.isfinite(other) & (name == "close")
    return apart


def _at_seams(frames: list[tuple[str, pd.DataFrame]], notes: list[Note]) -> pd.DataFrame:
    """Files of different days behind each other; a later file's adjusted close continues the earlier one's basis."""
    whole = pd.concat([frame for _, frame in frames])
    if {"close", "adj_close"} <= set(whole.columns):
        number = np.repeat(np.arange(len(frames)), [len(frame) for _, frame in frames])
        ratios = (whole["adj_close"] / whole["close"]).groupby(number).agg(["first", "last"]).to_numpy()
        scale, last, scales = 1.0, np.nan, np.ones(len(frames))
        for at, (first, end) in enumerate(ratios):
            if first * scale < last * (1 - 1e-4):
                scale = last / first
                text = f"{frames[at][0]} and later ones scaled by {scale:.6g} to go on"
                notes.append(("adjusted closes of another basis", text, MENDED))
            scales[at] = scale
            last = end * scale if np.isfinite(end) else last
        whole["adj_close"] *= scales[number]
    return whole.sort_index(kind="stable")


def _daily(frame: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Without bars that follow each other week by week or farther apart."""
    days = frame.index
    if len(days) < 2:
        return frame
    gaps = np.diff(days.to_numpy()) // np.timedelta64(1, "D")
    far = np.concatenate([[False], gaps >= WEEK])
    if not far.any():
        return frame
    run = pd.Series(far).rolling(WEEKLY_RUN, min_periods=WEEKLY_RUN).sum().to_numpy() == WEEKLY_RUN
    if far.mean() > 0.5 or run.mean() > 0.5:
        median = int(np.median(gaps))
        raise Refused(f"bars {median} days apart: daily bars are needed")
    if not run.any():
        return frame
    notes.append(("weekly bars", f"{int(run.sum())} of {len(run)} left out", NOTED))
    return frame[~run]


def _one_basis(frame: pd.DataFrame, adjusted: bool, notes: list[Note]) -> pd.DataFrame:
    """Adjusted closes only where the series begins with them; else dividends and splits count.

    Beside adjusted closes, which have them in them, dividends and splits tell what a share became (``feeds.actions``).
    """
    actions = [name for name in ("dividend", "split") if name in frame.columns]
    if "adj_close" in frame.columns and "close" in frame.columns and (actions or adjusted):
        has = np.isfinite(frame["adj_close"].to_numpy())
        closes = np.isfinite(frame["close"].to_numpy())
        begins = has.argmax() if has.any() else len(has)
        if closes[:begins].any():
            day = f" from {frame.index[begins].date()} on" if has.any() else ""
            notes.append(("adjusted close not used", f"stated only{day}: dividends and splits count instead", NOTED))
            frame = frame.drop(columns="adj_close")
    if adjusted and "adj_close" not in frame.columns:
        frame = frame.drop(columns=actions).assign(adj_close=frame["close"])  # no close of the market is stated
    return frame
