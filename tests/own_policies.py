"""Policies as a user writes them: one that knows no clusters, one that learns, and some that are wrong."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from clusterfolio.strategies.policy import Decision


class Momentum:
    """The strongest assets of the last half year, held equally."""

    def __init__(self, n_assets=5, sessions=126):
        self.n_assets = n_assets
        self.sessions = sessions

    def decide(self, panel, state):
        closes = panel.session_closes()[panel.tradable].iloc[-self.sessions :]
        best = (closes.iloc[-1] / closes.iloc[0]).dropna().nlargest(self.n_assets).index
        return Decision(panel.dates[-1], pd.Series(1 / len(best), best))


class Calm:
    """The assets that were calmest in the training span; learns their names."""

    reads = ("selection",)

    def __init__(self, selection, n_assets=4, random_state=0):
        self.selection = selection
        self.n_assets = n_assets
        self.random_state = random_state

    def fit(self, panel, start=None):
        returns = panel.session_returns()[panel.tradable].loc[start:]
        spread = returns.std() + 1e-9 * np.random.default_rng(self.random_state).random(returns.shape[1])
        self.names_ = list(spread[returns.count() >= self.selection.min_sessions].nsmallest(self.n_assets).index)
        self.span_ = [str(day.date()) for day in (returns.index[0], returns.index[-1])]
        return self

    def decide(self, panel, state):
        return Decision(panel.dates[-1], pd.Series(1 / len(self.names_), self.names_))

    def save(self, folder):
        (folder / "names.json").write_text(json.dumps([self.names_, self.span_]))

    def load(self, folder):
        self.names_, self.span_ = json.loads((folder / "names.json").read_text())

    def describe(self):
        return {"names": self.names_, "span": self.span_}


class Forgetful(Momentum):
    """Learns, and cannot be found again."""

    def fit(self, panel, start=None):
        return self


class Undecided:
    """No policy at all."""


class Failing:
    """Divides by the names that are held, of which there are none on the first day; with ``late``, on a later one."""

    def __init__(self, late=False):
        self.late = late
        self.asked = 0

    def decide(self, panel, state):
        self.asked += 1
        if not self.late or self.asked > 1:
            raise ZeroDivisionError("division by zero")
        return Decision(panel.dates[-1], pd.Series(dtype=float))


class Wrong:
    """Returns what it was made with."""

    def __init__(self, what="tensor"):
        self.what = what

    def decide(self, panel, state):
        day, names = panel.dates[-1], panel.tradable[:2]
        return {
            "series": pd.Series(0.5, names),
            "dictionary": Decision(day, dict.fromkeys(names, 0.5)),
            "yesterday": Decision(panel.dates[-2], pd.Series(0.5, names)),
            "unknown": Decision(day, pd.Series({"NOPE": 1.0})),
            "nan": Decision(day, pd.Series([np.nan, 0.5], names)),
            "short": Decision(day, pd.Series([-0.5, 0.5], names)),
            "too much": Decision(day, pd.Series([0.9, 0.9], names)),
            "twice": Decision(day, pd.Series([0.4, 0.4], [names[0]] * 2)),
            "words": Decision(day, pd.Series(["half", "half"], names)),
            "text": Decision(str(day.date()), pd.Series(0.5, names)),
            "benchmark": Decision(day, pd.Series({panel.benchmark: 0.5, names[0]: 0.5})),
            "tensor": None,
        }[self.what]
