"""From what a source delivered to a panel in the account's currency, with a verdict on every symbol."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clusterfolio.feeds import currency as fx
from clusterfolio.feeds import units
from clusterfolio.feeds.calendar import last_common_session, session_closes
from clusterfolio.feeds.calendar import sessions as exchange_sessions
from clusterfolio.feeds.levels import BREAK
from clusterfolio.feeds.panel import ASSET_DEFAULTS, FIELDS, MARKET, STOPPED_AFTER, Panel, make_assets
from clusterfolio.feeds.quality import QualityConfig, clean
from clusterfolio.feeds.raw import ABSENT, DROPPED, GUESSED, MENDED, RATE, REPAIRED, USED, DataError, RawData, Remark
from clusterfolio.feeds.symbols import NAME_OF_MONEY, is_money, later_history

log = logging.getLogger(__name__)

#: What is said of a currency that no source states.
NOT_STATED, TOLD_BY_ENDING = "currency not stated, taken as", "currency not stated, told by the ending"


#: What is said of a currency pair that nobody asked to hold.
CONVERTS = "converts prices and is not held"


@dataclass
class _Ingested:
    """One asset on its way: cleaned, then converted. ``symbol``: the source's, which may hold several histories."""

    symbol: str
    bars: pd.DataFrame
    currency: str
    repairs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    unusable: str = ""  # why, where something about the symbol rather than about a bar forbids its use

    def about(self, span: slice) -> None:
        """Keep what is said of the span, if bars are left in it, and say what they lack."""
        if self.bars.empty:
            return
        first, last = (None if end is None else pd.Timestamp(end) for end in (span.start, span.stop))
        self.remarks = [
            one
            for one in self.remarks
            if one.day is None or ((first is None or one.day >= first) and (last is None or one.day <= last))
        ]
        if not self.bars["volume"].notna().any():
            self.notes.append("no volume: that channel is masked")
        flat = int((self.bars["high"] == self.bars["low"]).sum())
        if flat:
            self.notes.append(f"bars without a range (open = high = low = close): {flat}")

    def said(self) -> list[str]:
        """Everything there is to say, in words."""
        return [*self.repairs, *map(str, self.remarks), *self.notes]


def build_panel(
    raw: RawData,
    *,
    benchmark: str,
    currency: str = "USD",
    calendar: str = "XNYS",
    known: pd.DataFrame | None = None,
    symbols: Sequence[str] | None = None,
    start: pd.Timestamp | str | None = None,
    end: pd.Timestamp | str | None = None,
    config: QualityConfig | None = None,
    now: pd.Timestamp | None = None,
    lagged: Sequence[str] = (),
) -> tuple[Panel, pd.DataFrame]:
    """The panel of these symbols, and what became of each.

    Repairs and conversion see an asset's whole history before ``start``, and nothing decided about a day uses a later
    one. No symbol is left out for its later life: only for having no usable bar at all.

    Args:
        benchmark: always loaded; not tradable unless it is among ``symbols``.
        calendar: the benchmark's exchange, whose sessions become ``panel.sessions``.
        known: what the universe says, indexed by symbol; columns as in ``feeds.panel.ASSET_DEFAULTS``.
        symbols: the universe asked for, in the panel's order; None = everything delivered.
        start, end: first and last day; None = as far as the data go, but not beyond the last day that is over.
        lagged: symbols and asset classes whose bars count a bar later than they are dated, exchange rates among them.
        now: the present moment, naive in UTC (default: the clock's): a session that is still open has no bar yet.

    Returns:
        The panel, and a table indexed by symbol (those asked for, the benchmark, then files passed over) with text
        columns ``verdict`` and ``why``; column ``remarks`` holds a tuple of ``Remark`` each, whose words stand in
        ``why``.

    Raises:
        DataError: no usable benchmark, or fewer than ``config.min_assets`` other assets.
    """
    config = QualityConfig() if config is None else config
    account = units.major(currency)[0]
    asked = list(dict.fromkeys(raw.bars if symbols is None else symbols))
    wanted = asked if benchmark in asked else [*asked, benchmark]
    facts = _facts(wanted, known, raw.assets)
    over = _last_day_over(calendar, pd.Timestamp.now("UTC").tz_localize(None) if now is None else now)
    span = slice(start, over if end is None else min(pd.Timestamp(end), over))

    if benchmark not in raw.bars:  # before anything slow
        absent = raw.verdicts.get(benchmark, (ABSENT, "the source has no such symbol"))
        _check_enough({}, raw.verdicts | {benchmark: absent}, benchmark, config, list(raw.bars))
    unknown = set(lagged) - set(facts["asset_class"]) - set(wanted) - {"forex", "crypto"}
    if unknown:
        raise DataError(f"data.lag: {', '.join(sorted(unknown))}: neither a symbol of the run nor an asset class")
    taken: dict[str, _Ingested] = {}
    verdicts: dict[str, tuple[str, str]] = {}
    for symbol, currency_known, asset_class in zip(wanted, facts["currency"], facts["asset_class"], strict=True):
        if symbol not in raw.bars:
            verdicts[symbol] = raw.verdicts.get(symbol, (ABSENT, "the source has no such symbol"))
            continue
        if is_money(symbol):
            verdicts[symbol] = (DROPPED, NAME_OF_MONEY)
            continue
        histories = _ingest(symbol, raw, currency_known, asset_class, account, config)
        _at_another_hour(histories, symbol, asset_class, lagged, raw.simulated)
        taken |= histories
    if later_history(benchmark, 2) in taken:
        breaks = [str(remark) for remark in taken[benchmark].remarks if remark.kind == BREAK]
        raise DataError(f"benchmark {benchmark!r} cannot be measured across {'; '.join(breaks)}")
    wanted = [name for symbol in wanted for name in (symbol, *_later(symbol, taken))]
    read = dict(taken)
    _convert(taken, raw, account, config, span, "forex" in lagged)
    for symbol, asset in list(taken.items()):
        if (asset.bars.index > over).any():
            days = ", ".join(str(day.date()) for day in asset.bars.index[asset.bars.index > over][:3])
            asset.remarks.append(Remark(symbol, "session not over", text=f"left out: {days}"))
        asset.bars = asset.bars.loc[span]
        asset.about(span)
        if asset.unusable or asset.bars.empty:
            verdicts[symbol] = (DROPPED, "; ".join([asset.unusable or "no usable bar", *asset.said()]))
            del taken[symbol]

    _check_enough(taken, raw.verdicts | verdicts, benchmark, config, list(raw.bars))
    panel = _assemble(taken, facts, raw, benchmark, account, calendar, asked)
    verdicts |= _verdicts_on_used(taken, panel)
    verdicts = {symbol: verdicts[symbol] for symbol in wanted}
    verdicts |= {
        name: verdict for name, verdict in raw.verdicts.items() if name not in verdicts and name not in raw.bars
    }
    rates = [symbol for symbol in raw.bars if symbol not in verdicts and fx.pair_of(symbol) is not None]
    verdicts |= dict.fromkeys(rates, (RATE, f"{CONVERTS}; to hold it, name it with --include"))
    table = pd.DataFrame.from_dict(verdicts, orient="index", columns=["verdict", "why"]).rename_axis("symbol")
    said = {name: tuple(asset.remarks) for name, asset in read.items()}
    said |= {name: (*raw.remarks_on(name), Remark(name, CONVERTS, text="--include would hold it")) for name in rates}
    return panel, table.assign(remarks=[said.get(name, raw.remarks_on(name)) for name in table.index])


def _last_day_over(calendar: str, now: pd.Timestamp) -> pd.Timestamp:
    """The last day whose bar can be known: today once its session has closed, else yesterday."""
    today = now.normalize()
    closes = session_closes(calendar, today, today)
    return today if len(closes) and now >= closes.iloc[0] else today - pd.Timedelta(days=1)


def _facts(symbols: Sequence[str], known: pd.DataFrame | None, stated: pd.DataFrame | None) -> pd.DataFrame:
    """``Panel.assets`` of these symbols: the universe's word first, then the source's."""
    index = pd.Index(symbols, dtype=object)
    columns = {}
    for name in ASSET_DEFAULTS:
        value = pd.Series(None, index=index, dtype=object)
        for table in (known, stated):
            if table is not None and name in table.columns:
                told = table[name][~table.index.duplicated()].reindex(index).astype(object)
                value = value.where(value.notna(), told.where(told != ""))
        columns[name] = value
    return make_assets(symbols, pd.DataFrame(columns))


def _ingest(
    symbol: str, raw: RawData, known_currency: str, asset_class: str, account: str, config: QualityConfig
) -> dict[str, _Ingested]:
    """Cleaned bars of one symbol, still in its quote currency; a later history is an asset of its own."""
    delivered, pair = raw.bars[symbol], fx.pair_of(symbol)
    index = symbol.startswith("^") or asset_class == "index"
    cleaned = clean(delivered.frame, config, symbol=symbol, pair=pair is not None, index=index)
    quoted = delivered.currency or known_currency or (pair[1] if pair else fx.quote_currency(symbol))
    histories = {}
    for number, bars in enumerate(cleaned.histories(), start=1):
        name = symbol if number == 1 else later_history(symbol, number)
        asset = histories[name] = _Ingested(symbol, bars, quoted or account)
        try:
            units.major(asset.currency)
        except DataError as fault:
            asset.unusable = str(fault)
        if number > 1:
            asset.notes.append(f"what stands under {symbol} from here on")
    asset = histories[symbol]
    guess = _currency_guess(symbol, delivered.currency, quoted, account)
    asset.remarks += [*raw.remarks_on(symbol), *guess, *cleaned.remarks]
    if symbol in raw.verdicts:
        asset.notes.insert(0, raw.verdicts[symbol][1])
    return histories


def _later(symbol: str, taken: dict[str, _Ingested]) -> list[str]:
    return [name for name, asset in taken.items() if asset.symbol == symbol and name != symbol]


def _at_another_hour(
    histories: dict[str, _Ingested], symbol: str, asset_class: str, lagged: Sequence[str], simulated: bool
) -> None:
    """Lag what is to be lagged; say of a currency or a coin that its day ends at another hour than a session does."""
    lag = symbol in lagged or asset_class in lagged
    for asset in histories.values():
        every_day = len(asset.bars) > 20 and (asset.bars.index.day_of_week > 4).mean() > 0.2
        if lag:
            asset.bars = asset.bars.shift(1).iloc[1:]
            asset.remarks.append(Remark(symbol, "lagged a bar", text="as data.lag says"))
        elif not simulated and (fx.pair_of(symbol) is not None or every_day):
            text = "its close counts for the day that it bears, whatever the hour; data.lag counts it a bar later"
            asset.remarks.append(Remark(symbol, "a day that ends at another hour than the sessions", text=text))


def _currency_guess(symbol: str, stated: str, quoted: str, account: str) -> list[Remark]:
    """What is to be said where no source states the currency of the prices."""
    if stated or fx.pair_of(symbol) is not None:
        return []
    if not quoted:
        return [Remark(symbol, f"{NOT_STATED} {account}", nature=GUESSED)]
    if quoted != fx.quote_currency(symbol):
        return []
    ending = symbol[max(symbol.rfind("."), symbol.rfind("-")) :]
    text = f"{quoted}, as of listings that end in {ending}; a column currency in the file would state it"
    return [Remark(symbol, TOLD_BY_ENDING, text=text, nature=GUESSED)]


def _convert(
    taken: dict[str, _Ingested], raw: RawData, account: str, config: QualityConfig, span: slice, lag: bool
) -> None:
    """Bring every asset's bars into the account's currency.

    A rate may begin late or have gaps: the bars of those days are left out. Without any rate for its bars, or with one
    that ends while they go on (the asset would seem to have stopped trading), an asset is unusable.
    """
    closes = {}
    for symbol, delivered in raw.bars.items():
        pair = fx.rate_of(symbol)
        if pair is not None and pair not in closes:
            rate = clean(delivered.frame, config, pair=True).bars["close"]
            closes[pair] = rate.shift(1).iloc[1:] if lag else rate
    for symbol, asset in taken.items():
        pair = fx.pair_of(symbol)
        if asset.unusable:
            continue
        if pair is not None:
            asset.bars, note = fx.convert_pair(asset.bars.assign(rate=1.0), pair, account)
            asset.notes += [note] if note else []
            continue
        converted = fx.convert(asset.bars.assign(rate=1.0), asset.currency, account, closes)
        stated, served = asset.bars.loc[span], converted.loc[span]
        code = units.major(asset.currency)[0]
        ends = ""
        if len(served) and stated.index[-1] - served.index[-1] > pd.Timedelta(days=fx.RATE_SERVES_DAYS):
            ends = f" after {served.index[-1].date()}"
        if ends or (served.empty and len(stated)):
            add = " or ".join(fx.rate_symbols(code, account))
            asset.unusable = f"no exchange rate into {account} for {code}{ends}: add {add}"
        if len(stated) > len(served):
            asset.repairs.append(f"bars without a {asset.currency} rate left out: {len(stated) - len(served)}")
        asset.bars = converted


def _check_enough(
    taken: dict[str, _Ingested],
    verdicts: dict[str, tuple[str, str]],
    benchmark: str,
    config: QualityConfig,
    found: list,
) -> None:
    """``found``: the symbols that the source has."""
    lost = [f"{name} {verdict} ({why})" for name, (verdict, why) in verdicts.items() if name not in taken]
    if benchmark not in taken:
        verdict, why = verdicts[benchmark]
        text = f"benchmark {benchmark!r} cannot be used ({verdict}: {why}): name another with --benchmark"
        near = _near(benchmark, found)
        text += f"; is {' or '.join(near)} meant?" if near else ""
        if verdict == ABSENT:
            text += f"; {len(found)} symbols found" + (f": {_few(found)}" if found else "")
        lost = [text for text in lost if not text.startswith(f"{benchmark} ")]
        raise DataError(text + (f"; not read: {_few(lost, '; ')}" if lost else ""))
    others = len(taken) - 1
    if others < config.min_assets:
        raise DataError(
            f"too few assets: {others} usable beside the benchmark, at least {config.min_assets} needed"
            + (f"; {_few(lost, '; ')}" if lost else "")
        )


def _few(items: Sequence[str], by: str = ", ", shown: int = 5) -> str:
    return by.join(items[:shown]) + (f"{by}... ({len(items)})" if len(items) > shown else "")


def _near(symbol: str, found: Sequence[str]) -> list[str]:
    """Symbols written much like this one: without leading zeros or an ending, or with a letter changed."""

    def bare(text: str) -> str:
        return re.sub(r"^[\^0]+|[.:=].*$", "", text.upper())

    alike = [name for name in found if bare(name) == bare(symbol)]
    return alike[:3] or difflib.get_close_matches(symbol, found, n=3, cutoff=0.75)


def _assemble(
    taken: dict[str, _Ingested],
    facts: pd.DataFrame,
    raw: RawData,
    benchmark: str,
    account: str,
    calendar: str,
    asked: Sequence[str],
) -> Panel:
    """The aligned frames: every day on which any asset has a bar, one column per asset."""
    symbols = pd.Index(list(taken), dtype=object)
    days = np.unique(np.concatenate([asset.bars.index.asi8 for asset in taken.values()]))
    dates = pd.DatetimeIndex(days.view("datetime64[ns]"))
    values = {name: np.full((len(dates), len(symbols)), np.nan) for name in FIELDS}
    stated = {name: np.full((len(dates), len(symbols)), np.nan) for name in MARKET}
    for column, asset in enumerate(taken.values()):
        rows = np.searchsorted(days, asset.bars.index.asi8)
        for name in FIELDS:
            values[name][rows, column] = asset.bars[name].to_numpy()
        for name in stated:
            stated[name][rows, column] = asset.bars[name].to_numpy()
    origins = pd.Index([asset.symbol for asset in taken.values()], dtype=object)
    named = [
        fx.with_side(name, symbol, account) for name, symbol in zip(facts.loc[origins, "name"], origins, strict=True)
    ]
    assets = facts.loc[origins].assign(currency=[asset.currency for asset in taken.values()], name=named)
    assets["tradable"] &= origins.isin(asked)
    assets.index = symbols
    return Panel(
        **{name: pd.DataFrame(frame, dates, symbols, copy=False) for name, frame in (values | stated).items()},
        assets=assets,
        sessions=exchange_sessions(calendar, dates[0], dates[-1]),
        benchmark=benchmark,
        currency=account,
        simulated=raw.simulated,
    )


def _verdicts_on_used(taken: dict[str, _Ingested], panel: Panel) -> dict[str, tuple[str, str]]:
    """Used or repaired, and from when to when."""
    end = last_common_session(panel.close[panel.tradable], panel.sessions, panel.close[panel.benchmark])
    begun = panel.sessions[min(STOPPED_AFTER, len(panel.sessions) - 1)]
    verdicts = {}
    for symbol, asset in taken.items():
        first, last = asset.bars.index[[0, -1]]
        why = [f"{len(asset.bars)} bars {first.date()} to {last.date()}", *asset.said()]
        if first > begun:
            why.append("begins late")
        since = panel.sessions.searchsorted(end, "right") - panel.sessions.searchsorted(last, "right")
        if since > STOPPED_AFTER:
            why.append(f"stopped trading {since} sessions before the last common one")
        if not panel.assets.loc[symbol, "tradable"]:
            why.append("not tradable")
        mended = asset.repairs or any(remark.nature == MENDED for remark in asset.remarks)
        verdicts[symbol] = (REPAIRED if mended else USED, "; ".join(why))
    repaired = sum(verdict == REPAIRED for verdict, _ in verdicts.values())
    log.info("%d assets, %d of them repaired", len(taken), repaired)
    return verdicts
