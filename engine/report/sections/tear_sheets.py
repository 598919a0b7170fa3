"""pyfolio's tear sheets as pictures and HTML tables, without a trace on the console or in global state."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import StrMethodFormatter

from clusterfolio.engine.report.layout import figures
from clusterfolio.engine.report.layout.figures import dates_later, drawn_once, settle
from clusterfolio.engine.report.layout.plots import compact, mark_simulated
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.sections.holdings import groups_held
from clusterfolio.engine.report.sections.sheet_data import in_lots, merge_consecutive, rolling_beta
from clusterfolio.engine.run_dir.tables import ReportInputs

#: pyfolio's rolling panels look back six months, so a shorter run leaves them empty.
ROLLING_SESSIONS = 126
#: pyfolio needs two sessions for any deviation, and a month for its distributions.
LEAST_SESSIONS = 21
#: Why an account that never held anything has no sheets.
NOTHING_HELD = "the strategy held nothing but cash"
#: Fewer round trips than this and pyfolio draws no sheet.
LEAST_ROUND_TRIPS = 5
SHEET_DPI, SHEET_COLORS = 72, 256
#: Of pyplot, while pyfolio draws.
BACKEND = f"module://{figures.__name__}"
#: A table with more columns than this is turned on its side.
WIDE = 8


@dataclass(frozen=True)
class SheetTable:
    """A table that pyfolio shows, every cell as text; ``header`` lists facts that stand above it."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    header: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """One tear sheet: its PNG and tables, or the reason why it is absent."""

    name: str
    title: str
    png: bytes = b""
    tables: tuple[SheetTable, ...] = ()
    absent: str = ""
    note: str = ""


def draw(inputs: ReportInputs) -> dict[str, Sheet]:
    """The section's sheets; one that is absent says why."""
    groups, _ = groups_held(inputs)
    run, transactions = inputs.run, inputs.transactions
    sheets = tear_sheets(
        inputs.returns, inputs.positions, transactions, groups, run["currency"], bool(run["simulated"])
    )
    return {f"tearsheet_{sheet.name}": sheet for sheet in sheets}


def tear_sheets(
    returns: pd.DataFrame,
    positions: pd.DataFrame,
    transactions: pd.DataFrame,
    groups: pd.Series,
    currency: str,
    simulated: bool,
) -> list[Sheet]:
    """The returns, positions, transactions and round-trip sheets, in this order.

    Args:
        returns: simple daily returns by naive session; columns ``strategy`` and ``benchmark``.
        positions: value by naive session and symbol, with a column ``cash``; rows before ``returns`` are not used.
        transactions: columns ``date, symbol, value, level``: counted in units of the total-return level, so that what
            a round trip earned holds its dividends.
        groups: asset class (or another grouping) by symbol; every held symbol has one.
        currency: the account's currency, named in place of pyfolio's dollar sign.
        simulated: mark the pictures as drawn from made-up prices.
    """
    transactions = _on_sessions(transactions, returns.index)
    positions = _held(positions.reindex(returns.index))
    style = _Style(currency, simulated)
    sheets = [_returns_sheet(returns, positions, style)]
    for sheet in (_positions_sheet, _transactions_sheet, _round_trips_sheet):
        sheets.append(sheet(returns["strategy"], positions, transactions, groups, style))
    return sheets


@dataclass(frozen=True)
class _Style:
    """How the captured figures and tables are written out."""

    currency: str
    simulated: bool

    def png(self, figure) -> bytes:
        """The figure as PNG: readable dates, the account's currency for the dollar sign, marked where simulated."""
        settle(figure)
        for axes in figure.axes:
            if axes.get_yscale() == "log":  # its own labels are formulas, which are not read here: a symbol may be $_$
                for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                    formatter(StrMethodFormatter("{x:g}"))
            if self.currency != "USD":
                axes.set_xlabel(axes.get_xlabel().replace("$", self.currency))
                axes.set_ylabel(axes.get_ylabel().replace("$", self.currency))
        if self.simulated:
            mark_simulated(figure)
        return compact(drawn_once(figure, SHEET_DPI), SHEET_COLORS)

    def table(self, table, name=None, float_format=None, formatters=None, header_rows=None) -> SheetTable:
        """What pyfolio's ``print_table`` is given, as text; a wide table is turned on its side."""
        frame = pd.DataFrame(table)
        money = float_format is not None and float_format(1.0).startswith("$")
        cells = frame.astype(object).map(lambda value: _cell(value, "{:,.2f}".format if money else float_format))
        cells = cells.T if cells.shape[1] > WIDE else cells
        return SheetTable(
            name=f"{name or ''}{f' ({self.currency})' if money else ''}",
            columns=tuple(map(str, cells.columns)),
            rows=tuple((str(label), tuple(row)) for label, row in zip(cells.index, cells.to_numpy(), strict=True)),
            header=tuple((label, str(value)) for label, value in (header_rows or {}).items()),
        )


def _cell(value, float_format) -> str:
    """One cell as text: whole days, dates without a time, a dash for what is missing."""
    if pd.isna(value):
        return "–"
    if isinstance(value, pd.Timedelta):
        return f"{value.days:,} days"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    text = float_format(value) if float_format and isinstance(value, float) else str(value)
    return text.replace("-", "−", 1) if text.startswith("-") else text


def _returns_sheet(returns, positions, style) -> Sheet:
    name, title = "returns", "Returns"
    if positions.shape[1] == 1:
        return Sheet(name, title, absent=NOTHING_HELD)
    if len(returns) < LEAST_SESSIONS:
        return Sheet(name, title, absent=f"it needs {LEAST_SESSIONS} sessions and the run has {len(returns)}")
    if returns["strategy"].max() == returns["strategy"].min():
        return Sheet(name, title, absent="the strategy's return is the same on every day")
    with _session(style) as (pyfolio, tables), dates_later():
        with _standing_in(pyfolio.timeseries, "rolling_beta", rolling_beta):
            figure = pyfolio.create_returns_tear_sheet(
                returns["strategy"], benchmark_rets=returns["benchmark"], return_fig=True
            )
        note = ""
        if len(returns) < ROLLING_SESSIONS:
            note = f"Panels over a rolling six months are left out: the run has {len(returns)} sessions."
            _remove(figure, "Rolling")
        return Sheet(name, title, style.png(figure), tuple(tables), note=note)


def _positions_sheet(returns, positions, transactions, groups, style) -> Sheet:
    name, title = "positions", "Positions"
    if absent := _nothing_held(positions):
        return Sheet(name, title, absent=absent)
    with _session(style) as (pyfolio, tables), dates_later():
        figure = pyfolio.create_position_tear_sheet(
            returns, positions, sector_mappings=groups.to_dict(), estimate_intraday=False, return_fig=True
        )
        return Sheet(name, title, style.png(figure), tuple(tables))


def _transactions_sheet(returns, positions, transactions, groups, style) -> Sheet:
    name, title = "transactions", "Transactions"
    if transactions.empty:
        return Sheet(name, title, absent="nothing was bought or sold")
    if absent := _nothing_held(positions):
        return Sheet(name, title, absent=absent)
    with _session(style) as (pyfolio, tables), dates_later():
        # daily bars know no time of day
        with _standing_in(pyfolio.plotting, "plot_txn_time_hist", lambda transactions, ax: ax.remove()):
            figure = pyfolio.create_txn_tear_sheet(
                returns, positions, transactions, estimate_intraday=False, return_fig=True
            )
        return Sheet(name, title, style.png(figure), tuple(tables))


def _round_trips_sheet(returns, positions, transactions, groups, style) -> Sheet:
    name, title = "round_trips", "Round trips"
    if transactions.empty:
        return Sheet(name, title, absent="nothing was bought or sold")
    lots, worth = in_lots(transactions)
    known = positions.copy()
    known.iloc[-1] *= worth.reindex(known.columns).fillna(1.0)
    with _session(style) as (pyfolio, tables):
        trips = _round_trips(pyfolio, returns, known, lots)
        if len(trips) < LEAST_ROUND_TRIPS:
            return Sheet(name, title, absent=f"it needs {LEAST_ROUND_TRIPS} round trips and the run has {len(trips)}")
        note = "Positions still open at the end count as closed at their last value."
        if (trips["pnl"] > 0).mean() in (0, 1):
            pyfolio.round_trips.print_round_trip_stats(trips)
            pyfolio.plotting.show_profit_attribution(trips)
            note += " No pictures: they need both winning and losing trades, and all went the same way."
            return Sheet(name, title, tables=tuple(tables), note=note)
        # the sheet finds its round trips extracted already
        with _standing_in(pyfolio.round_trips, "extract_round_trips", lambda *args, **kwargs: trips.copy()):
            figure = pyfolio.create_round_trip_tear_sheet(
                returns, known, lots, sector_mappings=groups.to_dict(), estimate_intraday=False, return_fig=True
            )
        return Sheet(name, title, style.png(figure), tuple(tables), note=note)


def _round_trips(pyfolio, returns, positions, lots) -> pd.DataFrame:
    """One row per purchase matched with a sale, as the sheet itself will count them."""
    closed = pyfolio.round_trips.add_closing_transactions(positions, lots)
    if not (closed["amount"] < 0).any():
        return pd.DataFrame()
    # pyfolio's own does the same symbol by symbol, a grouping each: most of what the sheet would take
    with _standing_in(pyfolio.round_trips, "_groupby_consecutive", merge_consecutive):
        return pyfolio.round_trips.extract_round_trips(closed, positions.sum(axis=1) / (1 + returns))


@contextmanager
def _standing_in(module, name: str, value):
    """``value`` in the place of a module's own ``name``."""
    own = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, own)


def _held(positions: pd.DataFrame) -> pd.DataFrame:
    held = (positions != 0).any()
    return positions.loc[:, held | (positions.columns == "cash")]


def _nothing_held(positions: pd.DataFrame) -> str:
    if positions.shape[1] == 1:
        return NOTHING_HELD
    return "" if len(positions) > 1 else "it needs two sessions and the run has one"


def _on_sessions(transactions: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """pyfolio's form: columns ``symbol, amount, price``; index = the session at whose close a trade is in the books."""
    at = np.minimum(sessions.searchsorted(pd.DatetimeIndex(transactions["date"])), len(sessions) - 1)
    units = {"amount": transactions["value"] / transactions["level"], "price": transactions["level"]}
    return transactions[["symbol"]].assign(**units).set_axis(sessions[at].rename(None))


@contextmanager
def _session(style: _Style):
    """pyfolio, and the list that its tables go to.

    pyfolio draws through pyplot, prints its tables and seeds NumPy's global generator; all three are as before on
    leaving.
    """
    pyfolio, plt = _import_pyfolio()
    tables: list[SheetTable] = []
    printers = (pyfolio.utils, pyfolio.round_trips)  # the two modules whose name for it the sheets call
    backend, print_table = matplotlib.get_backend(), pyfolio.utils.print_table

    def keep_table(*args, **kwargs) -> None:
        if (table := style.table(*args, **kwargs)).rows:
            tables.append(table)

    random_state = np.random.get_state()  # noqa: NPY002 - the generator that pyfolio seeds
    before = set(plt.get_fignums())
    plt.switch_backend(BACKEND)
    for module in printers:
        module.print_table = keep_table
    try:
        # pandas would put an index without gaps on an axis of periods, which is no axis of dates
        with pd.plotting.plot_params.use("x_compat", True), warnings.catch_warnings():
            # pyfolio and seaborn themselves call what newer pandas and matplotlib will remove. Nothing handed to them
            # can change that; only deprecations raised by their own lines are kept off the console.
            for category in (DeprecationWarning, PendingDeprecationWarning):
                warnings.filterwarnings("ignore", category=category, module=r"(pyfolio|seaborn)\.")
            yield pyfolio, tables
    finally:
        for module in printers:
            module.print_table = print_table
        np.random.set_state(random_state)  # noqa: NPY002
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
        plt.switch_backend(backend)


def _import_pyfolio():
    # pyfolio warns on import that zipline, a backtester we do not use, is not installed; there is no other way to
    # tell it that none of our positions has a futures multiplier.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message='Module "zipline.assets" not found', category=UserWarning)
        import matplotlib.pyplot as plt
        import pyfolio
    return pyfolio, plt


def _remove(figure, title_start: str) -> None:
    """Take the panels whose title begins so off the figure."""
    for axes in figure.axes:
        if axes.get_title().startswith(title_start):
            axes.remove()


SECTION = Section("tearsheets", "Tear sheets", Path(__file__).with_suffix(".html"), draw=draw)
