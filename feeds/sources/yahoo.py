"""Yahoo Finance through yfinance: a cache of unadjusted bars, one Parquet file per symbol, and reading it.

Yahoo's prices, dividends and volumes are adjusted for every split up to the day of the request, so a split rescales
what it said before. The cache holds what was really quoted and paid: each answer runs up to the present, and the
splits it states are undone at once. An update asks for the last cached days again; where these disagree (a split that
was stated late, a correction), the symbol is fetched anew in full.

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
    Unreachable,
    from_yahoo,
    in_price_currency,
    unadjusted,
)
from clusterfolio.feeds.sources.yahoo_cache import Cached, cache_file, cache_folder, read_cached, write_cached

log = logging.getLogger(__name__)

#: Calendar days before the last cached bar that an update asks for again, and how far closes may differ there.
OVERLAP = pd.Timedelta(days=14)
AGREE = 1e-3

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
    rows, unanswered = {}, 0
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
            patient = _patient(download, WAITS if not unanswered else (), wait)
            try:
                cached, outcome, why = _updated(symbol, cached, start, yesterday, patient)
                unanswered = 0
                write_cached(path, cached)
            except NoPrices as fault:
                outcome, why, unanswered = ("failed" if cached is None else "unchanged"), str(fault), 0
            except Unreachable as fault:
                outcome, why, unanswered = "failed", str(fault), unanswered + 1
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


def _patient(download: Download, waits: Sequence[float], wait: Callable[[float], None]) -> Download:
    """``download``, tried again after each of ``waits`` seconds while Yahoo cannot be reached."""

    def attempt(symbol: str, start: pd.Timestamp) -> Answer:
        for seconds in waits:
            try:
                return download(symbol, start)
            except Unreachable as fault:
                log.info("%s: %s; next attempt in %g s", symbol, fault, seconds)
                wait(seconds)
        return download(symbol, start)

    return attempt


def _updated(
    symbol: str, cached: Cached | None, start: pd.Timestamp, yesterday: pd.Timestamp, download: Download
) -> tuple[Cached, str, str]:
    """What the cache should hold from now on, the outcome and why; nothing is written."""
    if cached is None or start < cached.asked_from:
        first = start if cached is None else min(start, cached.asked_from)
        whole = _whole(symbol, first, yesterday, download)
        return whole, "new" if cached is None else "updated", "" if cached is None else "earlier prices"
    answer = download(symbol, cached.frame.index[-1] - OVERLAP)
    fresh = unadjusted(answer.frame).loc[:yesterday]
    if not _agree(cached.frame, fresh) or answer.currency != cached.currency:
        whole = _whole(symbol, cached.asked_from, yesterday, download)
        return whole, "updated", "recent prices disagreed with the cache; fetched anew"
    frame = pd.concat([cached.frame[cached.frame.index < fresh.index[0]], fresh])
    n_new = int((fresh.index > cached.frame.index[-1]).sum())
    merged = Cached(frame, cached.currency, cached.asked_from, yesterday)
    return merged, "updated" if n_new else "unchanged", f"{n_new} new days" if n_new else "no new days"


def _whole(symbol: str, start: pd.Timestamp, yesterday: pd.Timestamp, download: Download) -> Cached:
    answer = download(symbol, start)
    frame = unadjusted(answer.frame).loc[:yesterday]
    if frame.empty:
        raise NoPrices("the answer holds no day that is over")
    return Cached(frame, answer.currency, start, yesterday)


def _agree(cached: pd.DataFrame, fresh: pd.DataFrame) -> bool:
    """Whether closes match on the days in both; False where there is no such day."""
    both = pd.concat([cached["close"], fresh["close"]], axis=1, join="inner", sort=False).dropna().to_numpy()
    return len(both) > 0 and bool(np.allclose(both[:, 0], both[:, 1], rtol=AGREE, atol=0))
