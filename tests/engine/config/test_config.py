import json
import tomllib
from dataclasses import dataclass

import pytest
from torch import nn

from clusterfolio.engine.config.run import RunConfig, describe, dump, make_config, to_dict
from clusterfolio.engine.config.settings import merge, parse_setting, presets, read_preset
from clusterfolio.engine.run_dir.stored import check_model
from clusterfolio.models.encoder import ENCODERS
from clusterfolio.strategies.selection import SelectionConfig


@pytest.mark.parametrize("preset", presets())
def test_a_preset_survives_the_way_through_its_file(preset):
    config = make_config(read_preset(preset))
    assert make_config(tomllib.loads(dump(config))) == config


def test_the_default_preset_is_the_defaults():
    assert make_config(read_preset("default")) == RunConfig()


def test_the_seed_preset_is_the_published_document():
    config = to_dict(make_config(read_preset("seed")))
    assert config["train"]["epochs"] == 15 and config["train"]["batch_size"] == 128
    assert config["embedding"]["kind"] == "last" and config["clustering"]["n_clusters"] == 20
    assert config["selection"]["sharpe_span"] == "training" and not config["selection"]["excess_of_cash"]
    assert config["trading"]["rebalance"] == "once" and not config["trading"]["costs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataa": {}}, "unknown section 'dataa'; available: data, dates"),
        ({"data": {"sorce": "files"}}, r"unknown key data\.sorce; available: benchmark"),
        ({"data": {"source": "file"}}, "data.source: got 'file', expected one of simulated, files, yahoo"),
        ({"train": {"epochs": "many"}}, "train.epochs: got 'many', expected int"),
        ({"train": {"epochs": True}}, "train.epochs: got True, expected int"),
        ({"dates": {"train_end": "2025-06-30"}}, "must follow one another"),
        ({"dates": {"start": "2025-02-30"}}, "dates.start: got '2025-02-30', expected a day"),
        ({"trading": {"rebalance": "fortnight"}}, "trading.rebalance: got 'fortnight'"),
        ({"data": {"path": ["prices"]}}, "data.path: given, but data.source is 'simulated'; add --source files"),
        ({"trading": {"capital": float("inf")}}, "trading.capital: got inf"),
        ({"engine": {"seed": -1}}, "engine.seed: got -1, expected a whole number from 0"),
        ({"encoder": {"name": "os:path"}}, "encoder.name: encoder 'os:path' must be"),
        ({"trading": {"cash_buffer": 1.0}}, "trading.cash_buffer: got 1.0"),
        ({"encoder": {"name": "tranformer"}}, "unknown encoder 'tranformer'; available: "),
        ({"data": "files"}, "data: got 'files', expected a section"),
        ({"selection": {"sharpe_span": "past"}}, "sharpe_span: got 'past'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(merge(settings))


def test_settings_from_the_command_line_are_read_as_toml_else_as_text():
    assert parse_setting("train.epochs=3") == {"train": {"epochs": 3}}
    assert parse_setting("trading.costs=false") == {"trading": {"costs": False}}
    assert parse_setting("dates.start=2025-01-01")["dates"]["start"].isoformat() == "2025-01-01"
    assert parse_setting("data.path=a,b") == {"data": {"path": "a,b"}}
    with pytest.raises(ValueError, match=r"expected section\.key=value"):
        parse_setting("epochs=3")


def test_lists_dates_and_whole_numbers_become_what_the_dataclass_states():
    config = make_config(merge(parse_setting("data.exclude=A, B"), parse_setting("trading.capital=5000")))
    assert config.data.exclude == ("A", "B")
    assert config.trading.capital == 5000.0 and isinstance(config.trading.capital, float)
    assert make_config(parse_setting("dates.start=2025-02-03")).dates.start == "2025-02-03"
    assert make_config(parse_setting("trading.rebalance=21")).trading.rebalance == 21


def test_every_key_has_a_meaning():
    assert not [f"{section}.{key}" for section, key, _, _, meaning in describe(RunConfig()) if not meaning]


def test_values_are_shown_beside_their_defaults():
    config = RunConfig(selection=SelectionConfig(per_cluster=2))
    assert ("selection", "per_cluster", 2, 1) in [row[:4] for row in describe(config)]


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_the_model_section_is_the_named_encoders(name):
    config = make_config({"encoder": {"name": name}})
    assert config.model == ENCODERS[name].config_class()
    assert make_config(tomllib.loads(dump(config))) == config
    assert not [key for section, key, _, _, meaning in describe(config) if section == "model" and not meaning]
    with pytest.raises(ValueError, match=rf"unknown key model\.depth of encoder '{name}'; available: .*embed_dim"):
        make_config({"encoder": {"name": name}, "model": {"depth": 3}})


class Small(nn.Module):
    """An encoder of the user's own, with no configuration."""

    def encode(self, batch): ...

    def loss(self, batch): ...


@dataclass(frozen=True)
class LargeConfig:
    """Its shape.

    Attributes:
        width: how wide.
    """

    width: int = 8


class Large(Small):
    config_class = LargeConfig


def test_an_encoder_of_ones_own_brings_its_own_keys():
    name = f"{__name__}:Large"
    config = make_config({"encoder": {"name": name}, "model": {"width": 16}})
    assert config.model == LargeConfig(16) and make_config(tomllib.loads(dump(config))) == config
    assert ("model", "width", 16, 8, "how wide.") in describe(config)
    with pytest.raises(ValueError, match=r"model\.width: got 'much', expected int"):
        make_config({"encoder": {"name": name}, "model": {"width": "much"}})


class Emptied(Large):
    config_class = None


@pytest.mark.parametrize("name", ["Small", "Emptied"])
def test_an_encoder_without_a_configuration_class_has_no_keys(name):
    encoder = {"encoder": {"name": f"{__name__}:{name}"}}
    config = make_config(encoder)
    assert config.model == {} and make_config(tomllib.loads(dump(config))) == config
    assert not [row for row in describe(config) if row[0] == "model"]
    with pytest.raises(ValueError, match=rf"unknown key model\.width: encoder .*:{name}' has no keys .*config_class"):
        make_config(encoder | {"model": {"width": 16}})


def test_another_encoder_leaves_the_keys_of_the_one_below_behind():
    seed = read_preset("seed")
    vae = make_config(merge(seed, {"encoder": {"name": "vae"}, "model": {"hidden": 32}}))
    assert vae.model == ENCODERS["vae"].config_class(hidden=32) and vae.train.epochs == 15
    layers = (
        {"encoder": {"name": "gru"}, "model": {"hidden": 8}},
        {"encoder": {"name": "gru"}},
        {"model": {"n_layers": 2}},
    )
    assert merge(*layers)["model"] == {"hidden": 8, "n_layers": 2}
    unnamed = merge({"model": {"hidden": 8}}, {"encoder": {"name": "gru"}})  # one below that names none is the default
    assert unnamed["model"] == {"hidden": 8}


def test_a_model_made_before_a_key_existed_was_made_with_its_default(tmp_path):
    settings = to_dict(make_config({"encoder": {"name": "vae"}}))
    del settings["model"]["beta"]
    (tmp_path / "run.json").write_text(json.dumps({"config": settings}))
    check_model(make_config({"encoder": {"name": "vae"}}), tmp_path)
    with pytest.raises(ValueError, match=r"made with model\.beta = 0\.02, this run asks for 0\.5"):
        check_model(make_config({"encoder": {"name": "vae"}, "model": {"beta": 0.5}}), tmp_path)
