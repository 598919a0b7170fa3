"""Training on two processes is the training on one: the same batches, loss curve, early stop and outputs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clusterfolio.models.distributed import Team, current_team
from tests.models.team_process import TRAININGS, trained

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes found, by rank, and their exit codes."""
    folder = tmp_path_factory.mktemp("team")
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.models.team_process", str(folder)], cwd=ROOT, stderr=subprocess.PIPE,
            text=True, env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert (folder / "0.json").exists(), errors[0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", ["same", "early"])
def test_two_processes_have_one_processs_loss_curve_and_outputs(together, name):
    alone, shared = trained(*TRAININGS[name]), together[0][name]
    assert shared["processes"] == 2 and alone["processes"] == 1
    for losses in ("train_loss", "holdout_loss"):
        np.testing.assert_allclose(shared[losses], alone[losses], rtol=1e-5)
    assert shared["best_epoch"] == alone["best_epoch"]
    # Not the weights: attention's key bias cancels in the softmax, so that its gradient is rounding alone, which Adam
    # makes whole steps of. The outputs differ by some 1e-6 of the largest, by 1e-5 with ten times the rounding.
    for output in ("embedding", "rebuilt"):
        expected = np.array(alone[output])
        np.testing.assert_allclose(shared[output], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_both_stop_early_after_the_same_pass(together):
    early = together[0]["early"]
    assert len(early["train_loss"]) == early["best_epoch"] + 2 < 40


def test_dropout_differs_by_process_but_not_what_is_learned(together):
    alone, shared = trained(*TRAININGS["dropout"]), together[0]["dropout"]
    assert shared["train_loss"] != alone["train_loss"]
    np.testing.assert_allclose(shared["train_loss"], alone["train_loss"], rtol=0.1)
    np.testing.assert_allclose(shared["holdout_loss"], alone["holdout_loss"], rtol=0.1)


def test_as_many_processes_give_the_same_bits_again(together):
    again, dropout = together[0]["again"], together[0]["dropout"]
    assert again["train_loss"] == dropout["train_loss"] and again["weights"] == dropout["weights"]


def test_every_process_ends_with_the_same_weights(together):
    assert len(together[1]["ended"]) == len(TRAININGS) + 1
    assert together[0]["ended"] == together[1]["ended"]


def test_a_training_that_diverges_does_so_everywhere_and_the_next_one_is_shared_again(together):
    assert "loss became" in together[0]["diverged"]
    assert together[0]["after"]["weights"] == together[0]["same"]["weights"]


def test_a_lost_process_is_noticed_at_once_and_said(together):
    assert "a process that trains this model was lost" in together[0]["lost"]
    assert together[0]["seconds_to_notice"] < 30


def test_every_window_of_a_batch_goes_to_one_process():
    chosen = np.arange(10, 17)
    parts = [Team(rank, 3).part(chosen) for rank in range(3)]
    assert sorted(np.concatenate([own for own, _ in parts])) == chosen.tolist()
    assert [Team(rank, 3).part(np.array([4, 9]))[1] for rank in range(3)] == [True, True, False]


def test_a_process_alone_is_a_team_that_exchanges_nothing():
    team = current_team()
    assert (team.rank, team.size) == (0, 1)
    loss = torch.tensor(2.0)
    team.average([loss], torch.tensor(0))
    assert loss == 2 and team.device("cpu") == torch.device("cpu")


def test_a_process_without_a_device_of_its_own_is_told(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ValueError, match=r"engine.device: process 1 of this machine finds no mps device of its own"):
        Team(1, 2).device("mps")
