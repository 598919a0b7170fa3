"""The histories a run's leak check compares: its data as they are and with another future, prepared as a run does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from engine import pipeline
from engine.config import RunConfig
from engine.leakage import ROUNDING, WAYS, Inputs, LeakageReport, called, draw_days, examine
from engine.market import benchmark_of, panel_of, read_source, universe_symbols, up_to_end
from engine.poison import NEW, poison_raw
from engine.walk_forward import fold_for
from feeds import currency as fx
from feeds.macro import PUBLICATION_LAG, find_macro_file
from feeds.sources.raw import RawData
from strategies.policy import Policy

#: A training that is long enough to show a leak: what is learned depends on its data from the first step on.
SHORT = {"epochs": 1, "windows_per_epoch": 512, "holdout_windows": 256}


def check_run(
    config: RunConfig,
    n_days: int = 3,
    make_policy: Callable[..., Policy] | None = None,
    reporter: pipeline.Reporter | None = None,
) -> LeakageReport:
    """Check what a run with this configuration does, from the source's bars to the fills.

    Args:
        n_days: days to decide on: the first decision's, and random sessions of the test after it.
        make_policy: returns an unfitted policy, given what it requires of ``config`` and ``panel``; None = the
            configuration's own, with a short training (``SHORT``).
    """
    reporter = reporter or pipeline.Silent()
    config = replace(config, train=replace(config.train, **SHORT))
    reporter.stage("load")
    raw = read_source(config, universe_symbols(config))
    with TemporaryDirectory(prefix="clusterfolio-leakage-") as folder:
        histories = RunHistories(config, raw, make_policy, Path(folder))
        truth = histories.build(None, None, 0)
        first = pipeline.test_dates(truth.panel, config)[0]
        traded = truth.panel.sessions.intersection(truth.panel.dates)
        days = draw_days(traded[(traded >= first) & (traded < traded[-1])], n_days, config.engine.seed)
        planned = pipeline.plan_folds(config, truth.panel, pd.DatetimeIndex(days))

        def span(day: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
            fold = fold_for(planned, day)
            return fold.train_start, fold.train_end

        reporter.stage("check")
        changes = [*WAYS, *(["published"] if histories.macro is not None else [])]
        tolerance = 0.0 if make_policy is None else ROUNDING
        report = examine(histories.build, days, span, changes, config.trading, tolerance, reporter.advance)
    if histories.macro is None:
        report.notes.append("no macro file among the data: the rate of cash is a constant, nothing of it to change")
    return report


@dataclass
class RunHistories:
    """Builds a run's inputs on its data as they are or with another future.

    Args:
        make_policy: see ``check_run``.
        folder: where changed copies of the macro file are put.
    """

    config: RunConfig
    raw: RawData
    make_policy: Callable[..., Policy] | None
    folder: Path

    def __post_init__(self):
        self.macro = find_macro_file(self.config.cash.path or None, self.config.data.path)
        self._true: Inputs | None = None

    def build(self, change: str | None, day: pd.Timestamp | None, number: int) -> Inputs:
        """The inputs of one history (``engine.leakage.Build``)."""
        if change is None:
            self._true = self._true or self._inputs(self.config, self.raw, None)
            return self._true
        rng = np.random.default_rng([self.config.engine.seed, number])
        raw, config = self.raw, self.config
        if change in WAYS:
            raw = poison_raw(raw, day, WAYS[change], rng, self._spared())
        if change == "listed":
            config = replace(config, data=replace(config.data, include=(*config.data.include, *NEW)))
        if self.macro is not None and change in ("truncated", "published"):
            path = self._macro_without(day, cut=change == "truncated")
            config = replace(config, cash=replace(config.cash, path=str(path)))
            if config.inputs.macro and self._inputs_file() == self.macro:
                config = replace(config, inputs=replace(config.inputs, macro_path=str(path)))
        return self._inputs(config, raw, self._true.panel.dates[-1])

    def _inputs(self, config: RunConfig, raw: RawData, end: pd.Timestamp | None) -> Inputs:
        panel, _ = panel_of(config, raw)
        panel = up_to_end(config, panel) if end is None else panel.until(end)
        cash, _ = pipeline.cash_returns(panel, config.cash, config.data.path)
        panel = pipeline.with_features(panel, config.features)
        if self.make_policy is None:
            make: Callable[[], Policy] = partial(pipeline.make_policy, config, cash)
        else:
            make = partial(called, self.make_policy, config=config, panel=panel)
        beside = {} if panel.exog is None else {name: panel.exog[name] for name in panel.exog.columns}
        return Inputs(panel, make, {"cash": cash} | beside)

    def _inputs_file(self) -> Path | None:
        """The macro file that exogenous channels are read from."""
        named = self.config.inputs.macro_path
        return None if named == "fred" else find_macro_file(named or None, self.config.data.path)

    def _spared(self) -> set[str]:
        """The benchmark and the exchange rates: without them there is no run."""
        rates = {symbol for symbol in self.raw.bars if fx.pair_of(symbol) is not None}
        return {benchmark_of(self.config), *rates}

    def _macro_without(self, day: pd.Timestamp, cut: bool) -> Path:
        """A copy of the macro file whose figures published after ``day`` are cut or changed."""
        parquet = self.macro.suffix == ".parquet"
        table = pd.read_parquet(self.macro) if parquet else pd.read_csv(self.macro)
        lag = pd.to_timedelta(table["series"].map(PUBLICATION_LAG).fillna(0), unit="D")
        later = pd.to_datetime(table["date"]) + lag > day
        path = self.folder / f"macro{self.macro.suffix}"
        table = table[~later] if cut else table.assign(value=table["value"].where(~later, table["value"] * -50 + 700))
        if parquet:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
        return path
