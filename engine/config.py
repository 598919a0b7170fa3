"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from engine.walk_forward import WalkForwardConfig
from feeds.features import FeatureConfig
from feeds.inputs import InputsConfig
from feeds.macro import CashConfig
from feeds.quality import QualityConfig
from feeds.sources.simulated import SimulatedConfig
from models.clustering import ClusteringConfig
from models.encoder import encoder_class, takes_input
from models.training import TrainConfig
from models.transformer import TransformerConfig
from strategies.allocation import ALLOCATORS
from strategies.embedding import EmbeddingConfig
from strategies.policy import EncoderConfig
from strategies.selection import SelectionConfig

SOURCES = ("simulated", "files", "yahoo")
FREQUENCIES = ("once", "week", "month", "quarter")


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
        benchmark: the symbol results are compared with; "auto" = SPY, in a simulated market its index.
        currency: currency of the account, three letters; every price is converted into it.
        calendar: exchange whose sessions decide when decisions fall and what a year is (exchange_calendars' code).
    """

    source: str = "simulated"
    path: tuple[str, ...] = ()
    universe: str = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    benchmark: str = "auto"
    currency: str = "USD"
    calendar: str = "XNYS"

    def __post_init__(self):
        if self.source not in SOURCES:
            raise ValueError(f"data.source: got {self.source!r}, expected one of {', '.join(SOURCES)}")
        if self.source == "files" and not self.path:
            raise ValueError("data.path: empty, but source 'files' needs --path FILE_OR_DIR")
        if self.source != "files" and self.path:
            raise ValueError(f"data.path: given, but data.source is {self.source!r}; add --source files")


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
class TradingConfig:
    """How decisions become orders, and what they cost.

    Attributes:
        rebalance: "once", "week", "month" or "quarter" (decided on its last session), or a number of sessions.
        allocate: "equal" or "inverse_volatility".
        capital: starting cash in the account's currency.
        cash_buffer: fraction of the value kept in cash.
        fractional: allow fractions of a share.
        costs: charge commission and half the spread, per asset class or as the universe file says.
        cost_multiplier: scales those costs; 2 = twice as dear.
    """

    rebalance: str | int = "month"
    allocate: str = "equal"
    capital: float = 100_000.0
    cash_buffer: float = 0.02
    fractional: bool = True
    costs: bool = True
    cost_multiplier: float = 1.0

    def __post_init__(self):
        number = isinstance(self.rebalance, int) and not isinstance(self.rebalance, bool) and self.rebalance >= 1
        if not number and self.rebalance not in FREQUENCIES:
            raise ValueError(
                f"trading.rebalance: got {self.rebalance!r}, expected one of {', '.join(FREQUENCIES)} or a number of "
                "sessions"
            )
        if self.allocate not in ALLOCATORS:
            raise ValueError(
                f"trading.allocate: got {self.allocate!r}, expected one of {', '.join(sorted(ALLOCATORS))}"
            )
        if not 0 < self.capital < math.inf:
            raise ValueError(f"trading.capital: got {self.capital}, expected a number above 0")
        if not 0 <= self.cash_buffer < 1:
            raise ValueError(f"trading.cash_buffer: got {self.cash_buffer}, expected 0 <= cash_buffer < 1")
        if not self.cost_multiplier >= 0:
            raise ValueError(f"trading.cost_multiplier: got {self.cost_multiplier}, expected 0 or more")


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


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result; a section per part, each owned by the module that uses it.

    ``model`` is the configuration class of the encoder that ``encoder.name`` names.
    """

    data: DataConfig = field(default_factory=DataConfig)
    dates: DatesConfig = field(default_factory=DatesConfig)
    simulated: SimulatedConfig = field(default_factory=SimulatedConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    inputs: InputsConfig = field(default_factory=InputsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    model: Any = field(default_factory=TransformerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    walk_forward: WalkForwardConfig = field(default_factory=WalkForwardConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    cash: CashConfig = field(default_factory=CashConfig)
    trading: TradingConfig = field(default_factory=TradingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    significance: SignificanceConfig = field(default_factory=SignificanceConfig)


def presets() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("engine") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def read_preset(name: str) -> dict:
    """The settings a shipped preset changes, as nested dictionaries."""
    if name not in presets():
        raise ValueError(f"unknown preset {name!r}; available: {', '.join(presets())}")
    return tomllib.loads((resources.files("engine") / "presets" / f"{name}.toml").read_text(encoding="utf-8"))


def read_toml(path: Path) -> dict:
    """A configuration file as nested dictionaries; errors name the file."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from error


def merge(*layers: dict) -> dict:
    """Nested dictionaries laid over one another; the later wins, key by key.

    A layer that names another encoder than those below it leaves their ``model`` section behind, whose keys are that
    encoder's.

    >>> merge({"data": {"source": "files", "currency": "USD"}}, {"data": {"currency": "EUR"}})
    {'data': {'source': 'files', 'currency': 'EUR'}}
    """
    result: dict = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, dict):
                raise ValueError(f"{section}: got {values!r}, expected a section with keys, as in [{section}]")
        named = result.get("encoder", {}).get("name")
        if named is not None and layer.get("encoder", {}).get("name", named) != named:
            result.pop("model", None)
        for section, values in layer.items():
            result[section] = {**result.get(section, {}), **values}
    return result


def parse_setting(text: str) -> dict:
    """``section.key=value`` from the command line; the value is read as TOML, else as text.

    >>> parse_setting("train.epochs=3"), parse_setting("data.currency=EUR")
    ({'train': {'epochs': 3}}, {'data': {'currency': 'EUR'}})
    """
    match = re.fullmatch(r"\s*(\w+)\.(\w+)\s*=\s*(.*)", text, flags=re.DOTALL)
    if match is None:
        raise ValueError(f"--set {text!r}: expected section.key=value, for example train.epochs=3")
    section, key, value = match.groups()
    try:
        return {section: {key: tomllib.loads(f"x = {value}")["x"]}}
    except tomllib.TOMLDecodeError:
        return {section: {key: value}}


def make_config(settings: dict) -> RunConfig:
    """The configuration with these settings over the defaults; unknown names and wrong types are refused.

    In a walk-forward the days that follow from others need not be set, and must not contradict them.
    """
    sections = {item.name: item for item in fields(RunConfig)}
    for name in settings:
        if name not in sections:
            raise ValueError(f"unknown section {name!r}; available: {', '.join(sections)}")
    built = {}
    settings = _with_training_span(settings)
    for name, values in settings.items():
        if name != "model":
            built[name] = _build(name, sections[name].default_factory, values)
    encoder = built.get("encoder", EncoderConfig())
    try:
        network = encoder_class(encoder.name)
    except TypeError as error:
        raise ValueError(f"encoder.name: {error}") from error
    _check_inputs(built.get("inputs", InputsConfig()), encoder.name, network)
    built["model"] = _build_model(encoder.name, network, settings.get("model", {}))
    return RunConfig(**built)


def to_dict(config: RunConfig) -> dict:
    """Nested dictionaries of plain values, every key present; ``make_config`` takes them back."""
    return {item.name: _plain(getattr(config, item.name)) for item in fields(config)}


def dump(config: RunConfig) -> str:
    """The configuration as TOML text, every key written out."""
    return tomli_w.dumps(to_dict(config))


def describe(config: RunConfig) -> list[tuple[str, str, Any, Any, str]]:
    """Every ``(section, key, value, default, meaning)``, the meanings taken from the docstrings."""
    rows = []
    for item in fields(RunConfig):
        part = getattr(config, item.name)
        meanings, defaults = _meanings(type(part)), _plain(type(part)())
        for key, value in _plain(part).items():
            rows.append((item.name, key, value, defaults.get(key), meanings.get(key, "")))
    return rows


def _with_training_span(settings: dict) -> dict:
    """The settings with the first fold's training span, which walk_forward and dates.start decide."""
    walk = _build("walk_forward", WalkForwardConfig, settings.get("walk_forward", {}))
    dates = settings.get("dates", {})
    start = pd.to_datetime(str(dates.get("start", DatesConfig.start)), errors="coerce")
    if not walk.on or pd.isna(start):  # DatesConfig says what is wrong with a day
        return settings
    follows = {"train_end": start - pd.Timedelta(days=1)}
    if walk.window == "trailing":
        follows["train_start"] = start - pd.DateOffset(months=walk.train_months)
    follows = {key: str(day.date()) for key, day in follows.items()}
    for key, day in follows.items():
        if str(dates.get(key, day)) != day:
            raise ValueError(
                f"dates.{key}: got {dates[key]}, but with walk_forward.refit it follows from dates.start "
                f"({start.date()}) and is {day}; set that or leave it out"
            )
    # Embeddings and Sharpe ratios look further back than a short training does: as far as before one of two years.
    train_start = pd.Timestamp(str({**dates, **follows}.get("train_start", DatesConfig.train_start)))
    history = DatesConfig.history_days + max(0, 730 - (start - train_start).days)
    return {**settings, "dates": {"history_days": history, **dates, **follows}}


def _check_inputs(inputs: InputsConfig, name: str, network: type) -> None:
    """Refuse inputs beyond price for an encoder that reads prices only."""
    for key, wanted, argument in (
        ("inputs.macro or inputs.sentiment", inputs.exog, "n_exog"),
        ("inputs.statics", inputs.static_columns, "static_sizes"),
    ):
        if wanted and not takes_input(network, argument):
            raise ValueError(f"{key}: encoder {name!r} does not take them: its constructor has no {argument}")


def _build_model(encoder: str, network: type, values: dict) -> Any:
    """The section ``model``: the encoder's own ``config_class``, or for a class without one the values as they are."""
    if not hasattr(network, "config_class"):
        return dict(values)
    known = {item.name for item in fields(network.config_class)}
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key model.{key} of encoder {encoder!r}; available: {', '.join(sorted(known))}")
    return _build("model", network.config_class, values)


def _build(section: str, cls: type, values: dict):
    hints = typing.get_type_hints(cls)
    known = {item.name for item in fields(cls)}
    kwargs = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"unknown key {section}.{key}; available: {', '.join(sorted(known))}")
        kwargs[key] = _convert(f"{section}.{key}", value, hints[key])
    try:
        return cls(**kwargs)
    except ValueError as error:
        raise ValueError(f"[{section}] {error}") from error


def _convert(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type the dataclass states; a whole number will do for a float, one text for a list."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is tuple:
            items = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            inner = typing.get_args(option)[0]
            if isinstance(items, list | tuple) and all(isinstance(item, inner) for item in items):
                return tuple(items)
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif option is str and hasattr(value, "isoformat"):
            return value.isoformat()  # a TOML date
        elif isinstance(option, type) and isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    expected = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise ValueError(f"{name}: got {value!r}, expected {expected}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _meanings(cls: type) -> dict[str, str]:
    """The ``Attributes:`` part of a docstring as key -> sentence; ``a, b: text`` explains both."""
    _, _, text = (cls.__doc__ or "").partition("Attributes:")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        head = re.match(r"^ {8}(\w+(?:, \w+)*): (.*)$", line)
        if head:
            names = head[1].split(", ")
            meanings.update(dict.fromkeys(names, head[2].strip()))
        elif names and line.strip():
            meanings.update({name: f"{meanings[name]} {line.strip()}" for name in names})
    return meanings
