"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from clusterfolio.feeds.sources.catalogue import SOURCES
from clusterfolio.feeds.units import CURRENCIES, WRITTEN_UNITS


@dataclass(frozen=True)
class DataConfig:
    """Where prices come from and which instruments may be held.

    Attributes:
        source: "simulated" = a made-up market, offline; "files" = your CSV or Parquet; "yahoo" = through yfinance.
        path: files or folders, for source "files".
        universe: "seed" = the published 299 symbols, "default" = the shipped list, "all" = everything the source
            has, or a CSV file; "auto" = "default" for yahoo, else "all".
        include: symbols added to the universe.
        exclude: symbols left out of it.
        membership: CSV file of who was in an index when (symbol, from, to; several rows a symbol): a symbol it names is
            held and learned from only inside its spells; a universe file may have columns from and to instead.
        benchmark: the symbol results are compared with; "auto" = SPY, in a simulated market its index.
        currency: currency of the account, three letters; every price is converted into it.
        calendar: exchange whose sessions decide when decisions fall and what a year is (exchange_calendars' code).
        lag: symbols and asset classes (forex, crypto) whose daily close is taken at another hour than the exchange's:
            their bars count a bar later, rates that convert prices with "forex".
    """

    source: str = "simulated"
    path: tuple[str, ...] = ()
    universe: str = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    membership: str = ""
    benchmark: str = "auto"
    currency: str = "USD"
    calendar: str = "XNYS"
    lag: tuple[str, ...] = ()

    def __post_init__(self):
        if self.source not in SOURCES:
            raise ValueError(f"data.source: got {self.source!r}, expected one of {', '.join(SOURCES)}")
        takes_path = SOURCES[self.source].takes_path
        if takes_path and not self.path:
            raise ValueError(f"data.path: empty, but source {self.source!r} needs --path FILE_OR_DIR")
        if self.path and not takes_path:
            those = " or ".join(name for name, source in SOURCES.items() if source.takes_path)
            raise ValueError(f"data.path: given, but data.source is {self.source!r}; add --source {those}")
        if self.currency.upper() not in CURRENCIES:
            meant = WRITTEN_UNITS.get(self.currency.lower(), "")
            raise ValueError(
                f"data.currency: got {self.currency!r}, expected a code such as USD or EUR"
                + (f"; is {meant} meant?" if meant in CURRENCIES else "")
            )


@dataclass(frozen=True)
class DatesConfig:
    """What is trained on and what is tested; every date is a day, both ends included.

    Attributes:
        train_start: first day on which a training window may end.
        train_end: last day the encoder may see.
        start: first day of the test; the first decision falls on the last session before it.
        end: last day of the test; empty = the last session on which the benchmark and 90 % of the universe trade.
        history_days: calendar days before train_start whose prices are loaded too: indicators and windows reach back.
    """

    train_start: str = "2023-01-01"
    train_end: str = "2024-12-31"
    start: str = "2025-01-01"
    end: str = ""
    history_days: int = 400

    def __post_init__(self):
        for name in ("train_start", "train_end", "start", "end"):
            value = getattr(self, name)
            if name == "end" and value == "":
                continue
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", value) or pd.isna(pd.to_datetime(value, errors="coerce")):
                raise ValueError(f"dates.{name}: got {value!r}, expected a day as YYYY-MM-DD")
        if not self.train_start < self.train_end < self.start:
            raise ValueError(
                f"dates: train_start {self.train_start}, train_end {self.train_end} and start {self.start} must follow "
                "one another: what the encoder was trained on is never tested on"
            )
        if self.end and self.end < self.start:
            raise ValueError(f"dates.end: {self.end} lies before dates.start, {self.start}")


@dataclass(frozen=True)
class EngineConfig:
    """The machine's part of a run.

    Attributes:
        seed: every random number of the run comes from it.
        device: "auto", "cpu", "cuda" or "mps".
        clock: "shared" = the fast clock where it serves; "stock" = backtrader's own loop. Same results.
        workers: processes that train the folds of a walk-forward whose trainings do not start from one another; no
            more are used than cores hold with train.threads each; 0 = as many as that. Same results.
    """

    seed: int = 0
    device: str = "auto"
    clock: str = "shared"
    workers: int = 1

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"engine.seed: got {self.seed}, expected 0 or more")
        if self.workers < 0:
            raise ValueError(f"engine.workers: got {self.workers}, expected 0 or more")
        if self.clock not in ("shared", "stock"):
            raise ValueError(f"engine.clock: got {self.clock!r}, expected 'shared' or 'stock'")


@dataclass(frozen=True)
class SignificanceConfig:
    """How far a run's result can be believed: worked out before its report is written, and no part of the result.

    Attributes:
        on: do it with every run; `significance RUN_DIR` does it later.
        portfolios: random portfolios of each kind (random picks, random clusters) that the strategy is placed among.
    """

    on: bool = True
    portfolios: int = 1000

    def __post_init__(self):
        if self.portfolios < 100:
            raise ValueError(f"significance.portfolios: got {self.portfolios}, expected at least 100")
