"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from clusterfolio.engine.config.policies import PolicyConfig, make_policy_config, refuse_unread
from clusterfolio.engine.config.sections import DataConfig, DatesConfig, EngineConfig, SignificanceConfig
from clusterfolio.engine.config.settings import _build, _meanings, _plain
from clusterfolio.engine.config.trust import foreign
from clusterfolio.engine.folds.walk_forward import WalkForwardConfig
from clusterfolio.engine.trading.config import TradingConfig
from clusterfolio.feeds.exogenous.inputs import InputsConfig
from clusterfolio.feeds.exogenous.macro import CashConfig
from clusterfolio.feeds.features import FeatureConfig
from clusterfolio.feeds.quality import QualityConfig
from clusterfolio.feeds.sources.simulated import SimulatedConfig
from clusterfolio.models.agents.config import AgentConfig
from clusterfolio.models.clustering import ClusteringConfig
from clusterfolio.models.encoder import encoder_class, takes_input
from clusterfolio.models.networks.transformer import TransformerConfig
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.strategies.allocation import AllocationConfig, Allocator
from clusterfolio.strategies.cluster_policy import EncoderConfig
from clusterfolio.strategies.embedding import EmbeddingConfig
from clusterfolio.strategies.holding import Frictions
from clusterfolio.strategies.risk.config import RiskConfig
from clusterfolio.strategies.selection import SelectionConfig

#: Keys that name files or folders; a word that names no file (``universe = "seed"``) stays as it is.
PATHS = (
    ("data", "path"), ("data", "universe"), ("data", "membership"), ("cash", "path"), ("inputs", "macro_path"),
    ("inputs", "sentiment"),
)  # fmt: skip


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path and Path(path).exists() else path


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
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    model: Any = field(default_factory=TransformerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    walk_forward: WalkForwardConfig = field(default_factory=WalkForwardConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    cash: CashConfig = field(default_factory=CashConfig)
    allocation: AllocationConfig = field(default_factory=AllocationConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    trading: TradingConfig = field(default_factory=TradingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    significance: SignificanceConfig = field(default_factory=SignificanceConfig)

    def with_absolute_paths(self) -> RunConfig:
        """The same with every file and folder named from the root, so that it means the same in any folder."""
        found = self
        for section, key in PATHS:
            part = getattr(found, section)
            stated = getattr(part, key)
            many = isinstance(stated, tuple)
            paths = tuple(_absolute(path) for path in (stated if many else (stated,)))
            found = replace(found, **{section: replace(part, **{key: paths if many else paths[0]})})
        return found

    @property
    def allocator(self) -> Allocator:
        """What the names picked are weighed by."""
        return Allocator(self.trading.allocate, self.allocation)

    @property
    def frictions(self) -> Frictions:
        """What trading costs, for the rules that weigh it."""
        trading = self.trading
        return Frictions(trading.cost_multiplier if trading.costs else 0.0, trading.cash_buffer)

    def with_seed(self, seed: int) -> RunConfig:
        """The same with another seed."""
        return replace(self, engine=replace(self.engine, seed=seed))


def make_config(settings: dict, trust: bool = True) -> RunConfig:
    """The configuration with these settings over the defaults; unknown names and wrong types are refused.

    In a walk-forward the days that follow from others need not be set, and must not contradict them.

    Args:
        settings: by section and key, as in a configuration file; what is not named keeps its default.
        trust: False = import no class outside this program: what such a class would check is taken as it stands.

    Raises:
        ValueError: a name, type or value that is not right; the message says which, and what would be.

    >>> make_config({"clustering": {"n_clusters": 15}}).clustering.n_clusters
    15
    """
    sections = {item.name: item for item in fields(RunConfig)}
    for name in settings:
        if name not in sections:
            raise ValueError(f"unknown section {name!r}; available: {', '.join(sections)}")
    built: dict[str, Any] = {}
    settings = _with_training_span(settings)
    unseen = set() if trust else {key for key, _ in foreign(settings)}
    for name, values in settings.items():
        if name == "policy":
            built[name] = _unseen_policy(values) if "policy.name" in unseen else make_policy_config(values)
        elif name != "model":
            built[name] = _build(name, sections[name].default_factory, values)
    model = settings.get("model", {})
    built["model"] = dict(model) if "encoder.name" in unseen else _model(built, model)
    config = RunConfig(**built)
    if config.risk.rests and config.trading.fractional:
        raise ValueError(
            'risk.stop_orders: got "resting", which takes whole shares: brokers let no order for a fraction rest; set '
            "trading.fractional = false"
        )
    if "policy.name" not in unseen:
        refuse_unread(config.policy.name, vars(config), vars(RunConfig()))
    return config


def _unseen_policy(values: dict) -> PolicyConfig:
    """The section [policy] as it stands, its class not looked at."""
    return PolicyConfig(values["name"], {key: value for key, value in values.items() if key != "name"})


def _model(built: dict, values: dict) -> Any:
    """The section [model] of the encoder that the other sections name."""
    encoder = built.get("encoder", EncoderConfig())
    try:
        network = encoder_class(encoder.name)
    except TypeError as error:
        raise ValueError(f"encoder.name: {error}") from error
    _check_inputs(built.get("inputs", InputsConfig()), encoder.name, network)
    return _build_model(encoder.name, network, values)


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


def _build_model(encoder: str, network: Any, values: dict) -> Any:
    """The section ``model``: the encoder's own ``config_class``; a class without one has no keys."""
    if getattr(network, "config_class", None) is None:
        if values:
            raise ValueError(
                f"unknown key model.{next(iter(values))}: encoder {encoder!r} has no keys of its own; give its class "
                "config_class, a dataclass with a field for each key, or leave the key out"
            )
        return {}
    known = {item.name for item in fields(network.config_class)}
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key model.{key} of encoder {encoder!r}; available: {', '.join(sorted(known))}")
    return _build("model", network.config_class, values)
