"""The histories a run's leak check compares: its data as they are and with another future, prepared as a run does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from clusterfolio.engine.assembly import policy as assembly
from clusterfolio.engine.assembly.market import (
    benchmark_of,
    panel_of,
    read_source,
    universe_file,
    universe_symbols,
    up_to_end,
)
from clusterfolio.engine.assembly.plan import plan_folds, test_dates
from clusterfolio.engine.assembly.prepare import prepare
from clusterfolio.engine.config.policies import BUILT_IN
from clusterfolio.engine.config.run import RunConfig
from clusterfolio.engine.folds.walk_forward import fold_for
from clusterfolio.engine.leakage.check import ROUNDING, WAYS, Inputs, called, draw_days, examine
from clusterfolio.engine.leakage.findings import LeakageReport
from clusterfolio.engine.leakage.poison import NEW, poison_raw
from clusterfolio.engine.progress import Reporter, Silent
from clusterfolio.feeds import currency as fx
from clusterfolio.feeds.exogenous.inputs import with_inputs
from clusterfolio.feeds.exogenous.publication import ALIASES, PUBLICATION_LAG, find_macro_file, known_on
from clusterfolio.feeds.exogenous.sentiment import SCORES, known_at_close, next_session
from clusterfolio.feeds.membership import SPELLINGS, spells_in
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.raw import RawData
from clusterfolio.strategies.policy import Policy

#: A training that is long enough to show a leak: what is learned depends on its data from the first step on.
SHORT = {"epochs": 1, "windows_per_epoch": 512, "holdout_windows": 256}
SHORT_AGENT = {"passes": 2, "environments": 8}


def check_run(
    config: RunConfig,
    n_days: int = 3,
    make_policy: Callable[..., Policy] | None = None,
    reporter: Reporter | None = None,
) -> LeakageReport:
    """Check what a run with this configuration does, from the source's bars to the fills.

    Args:
        n_days: days to decide on: the first decision's, and random sessions of the test after it.
        make_policy: returns an unfitted policy, given what it requires of ``config`` and ``panel``; None = the
            configuration's own, with a short training (``SHORT``).
    """
    reporter = reporter or Silent()
    config = replace(config, train=replace(config.train, **SHORT), agent=replace(config.agent, **SHORT_AGENT))
    reporter.stage("load")
    raw = read_source(config, universe_symbols(config))
    with TemporaryDirectory(prefix="clusterfolio-leakage-") as folder:
        histories = RunHistories(config, raw, make_policy, Path(folder))
        truth = histories.build(None, None, 0)
        first = test_dates(truth.panel, config)[0]
        traded = truth.panel.sessions.intersection(truth.panel.dates)
        days = draw_days(traded[(traded >= first) & (traded < traded[-1])], n_days, config.engine.seed)
        planned = plan_folds(config, truth.panel, pd.DatetimeIndex(days))

        def span(day: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
            fold = fold_for(planned, day)
            return fold.train_start, fold.train_end

        reporter.stage("check")
        changes = [*WAYS, *(["published"] if histories.published else [])]
        own = make_policy is not None or config.policy.name not in BUILT_IN
        tolerance = ROUNDING if own else 0.0
        report = examine(histories.build, days, span, changes, config.trading, tolerance, reporter.advance)
    if not histories.published:
        report.notes.append("no file of macro figures or sentiment: the rate of cash is a constant, nothing to change")
    if config.inputs.macro_path == "fred":
        report.notes.append("inputs.macro from FRED: its figures were not changed; name a file to have them checked")
    return report


@dataclass
class RunHistories:
    """Builds a run's inputs on its data as they are or with another future.

    Args:
        make_policy: see ``check_run``.
        folder: where changed copies of files of macro figures and sentiment are put.
    """

    config: RunConfig
    raw: RawData
    make_policy: Callable[..., Policy] | None
    folder: Path

    def __post_init__(self):
        config = self.config
        self.macro = find_macro_file(config.cash.path or None, config.data.path)
        if self.macro is not None:  # named, so that a policy that reads it itself is led to the changed copies too
            self.config = replace(config, cash=replace(config.cash, path=str(self.macro)))
        self._true: Inputs | None = None

    @property
    def published(self) -> bool:
        """Whether there are dated figures or texts beside prices."""
        return self.macro is not None or bool(self.config.inputs.sentiment) or self._inputs_file() is not None

    def build(self, change: str | None, day: pd.Timestamp | None, number: int) -> Inputs:
        """The inputs of one history (``engine.leakage.check.Build``)."""
        if change is None:
            self._true = self._true or self._inputs(self.config, self._panel(self.config, self.raw))
            return self._true
        end = self._true.panel.dates[-1]
        if change == "published":  # the bars are those of the true history
            config = self._other_figures(day, cut=False)
            bare = replace(self._true.panel, exog=None, features=None)
            return self._inputs(config, with_inputs(bare, config.inputs, config.data.calendar, config.data.path))
        rng = np.random.default_rng([self.config.engine.seed, number])
        raw = poison_raw(self.raw, day, WAYS[change], rng, self._spared())
        config = self._other_figures(day, cut=True) if change == "truncated" else self.config
        config = self._other_members(config, day)
        if change == "listed":
            config = replace(config, data=replace(config.data, include=(*config.data.include, *NEW)))
        return self._inputs(config, self._panel(config, raw, end))

    def _panel(self, config: RunConfig, raw: RawData, end: pd.Timestamp | None = None) -> Panel:
        panel, _ = panel_of(config, raw)
        return up_to_end(config, panel) if end is None else panel.until(end)

    def _inputs(self, config: RunConfig, panel: Panel) -> Inputs:
        panel, cash, _ = prepare(config, panel)
        if self.make_policy is None:
            make: Callable[[], Policy] = partial(assembly.make_policy, config, cash)
        else:
            make = partial(called, self.make_policy, config=config, panel=panel)
        beside = {} if panel.exog is None else {name: panel.exog[name] for name in panel.exog.columns}
        return Inputs(panel, make, {"cash": cash} | beside)

    def _spared(self) -> set[str]:
        """The benchmark and the exchange rates: without them there is no run."""
        rates = {symbol for symbol in self.raw.bars if fx.pair_of(symbol) is not None}
        return {benchmark_of(self.config), *rates}

    def _inputs_file(self) -> Path | None:
        """The macro file that exogenous channels are read from."""
        named = self.config.inputs.macro_path
        if not self.config.inputs.macro or named == "fred":
            return None
        return find_macro_file(named or None, self.config.data.path, "inputs.macro_path")

    def _other_figures(self, day: pd.Timestamp, cut: bool) -> RunConfig:
        """The configuration with copies of its files in which what was published after ``day`` is another or cut."""
        config = self.config
        lags = config.inputs.lag_by_series
        if self.macro is not None:
            path = self._copy(self.macro, "cash", lambda table: figures_after(table, day, lags), cut)
            config = replace(config, cash=replace(config.cash, path=path))
        if self._inputs_file() is not None:
            path = self._copy(self._inputs_file(), "inputs", lambda table: figures_after(table, day, lags), cut)
            config = replace(config, inputs=replace(config.inputs, macro_path=path))
        if config.inputs.sentiment:
            calendar = config.data.calendar
            path = self._copy(
                Path(config.inputs.sentiment), "mood", lambda table: texts_after(table, day, calendar), cut
            )
            config = replace(config, inputs=replace(config.inputs, sentiment=path))
        return config

    def _other_members(self, config: RunConfig, day: pd.Timestamp) -> RunConfig:
        """The configuration with copies of its lists of members in which what happens after ``day`` is another."""
        files = {"membership": Path(config.data.membership) if config.data.membership else None}
        files |= {"universe": universe_file(config)}
        changed = {}
        for key, file in files.items():
            if file is not None and spells_in(file) is not None:
                text = pd.read_csv(file, dtype=str, keep_default_na=False)
                path = self.folder / f"{key}.csv"
                spells_after(text, day).to_csv(path, index=False)
                changed[key] = str(path)
        return replace(config, data=replace(config.data, **changed))

    def _copy(self, file: Path, use: str, later: Callable[[pd.DataFrame], np.ndarray], cut: bool) -> str:
        """A copy of a table of figures or texts, its rows where ``later`` says so left out or changed."""
        parquet = file.suffix == ".parquet"
        table = pd.read_parquet(file) if parquet else pd.read_csv(file)
        after = later(table)
        path = self.folder / f"{use}{file.suffix}"
        table = table[~after] if cut else _changed(table, after)
        if parquet:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
        return str(path)


def figures_after(table: pd.DataFrame, day: pd.Timestamp, lags: Mapping[str, int]) -> np.ndarray:
    """Which rows of a table (date, series, value) were published after ``day``.

    By ``feeds.exogenous.publication``, not by the date they bear; a series it does not know, by that date.
    """
    dates = pd.DatetimeIndex(pd.to_datetime(table["date"])).as_unit("ns")
    after = np.asarray(dates > day)
    names = table["series"].replace(ALIASES)
    for name, places in names.groupby(names).indices.items():
        if name in PUBLICATION_LAG or name in lags:
            places = places[np.argsort(dates[places], kind="stable")]
            after[places] = known_on(name, dates[places], lags) > day
    return after


def spells_after(text: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """A list of members, cells as text, in which those who join after ``day`` do so 45 days later, and nobody leaves
    after it. It names the same symbols: which it names is asked for beforehand, not learned.
    """
    text = text.copy()
    for column in text.columns:
        role = next((role for role, names in SPELLINGS.items() if column.strip().lower() in names), None)
        later = pd.to_datetime(text[column], errors="coerce") > day if role in ("start", "end") else None
        if role == "start":
            moved = pd.to_datetime(text.loc[later, column]) + pd.Timedelta(days=45)
            text.loc[later, column] = moved.dt.strftime("%Y-%m-%d")
        elif role == "end":
            text.loc[later, column] = ""
    return text


def texts_after(table: pd.DataFrame, day: pd.Timestamp, calendar: str) -> np.ndarray:
    """Which rows of daily scores (date) or of dated texts (timestamp) were not known by the close of ``day``."""
    if "timestamp" in table.columns:
        known = known_at_close(pd.DatetimeIndex(pd.to_datetime(table["timestamp"], utc=True)), calendar)
    else:
        known = next_session(pd.DatetimeIndex(pd.to_datetime(table["date"])), calendar)
    return np.asarray((known > day) | known.isna())


def _changed(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """The table with other figures in these rows: far off where they are figures, opposite where they are scores."""
    table = table.copy()
    for name in table.columns.intersection(["value", *SCORES]):
        figures = pd.to_numeric(table[name], errors="coerce").astype(float)
        table[name] = figures.where(~rows, figures * -50 + 700 if name == "value" else -0.5 * figures + 0.3)
    if "text" in table.columns:
        table["text"] = table["text"].where(~rows, "A terrible, awful, horrible disaster.")
    return table
