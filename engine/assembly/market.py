"""From the configuration to the panel a run works on, whatever the source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.config.sections import DataConfig
from clusterfolio.feeds.calendar import last_common_session
from clusterfolio.feeds.calendar import sessions as exchange_sessions
from clusterfolio.feeds.currency import pair_of
from clusterfolio.feeds.doubts import calendar_doubt
from clusterfolio.feeds.exogenous.inputs import with_inputs
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.membership import Membership, read_membership, spells_in
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.raw import DataError, RawData
from clusterfolio.feeds.sources.catalogue import SOURCES, Request
from clusterfolio.feeds.symbols import first_history
from clusterfolio.feeds.universe import describe, load_universe, rates_needed

#: Share of the universe that still trades where a test ends by itself.
COMMON_SHARE = 0.9


@dataclass(frozen=True)
class Market:
    """What a run works on.

    Attributes:
        panel: up to the run's last session.
        verdicts: indexed by symbol: verdict, why, remarks (tuples of ``feeds.raw.Remark``), what is known of the asset.
        notes: what is to be said about the whole: where the test ends and why.
        splits: by symbol, splits after the panel's last day that the source's closes already count: new shares per old
            one, by day.
    """

    panel: Panel
    verdicts: pd.DataFrame
    notes: tuple[str, ...] = ()
    splits: Mapping[str, pd.Series] = field(default_factory=dict)

    def later_splits(self, symbols: Collection[str]) -> tuple[str, ...]:
        """In which shares the stated closes of the panel's last day are, where a split came after it."""
        return tuple(
            f"{name}: in shares of after " + ", ".join(f"{_ratio(by)}, {day.date()}" for day, by in found.items())
            for name, found in sorted(self.splits.items())
            if name in symbols
        )


def _ratio(by: float) -> str:
    return f"{by:g}:1" if by >= 1 else f"1:{1 / by:g}"


def load_market(config: RunConfig, asof: pd.Timestamp | None = None) -> Market:
    """The panel of a run, up to its last session, and what there is to say about it.

    Args:
        asof: a day to decide on instead of testing: the panel ends with it, wherever the test lies.
    """
    raw = read_source(config, universe_symbols(config))
    whole, verdicts = panel_of(config, raw)
    panel = up_to_end(config, whole, asof)
    described = panel.assets.drop(columns="tradable").reindex(verdicts.index)
    notes = (*end_notes(config, whole, panel), *share_notes(config, panel)) if asof is None else ()
    return Market(panel, verdicts.join(described), notes, _splits_after(raw, whole, panel.dates[-1]))


def _splits_after(raw: RawData, whole: Panel, day: pd.Timestamp) -> dict[str, pd.Series]:
    """Splits after a day by which the closes stated before it are divided already: the close did not fall by them."""
    found = {}
    for symbol, delivered in raw.bars.items():
        if {"adj_close", "split"} <= set(delivered.frame.columns):
            split = delivered.frame["split"]
            later = split[(split.index > day) & (split > 0) & (split != 1)]
            if len(later) and symbol in whole.symbols and whole.split is not None:
                told = whole.split[symbol].dropna()
                fell = told[told.pct_change(fill_method=None).fillna(0.0).abs() > 1e-9].index
                later = later[~later.index.isin(fell)]
            if len(later):
                found[symbol] = later.sort_index()
    return found


def panel_of(config: RunConfig, raw: RawData) -> tuple[Panel, pd.DataFrame]:
    """The panel of what a source delivered, to the end of the data, and ``feeds.ingest.build_panel``'s verdicts.

    It carries the market-wide series that ``inputs`` names.
    """
    symbols = universe_symbols(config)
    # A made-up market describes itself: its pairs bear the names of real ones, but not their costs.
    known = raw.assets if raw.simulated else known_assets(config, symbols if symbols is not None else list(raw.bars))
    data = config.data
    panel, verdicts = build_panel(
        raw,
        benchmark=benchmark_of(config),
        currency=data.currency,
        calendar=data.calendar,
        known=known,
        symbols=symbols if symbols is not None else _chosen(_holdings(list(raw.bars), raw.simulated), data),
        start=pd.Timestamp(config.dates.train_start) - pd.Timedelta(days=config.dates.history_days),
        config=config.quality,
        lagged=data.lag,
    )
    if not raw.simulated:
        verdicts = _with_calendar_doubt(verdicts, panel, data.calendar)
    membership = membership_of(config)
    if membership is not None:
        listed = panel.symbols.map(first_history)  # a later history is a member as its symbol is
        member = membership.on(panel.dates, listed.unique())[listed].set_axis(panel.symbols, axis=1)
        panel = replace(panel, member=member)
    return with_inputs(panel, config.inputs, data.calendar, data.path), verdicts


def _with_calendar_doubt(verdicts: pd.DataFrame, panel: Panel, calendar: str) -> pd.DataFrame:
    """The verdicts, with what speaks against the benchmark's prices being from the exchange ``data.calendar``."""
    doubt = calendar_doubt(panel.benchmark, panel.close[panel.benchmark].dropna().index, calendar)
    if doubt is None:
        return verdicts
    about = verdicts.index == panel.benchmark
    return verdicts.assign(
        why=verdicts["why"].mask(about, verdicts["why"] + f"; {doubt}"),
        remarks=[(*said, doubt) if own else said for own, said in zip(about, verdicts["remarks"], strict=True)],
    )


def up_to_end(config: RunConfig, panel: Panel, asof: pd.Timestamp | None = None) -> Panel:
    """The panel up to the end of the test, or up to ``asof`` or its last common session, whichever comes first.

    An end that is asked for is kept to, whoever has stopped trading by then.

    Raises:
        DataError: the benchmark has no prices over the whole test, or nothing trades in it.
    """
    if asof is not None:
        return panel.until(min(common_end(panel), asof))
    dates = config.dates
    start, end = pd.Timestamp(dates.start), pd.Timestamp(dates.end) if dates.end else common_end(panel)
    if not dates.end and end < start:
        raise DataError(
            f"dates.start: {dates.start}, but the last session on which the benchmark and {COMMON_SHARE:.0%} of the "
            f"universe trade is {end.date()}".replace("%", " %")
        )
    panel = panel.until(end)
    _check_benchmark(panel, start)
    return panel


def common_end(panel: Panel) -> pd.Timestamp:
    """The last session on which the benchmark and most of the universe still trade."""
    closes = panel.close[panel.tradable]
    return last_common_session(closes, panel.sessions, panel.close[panel.benchmark], COMMON_SHARE)


def end_notes(config: RunConfig, whole: Panel, panel: Panel) -> tuple[str, ...]:
    """Where the test ends, in words, where the data or the end that was asked for go further.

    Args:
        whole: to the end of the data; ``panel``: to the end of the test.
    """
    last, closes = panel.sessions[-1], whole.close[whole.tradable]
    data = closes.last_valid_index()
    if config.dates.end:
        beyond = pd.Timestamp(config.dates.end) > last
        if not beyond or not len(exchange_sessions(config.data.calendar, last, pd.Timestamp(config.dates.end))[1:]):
            return ()
        return (f"the test ends on {last.date()}, where the prices end; {config.dates.end} was asked for",)
    left_out = int(((whole.sessions > last) & (whole.sessions <= data)).sum())
    if not left_out:
        return ()
    trading = int(closes.loc[data].notna().sum())
    return (
        f"the test ends on {last.date()}, the last session on which the benchmark and {COMMON_SHARE:.0%} of the "
        f"universe trade; {left_out} later sessions are left out, to {data.date()}, on which {trading} of "
        f"{len(whole.tradable)} symbols trade. --end tests on".replace("%", " %"),
    )


def share_notes(config: RunConfig, panel: Panel) -> tuple[str, ...]:
    """Which assets cannot be traded in whole shares, in words: no market price of theirs is stated."""
    if config.trading.fractional or panel.market is None:
        return ()
    held = panel.tradable
    without = held[(panel.market[held].isna().all() & panel.close[held].notna().any()).to_numpy()]
    if not len(without):
        return ()
    named = ", ".join(without[:5]) + (" ..." if len(without) > 5 else "")
    return (
        f"{len(without)} of {len(held)} symbols have adjusted prices only ({named}): no share of them is known, so "
        "whole units of their total-return level are traded and their dividends re-invested",
    )


def _check_benchmark(panel: Panel, start: pd.Timestamp) -> None:
    """Strategy and benchmark are measured over the same sessions: refuse a benchmark that lacks the first or last."""
    own, traded = panel.close[panel.benchmark].dropna().index, panel.sessions.intersection(panel.dates)
    before = traded[traded < start]
    said = f"benchmark {panel.benchmark!r}"
    other = "or name another with --benchmark"
    if len(before) and own[0] > before[-1]:
        raise DataError(
            f"{said} begins on {own[0].date()}, inside or after the test, whose first decision falls on "
            f"{before[-1].date()}: the strategy would be measured over sessions without it; use a later --start, "
            f"{other}"
        )
    lacking = int((traded > own[-1]).sum())
    if lacking:
        raise DataError(
            f"{said} ends on {own[-1].date()}, {lacking} sessions before the test does ({panel.dates[-1].date()}): the "
            f"strategy would be measured over sessions without it; use --end {own[-1].date()}, {other}"
        )


def read_source(config: RunConfig, symbols: list[str] | None) -> RawData:
    """What the configured source has for these symbols (None = everything) and for what a run needs beside them."""
    data, dates = config.data, config.dates
    wanted = None
    if symbols is not None:
        rates = rates_needed(known_assets(config, symbols), data.currency)
        wanted = list(dict.fromkeys([*symbols, benchmark_of(config), *rates]))
    request = Request(
        symbols=wanted,
        start=pd.Timestamp(dates.train_start) - pd.Timedelta(days=dates.history_days),
        end=pd.Timestamp(dates.end) if dates.end else None,
        path=tuple(Path(path) for path in data.path),
        names=(benchmark_of(config), *data.include, *data.exclude),
        settings=getattr(config, data.source, None),
    )
    return SOURCES[data.source].read(request)


def universe_symbols(config: RunConfig) -> list[str] | None:
    """The symbols a run asks for, in order; None = everything the source has."""
    data, source = config.data, SOURCES[config.data.source]
    which = source.universe if data.universe == "auto" else data.universe
    if which in ("seed", "default") and not source.has_shipped:
        which = "all"  # a made-up market has none of the real symbols
    if which == "all":
        if not source.lists_all:
            raise ValueError(
                f"data.universe: 'all' has no meaning for source {data.source!r}; use 'seed', 'default' or a CSV file"
            )
        return None
    table = load_universe(which)
    named = which == "seed" or universe_file(config) is not None
    fund = [config.cash.fund] if config.cash.source == "fund" else []
    return _chosen([*_holdings(table.index, named), *fund], data)


def known_assets(config: RunConfig, symbols: Sequence[str]) -> pd.DataFrame:
    """Names, classes and costs of these symbols from the universe file of the run, else from the shipped one."""
    file = universe_file(config)
    return describe(list(symbols), load_universe("all" if file is None else file))


def membership_of(config: RunConfig) -> Membership | None:
    """Who is in the universe when: ``data.membership``, or the spells of the universe file; None = no such list."""
    file = universe_file(config)
    spells = None if file is None else spells_in(file)
    if not config.data.membership:
        return spells
    if spells is not None:
        raise ValueError(
            f"data.membership: {config.data.membership!r} is given, and {file.name} has columns from and to; use one"
        )
    return read_membership(config.data.membership)


def universe_file(config: RunConfig) -> Path | None:
    """The user's own universe; None = one of those that have a name."""
    which = config.data.universe
    return None if which in ("auto", "all", "seed", "default") else Path(which)


def benchmark_of(config: RunConfig) -> str:
    """The benchmark's symbol."""
    data = config.data
    return SOURCES[data.source].benchmark if data.benchmark == "auto" else data.benchmark


def _holdings(symbols: Sequence[str], named: bool) -> list[str]:
    """The symbols without currency pairs, which convert prices and are held only where a list of the user's own names
    them (``named``): what a position earns in interest is not in their prices.
    """
    return [symbol for symbol in symbols if named or pair_of(symbol) is None]


def _chosen(symbols: Sequence[str], data: DataConfig) -> list[str]:
    """The symbols with those to include and without those to exclude; what is to be excluded must be among them."""
    wanted = list(dict.fromkeys([*symbols, *data.include]))
    unknown = [name for name in data.exclude if name not in set(wanted)]
    if unknown:
        raise ValueError(f"data.exclude: {', '.join(unknown)} would not be in the run anyway; is the symbol right?")
    kept = [name for name in wanted if name not in set(data.exclude)]
    # The order of rows, files and lists must not reach a result; a made-up market has an order of its own.
    return sorted(kept) if SOURCES[data.source].has_shipped else kept
