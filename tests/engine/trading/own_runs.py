"""Strategies and markets of a backtrader user, with nothing of this program in them but the recorder."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.recorder import RunRecorder


class Crossover(bt.Strategy):
    """Long where the fast average is above the slow one."""

    params = dict(fast=5, slow=20, part=0.18)  # noqa: RUF012 - backtrader's form

    def __init__(self):
        self.cross = {}
        for data in self.datas:
            fast, slow = (bt.ind.SMA(data, period=period) for period in (self.p.fast, self.p.slow))
            self.cross[data] = bt.ind.CrossOver(fast, slow)

    def next(self):
        for data, cross in self.cross.items():
            if cross[0] > 0:
                self.order_target_percent(data, self.p.part)
            elif cross[0] < 0:
                self.close(data)


class Orders(bt.Strategy):
    """Does what it is told: by bar, a function of the strategy."""

    params = dict(plan=None)  # noqa: RUF012 - backtrader's form

    def prenext(self):
        self.next()

    def next(self):
        for act in self.p.plan.get(len(self), ()):
            act(self)


def bars(n_names: int = 5, n_days: int = 400, seed: int = 3, start: str = "2022-01-03") -> dict[str, pd.DataFrame]:
    """Daily bars of random walks by name."""
    rng, days = np.random.default_rng(seed), pd.bdate_range(start, periods=n_days)
    found = {}
    for number in range(n_names):
        close = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, n_days)))
        opens = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.003, n_days))
        high, low = np.maximum(opens, close) * 1.002, np.minimum(opens, close) * 0.998
        table = {"open": opens, "high": high, "low": low, "close": close, "volume": 1e6}
        found[f"S{number}"] = pd.DataFrame(table, days)
    return found


def cerebro_of(frames: dict[str, pd.DataFrame], strategy, cerebro=None, feed=None, **params) -> bt.Cerebro:
    """A Cerebro with these feeds, a strategy, a commission, and the recorder."""
    cerebro = bt.Cerebro() if cerebro is None else cerebro
    for name, frame in frames.items():
        cerebro.adddata((feed or (lambda frame: bt.feeds.PandasData(dataname=frame)))(frame), name=name)
    cerebro.addstrategy(strategy, **params)
    cerebro.broker.setcash(100_000.0)
    cerebro.broker.setcommission(0.0005)
    cerebro.addanalyzer(RunRecorder)
    return cerebro


def recorded(frames, strategy=Crossover, **params) -> RunRecorder:
    return cerebro_of(frames, strategy, **params).run()[0].analyzers.runrecorder
