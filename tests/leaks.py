"""Leaks to plant in the pipeline, one at a time, with pytest's ``monkeypatch``: what a check must find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.preprocessing import RobustScaler

import clusterfolio.engine.assembly.prepare
import clusterfolio.engine.leakage.of_run
import clusterfolio.engine.trading.backtest
import clusterfolio.feeds.exogenous.macro
import clusterfolio.feeds.exogenous.sentiment
import clusterfolio.feeds.ingest
import clusterfolio.models.encoder
import clusterfolio.strategies.holding
from clusterfolio.feeds.features import FEATURES, Features
from clusterfolio.strategies.sharpe import sharpe_ratios


def scaler_on_all_history(monkeypatch):
    seen = {}
    honest = clusterfolio.engine.assembly.prepare.with_features

    def keep(panel, config):
        panel = honest(panel, config)
        seen["rows"] = panel.features.values.reshape(-1, len(FEATURES))
        return panel

    def fit_scaler(windows):
        return RobustScaler().fit(seen["rows"][np.isfinite(seen["rows"]).all(axis=1)])

    monkeypatch.setattr(clusterfolio.engine.assembly.prepare, "with_features", keep)
    monkeypatch.setattr(clusterfolio.models.encoder, "fit_scaler", fit_scaler)


def same_bar_fill(monkeypatch):
    class Eager(clusterfolio.engine.trading.backtest.ClockCerebro):
        def run(self, **kwargs):
            self.broker.set_coc(True)
            return super().run(**kwargs)

    monkeypatch.setattr(clusterfolio.engine.trading.backtest, "ClockCerebro", Eager)


def centred_window(monkeypatch):
    honest = clusterfolio.engine.assembly.prepare.with_features

    def centre(panel, config):
        panel = honest(panel, config)
        values = panel.features.values.copy()
        values[:-10, :, 4] = values[10:, :, 4]
        return replace(panel, features=Features(values, panel.features.observed, config))

    monkeypatch.setattr(clusterfolio.engine.assembly.prepare, "with_features", centre)


def unlagged_series(monkeypatch):
    """Channels are dated by the month they describe."""
    monkeypatch.setattr(clusterfolio.feeds.exogenous.macro, "known_on", lambda series, dates, lags=None: dates)


def unlagged_mood(monkeypatch):
    """A day's score counts on that day already, though texts go on after the close."""
    monkeypatch.setattr(clusterfolio.feeds.exogenous.sentiment, "next_session", lambda days, calendar: days)


def universe_of_today(monkeypatch):
    """The three quarters of the symbols that had risen most by the data's end, as a list made today would hold."""
    honest = clusterfolio.engine.leakage.of_run.panel_of

    def panel_of(config, raw):
        panel, verdicts = honest(config, raw)
        risen = (panel.close.ffill().iloc[-1] / panel.close.bfill().iloc[0]).rank(pct=True) > 0.25
        return panel.select([name for name in panel.symbols if risen[name] or name == panel.benchmark]), verdicts

    monkeypatch.setattr(clusterfolio.engine.leakage.of_run, "panel_of", panel_of)


def whole_sample_sharpe(monkeypatch):
    seen = {}
    honest = clusterfolio.engine.assembly.prepare.with_features

    def keep(panel, config):
        seen["returns"] = panel.session_returns()
        return honest(panel, config)

    def sharpe(self, returns):
        return sharpe_ratios(seen["returns"][returns.columns])

    monkeypatch.setattr(clusterfolio.engine.assembly.prepare, "with_features", keep)
    monkeypatch.setattr(clusterfolio.strategies.holding.Holding, "rank", sharpe)


def whole_sample_quality(monkeypatch):
    honest = clusterfolio.feeds.ingest.clean

    def clean(frame, config, **kwargs):
        cleaned = honest(frame, config, **kwargs)
        if frame["close"].pct_change(fill_method=None).abs().max() > 0.5:  # dropped for what happens one day
            cleaned = replace(cleaned, bars=cleaned.bars.iloc[:0], begins=())
        return cleaned

    monkeypatch.setattr(clusterfolio.feeds.ingest, "clean", clean)
