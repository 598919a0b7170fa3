"""One of several processes that train together: ``python -m tests.models.team_process FOLDER``, as torchrun starts it.

Each writes to ``FOLDER/RANK.json`` what it ended every training with, and the leading one the trainings' histories too.
In the last training the last process kills itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from clusterfolio.models import training
from clusterfolio.models.batch import BatchSource
from clusterfolio.models.device import seeded
from clusterfolio.models.distributed import join, leave
from clusterfolio.models.networks.transformer import TransformerAutoencoder, TransformerConfig
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.training import serve, train
from clusterfolio.models.windows import Windows, make_windows

CPU = torch.device("cpu")

#: 129 windows to a pass: the last batch is one window, fewer than there are processes.
QUICK = TrainConfig(epochs=4, windows_per_epoch=129, batch_size=32, holdout=0.25)

#: Learns the training windows by heart, so that the held-out loss rises and training stops early.
EARLY = TrainConfig(epochs=40, batch_size=16, holdout=0.25, patience=2, learning_rate=0.02)

TRAININGS = {"same": (0.0, QUICK), "early": (0.0, EARLY), "dropout": (0.2, QUICK), "again": (0.2, QUICK)}


def gappy_windows() -> Windows:
    """Windows of 6 bars of two channels; 4 assets, of which one never has the second channel, and all have gaps."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(70, 4, 2)).astype(np.float32)
    observed = rng.random(values.shape) < 0.8
    observed[:, 2, 1] = False
    return make_windows(np.where(observed, values, 0).astype(np.float32), observed, lookback=6)


def trained(dropout: float, config: TrainConfig) -> dict:
    """History, weights and outputs of one training, as JSON holds them; it always starts from the same weights."""
    with seeded(3, CPU):
        module = TransformerAutoencoder(2, 6, TransformerConfig(8, n_heads=2, feed_forward=16, dropout=dropout))
    windows = gappy_windows()
    history = train(module, windows, config, 7, CPU)
    batch = BatchSource(windows, CPU).batch(np.arange(len(windows)))
    with torch.no_grad():
        outputs = {"embedding": module.encode(batch).mean.tolist(), "rebuilt": module.rebuild(batch).tolist()}
    weights = torch.nn.utils.parameters_to_vector(module.parameters()).tolist()
    return asdict(history) | outputs | {"weights": weights}


def main(folder: Path) -> None:
    team = join()
    ended: list[str] = []
    run_passes, run_epoch = training.run_passes, training.run_epoch

    def noted(job, *args):
        best = run_passes(job, *args)
        ended.append(hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in best.values())).hexdigest())
        if team.rank:
            (folder / f"{team.rank}.json").write_text(json.dumps({"ended": ended}))
        return best

    def deadly(*args):
        if len(ended) == len(TRAININGS) + 1 and team.rank == team.size - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return run_epoch(*args)

    training.run_passes, training.run_epoch = noted, deadly
    if team.rank:
        serve(team)
        return
    found = {name: trained(*how) for name, how in TRAININGS.items()} | {"ended": ended}
    try:
        trained(0.0, replace(QUICK, learning_rate=1e30))
    except FloatingPointError as error:
        found["diverged"] = str(error)
    found["after"] = trained(*TRAININGS["same"])
    began = time.monotonic()
    try:
        trained(0.0, QUICK)
    except ConnectionError as error:
        found["lost"] = str(error)
    found["seconds_to_notice"] = time.monotonic() - began
    (folder / "0.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
