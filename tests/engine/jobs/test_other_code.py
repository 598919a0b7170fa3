"""Two programs are never mixed: what other code began or finished is kept, and done anew."""

import importlib
import json
import sys

import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.jobs.sweep import Trial, run_sweep
from clusterfolio.engine.ledger.ledger import Ledger
from tests.market_files import run_options

ENCODER = """
from torch import nn
from clusterfolio import Encoding
from my_layers import width

class Net(nn.Module):
    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(n_features * lookback, width()))
        self.decoder = nn.Linear(width(), n_features * lookback)

    def encode(self, batch):
        return Encoding(self.encoder(batch.x))

    def loss(self, batch):
        rebuilt = self.decoder(self.encode(batch).mean).view_as(batch.x)
        return (rebuilt - batch.x)[batch.mask].square().mean()
"""

POLICY = """
import pandas as pd
from clusterfolio import Decision
from my_rule import share

class Mine:
    def decide(self, panel, state):
        return Decision(panel.dates[-1], pd.Series(share(), panel.tradable[:4]))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current folder with modules of the user's own; what a new process would import is imported anew."""
    (tmp_path / "my_net.py").write_text(ENCODER)
    (tmp_path / "my_layers.py").write_text("def width():\n    return 12\n")
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "my_rule.py").write_text("def share():\n    return 0.25\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for name in ("my_net", "my_layers", "mine", "my_rule"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def change(path, text: str) -> None:
    path.write_text(text)
    forget()


def test_an_interrupted_run_is_not_gone_on_with_by_a_changed_encoder(market, place, monkeypatch, caplog):
    options = run_options(market, place / "out" / "run", "--set", "encoder.name=my_net:Net")

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clusterfolio.engine.run_dir.artifacts.write_tables", interrupt)
        assert CliRunner().invoke(main, options).exit_code == 130
    (left,) = (place / "out").iterdir()
    change(place / "my_layers.py", "def width():\n    return 10  # another number of dimensions\n")
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    assert "(changed since: my_layers); this one starts anew" in caplog.text and str(left) in caplog.text
    assert (left / "fold-000").is_dir()
    (weights,) = (place / "out" / "run" / "model").glob("*.safetensors")
    assert load_file(weights)["encoder.1.bias"].shape == (10,)
    facts = json.loads((place / "out" / "run" / "run.json").read_text())
    assert set(facts["own_code"]) == {"my_net", "my_layers"}
    # The old code goes on with the old work.
    change(place / "my_layers.py", "def width():\n    return 12\n")
    monkeypatch.delattr("clusterfolio.models.encoder.train")
    done = CliRunner().invoke(main, run_options(market, place / "out" / "old", "--set", "encoder.name=my_net:Net"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (place / "out").iterdir()) == ["old", "run"]


def test_a_sweep_runs_anew_what_other_code_finished_and_keeps_it(market, place, caplog):
    settings = {
        "data": {"source": "files", "path": [str(market)], "benchmark": "SIM.MKT"},
        "dates": {"train_start": "2023-04-03", "train_end": "2024-03-28", "start": "2024-04-01", "history_days": 200},
        "policy": {"name": "mine:Mine"},
        "significance": {"on": False},
    }
    out, ledger = place / "sweep", Ledger(place / "ledger.sqlite")
    trials = [Trial("trial-one", settings, {"engine.seed": 0})]

    def sweep() -> pd.Series:
        return run_sweep(trials, out, workers=1, ledger=ledger).iloc[0]

    first = sweep()
    assert first["trial"] == "trial-one" and sweep()["seconds"] == first["seconds"]
    change(place / "my_rule.py", "def share():\n    return 0.2\n")
    second = sweep()
    assert second["trial"].startswith("trial-one-") and second["total_return"] != first["total_return"]
    assert "1 of 1 trials in" in caplog.text and "finished by other code (trial-one); they are kept" in caplog.text
    assert sweep()["trial"] == second["trial"] and ledger.count() == 2
    change(place / "my_rule.py", "def share():\n    return 0.25\n")
    assert sweep()["trial"] == "trial-one" and sweep()["total_return"] == first["total_return"]
