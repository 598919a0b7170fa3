"""Yahoo Finance through yfinance: a cache of unadjusted bars, one Parquet file per symbol, and reading it.

Yahoo's prices, dividends and volumes are adjusted for every split up to the day of the request, so a split rescales
what it said before. The cache holds what was really quoted and paid: each answer runs up to the present, and the
splits it states are undone at once. An update asks for the whole history, which is one request as well: vendors state
dividends and splits late, fill in days and correct prices of any age, and nothing short of the history itself tells.
What an answer lacks of days that were known is kept, as long as both agree on the others.

Tested against recorded and faulty answers; unverified against the live service.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import ABSENT, RawBars, RawData
from clusterfolio.feeds.sources.yahoo_answers import (
    Answer,
    NoPrices,
    Offline,
    Unreachable,
    from_yahoo,
    in_price_currency,
    unadjusted,
)
from clusterfolio.feeds.sources.yahoo_cache import Cached, cache_file, cache_folder, read_cached, write_cached

log = logging.getLogger(__name__)

#: How far two answers may differ in a figure and state the same: they are rounded, before and after splits.
AGREE = 1e-3

#: Calendar days after the first cached bar on which a complete answer begins at the latest.
BEGINS_WITHIN = pd.Timedelta(days=7)

#: Seconds to wait before each further attempt when Yahoo refuses or cannot be reached.
WAITS = (2.0, 5.0, 15.0, 45.0)

#: Symbols in a row without an answer after which the rest is left for later.
GIVE_UP_AFTER = 3


Download = Callable[[str, pd.Timestamp], Answer]


def fetch(
    symbols: Sequence[str],
    start: pd.Timestamp,
    end: pd.Timestamp | None = None,
    cache_dir: Path | None = None,
    download: Download | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    wait: Callable[[float], None] = time.sleep,
    today: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Fill or update the cache. An interruption leaves every symbol complete or untouched; run it again to go on.

    Args:
        start: first day wanted.
        end: last day wanted (default: yesterday). Symbols cached up to there are not asked for again; those that are
            asked for are fetched up to yesterday, because splits after ``end`` must be known to undo them.
        cache_dir: default ``cache_folder()``.
        download: ``(symbol, first day) -> Answer``, up to the present; raises ``NoPrices`` or ``Unreachable``
            (default: ``from_yahoo``).
        progress: called with ``(done, total, symbol)``.
        today: the day that is not over yet (default: the present day in UTC).

    Returns:
        By symbol: ``outcome`` (new, updated, unchanged or failed), ``why``, ``first``, ``last`` (days, NaT = nothing
        cached) and ``n_bars``. What was cached of a symbol that failed stays.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize() if today is None else pd.Timestamp(today)
    start, yesterday = pd.Timestamp(start), today - pd.Timedelta(days=1)
    end = yesterday if end is None else min(pd.Timestamp(end), yesterday)
    download = from_yahoo if download is None else download
    symbols = list(dict.fromkeys(symbols))
    rows, unanswered, answered = {}, 0, False
    for done, symbol in enumerate(symbols):
        if progress is not None:
            progress(done, len(symbols), symbol)
        path = cache_file(folder, symbol)
        cached = read_cached(path)
        if cached is not None and cached.asked_from <= start and cached.complete_to >= end:
            outcome, why = "unchanged", "already cached"
        elif unanswered >= GIVE_UP_AFTER:
            outcome, why = "failed", "not tried, as Yahoo gave no answer for those before it; fetch again later"
        else:
            patient = _patient(download, WAITS if not unanswered else (), wait, online=answered)
            try:
                cached, outcome, why = _updated(symbol, cached, start, yesterday, patient)
                unanswered, answered = 0, True
                write_cached(path, cached)
            except NoPrices as fault:
                outcome, why = ("failed" if cached is None else "unchanged"), str(fault)
                unanswered, answered = 0, True
            except Unreachable as fault:
                hopeless = isinstance(fault, Offline) and not answered
                outcome, why = "failed", f"no connection to Yahoo ({fault})" if hopeless else str(fault)
                unanswered = GIVE_UP_AFTER if hopeless else unanswered + 1
        days = cached.frame.index if cached is not None else pd.DatetimeIndex([pd.NaT])
        rows[symbol] = (outcome, why, days[0], days[-1], 0 if cached is None else len(days))
        log.debug("%s: %s %s", symbol, outcome, why)
    if progress is not None:
        progress(len(symbols), len(symbols), "")
    columns = ["outcome", "why", "first", "last", "n_bars"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("symbol")


def read_yahoo(
    symbols: Sequence[str],
    start: pd.Timestamp,
    end: pd.Timestamp | None = None,
    cache_dir: Path | None = None,
    download: Download | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    offline: bool = False,
) -> RawData:
    """Unadjusted bars of ``symbols`` from ``start`` to ``end`` (inclusive; default: the last cached).

    What the cache lacks is fetched first (see ``fetch``), unless ``offline``. A symbol that cannot be updated is
    delivered as it is cached; one of which nothing is cached gets a verdict.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_folder()
    reasons = {}
    if not offline:
        outcomes = fetch(symbols, start, end, folder, download, progress)
        reasons = outcomes.loc[outcomes["outcome"] == "failed", "why"].to_dict()
        if reasons:
            log.warning("%d of %d symbols could not be updated from Yahoo", len(reasons), len(outcomes))
    bars, verdicts, remarks = {}, {}, []
    for symbol in dict.fromkeys(symbols):
        cached = read_cached(cache_file(folder, symbol))
        if cached is None:
            verdicts[symbol] = (ABSENT, reasons.get(symbol, "not in the Yahoo cache; fetch it"))
            continue
        frame = cached.frame.loc[pd.Timestamp(start) : end if end is None else pd.Timestamp(end)]
        if frame["close"].notna().any():
            frame, said = in_price_currency(symbol, frame, cached.currency)
            remarks += said
            unreported = not (frame["volume"] > 0).any() if "volume" in frame.columns else False
            bars[symbol] = RawBars(frame.drop(columns="volume") if unreported else frame, cached.currency)
        else:
            first, last = cached.frame.index[0].date(), cached.frame.index[-1].date()
            verdicts[symbol] = (ABSENT, f"no prices in the span asked for; Yahoo has {first} to {last}")
    return RawData(bars, None, verdicts, remarks=remarks)


def _patient(download: Download, waits: Sequence[float], wait: Callable[[float], None], online: bool) -> Download:
    """``download``, tried again after each of ``waits`` seconds while Yahoo cannot be reached.

    Where nothing tells that there is a network at all (not ``online``), the first wait is the only one.
    """

    def attempt(symbol: str, start: pd.Timestamp) -> Answer:
        for seconds in waits:
            try:
                return download(symbol, start)
            except Unreachable as fault:
                if isinstance(fault, Offline) and not online and seconds != waits[0]:
                    raise
                log.info("%s: %s; next attempt in %g s", symbol, fault, seconds)
                wait(seconds)
        return download(symbol, start)

    return attempt


def _updated(
    symbol: str, cached: Cached | None, start: pd.Timestamp, yesterday: pd.Timestamp, download: Download
) -> tuple[Cached, str, str]:
    """What the cache should hold from now on, the outcome and why; nothing is written."""
    first = start if cached is None else min(start, cached.asked_from)
    answer = download(symbol, first)
    fresh = unadjusted(answer.frame).loc[:yesterday]
    if fresh.empty:
        raise NoPrices("the answer holds no day that is over")
    if cached is None:
        return Cached(fresh, answer.currency, first, yesterday), "new", ""
    changed = restated(cached.frame, fresh)
    whole = fresh.index[0] <= cached.frame.index[0] + BEGINS_WITHIN
    lost = cached.frame[~cached.frame.index.isin(fresh.index)]
    if (len(changed) or answer.currency != cached.currency) and not whole:
        raise NoPrices(
            f"the answer begins on {fresh.index[0].date()}, the cache on {cached.frame.index[0].date()}, and they "
            "disagree since: kept as it was"
        )
    frame = fresh if len(changed) else pd.concat([fresh, lost]).sort_index()
    said = _said(cached, fresh, changed, answer.currency)
    outcome = "updated" if said else "unchanged"
    return Cached(frame, answer.currency, first, yesterday), outcome, said or "no new days"


def restated(cached: pd.DataFrame, fresh: pd.DataFrame) -> pd.DatetimeIndex:
    """Days of which two answers, splits undone, state another close, dividend or split; a day in one only is none."""
    days = cached.index.intersection(fresh.index)
    differ = np.zeros(len(days), dtype=bool)
    for name in ("close", "dividend", "split"):
        before, after = cached.loc[days, name].to_numpy(), fresh.loc[days, name].to_numpy()
        differ |= ~np.isclose(before, after, rtol=AGREE, atol=0, equal_nan=True)
    return days[differ]


def _said(cached: Cached, fresh: pd.DataFrame, changed: pd.DatetimeIndex, currency: str) -> str:
    """What an answer changes, in words; empty = nothing."""
    inside = fresh.index[(fresh.index > cached.frame.index[0]) & (fresh.index < cached.frame.index[-1])]
    filled = inside.difference(cached.frame.index)
    parts = []
    if (fresh.index < cached.frame.index[0]).any():
        parts.append("earlier prices")
    if len(changed):
        parts.append(f"{len(changed)} days restated, the first {changed[0].date()}")
    if len(filled):
        parts.append(f"{len(filled)} days filled in, the first {filled[0].date()}")
    if currency != cached.currency:
        parts.append(f"now in {currency or 'no stated currency'}, not {cached.currency or 'one not stated'}")
    new = int((fresh.index > cached.frame.index[-1]).sum())
    return "; ".join(parts + ([f"{new} new days"] if new else []))
