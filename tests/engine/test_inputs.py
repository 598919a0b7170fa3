"""Inputs beyond price from the configuration to the report."""

from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner
from torch import nn

from clusterfolio.engine.assembly.policy import make_policy
from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import RunConfig, make_config, to_dict
from clusterfolio.engine.jobs.doctor import examine
from clusterfolio.engine.report.sections.caveats import caveats
from clusterfolio.engine.report.sections.run import facts
from clusterfolio.engine.run_dir.artifacts import fingerprint
from clusterfolio.engine.run_dir.stored import check_model
from clusterfolio.feeds.exogenous.inputs import STATICS, describe_inputs
from clusterfolio.feeds.writing import write_json
from clusterfolio.models.batch import Encoding
from tests.conftest import make_panel, random_closes
from tests.engine.report.test_report import fake_run

MACRO = {"inputs": {"macro": ["vix", "inflation"], "statics": True}}


def test_the_policy_is_made_with_the_inputs_of_the_configuration():
    assert make_policy(make_config({})).encoder.exog == ()
    encoder = make_policy(make_config(MACRO)).encoder
    assert encoder.exog == ("vix", "inflation") and encoder.statics == STATICS
    assert make_config(to_dict(make_config(MACRO))) == make_config(MACRO)


class PricesOnly(nn.Module):
    config_class = RunConfig  # any dataclass

    def __init__(self, n_features, lookback, config):
        super().__init__()

    def encode(self, batch):
        return Encoding(batch.x.mean(dim=1))

    def loss(self, batch):
        return batch.x.mean()


def test_an_encoder_that_reads_prices_only_is_refused_before_anything_runs():
    settings = {"encoder": {"name": f"{__name__}:PricesOnly"}}
    with pytest.raises(
        ValueError, match=r"inputs.macro or inputs.sentiment: encoder '.*PricesOnly' does not take them"
    ):
        make_config({**settings, **MACRO})


def test_config_show_and_doctor_say_what_is_used_and_when_it_is_known():
    result = CliRunner().invoke(main, ["config", "show", "--set", "inputs.macro=core"])
    assert result.exit_code == 0 and "macro = ['core']" in result.output and "dated by its publication" in result.output
    lines = dict(examine(make_config(MACRO)))
    assert lines["input inflation"] == "consumer prices, change over a year, %; known after: CPIAUCSL 60 days"
    assert not [name for name, _ in examine(make_config({})) if name.startswith("input ")]


def test_the_report_states_revised_values_and_scored_texts_only_where_they_were_used():
    inputs = fake_run(30)
    assert not {"Revised values", "Scored texts"} & {heading for heading, _ in caveats(inputs)}
    config = make_config({"inputs": {"macro": ["inflation"], "sentiment": "texts.csv"}})
    used = replace(
        inputs,
        config=inputs.config | {"inputs": to_dict(config)["inputs"]},
        run=inputs.run | {"inputs": describe_inputs(config.inputs)},
    )
    assert {"Revised values", "Scored texts"} <= {heading for heading, _ in caveats(used)}
    assert "inflation (CPIAUCSL 60 days); sentiment (" in dict(facts(used))["Inputs beside prices"]


def test_a_model_made_with_other_inputs_is_refused(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    write_json(run_dir / "run.json", {"config": to_dict(make_config(MACRO))})
    check_model(make_config(MACRO), run_dir)
    check_model(make_config({"inputs": MACRO["inputs"] | {"macro_path": "elsewhere.csv"}}), run_dir)
    with pytest.raises(ValueError, match=r"made with inputs.sentiment = '', this run asks for 'texts.csv'"):
        check_model(make_config({"inputs": MACRO["inputs"] | {"sentiment": "texts.csv"}}), run_dir)
    with pytest.raises(ValueError, match=r"made with inputs.macro = \['vix', 'inflation'\]"):
        check_model(make_config({}), run_dir)
    before = to_dict(make_config({}))
    del before["inputs"]  # a run directory from before there were inputs
    write_json(run_dir / "run.json", {"config": before})
    check_model(make_config({}), run_dir)


def test_the_datas_fingerprint_knows_the_series():
    panel = make_panel(random_closes(10, ["SPY", "BIL"]))
    series = pd.DataFrame({"vix": 1.0}, index=panel.dates)
    prints = {fingerprint(each) for each in (panel, replace(panel, exog=series), replace(panel, exog=series * 2))}
    assert len(prints) == 3
