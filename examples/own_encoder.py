"""An encoder of your own: a network with two methods, trained by the program, and what its embedding finds alike."""

from dataclasses import dataclass

import pandas as pd
from torch import nn

import clusterfolio as cf


@dataclass(frozen=True)
class NetConfig:
    """Keys of section ``[model]``.

    Attributes:
        width: length of the embedding.
    """

    width: int = 12


class Net(nn.Module):
    """One convolution over the days of a window, and a linear way back."""

    config_class = NetConfig

    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, lookback)),  # (windows, 1, days, indicators)
            nn.Conv2d(1, 8, (5, n_features)),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(8 * (lookback - 4), config.width),
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.width, n_features * lookback), nn.Unflatten(1, (lookback, n_features))
        )

    def encode(self, batch):
        """An embedding per window; ``batch.x`` is (windows, days, indicators)."""
        return cf.Encoding(self.encoder(batch.x))

    def loss(self, batch):
        """How badly the windows are rebuilt, where there was something to see."""
        return (self.decoder(self.encode(batch).mean) - batch.x)[batch.mask].square().mean()


if __name__ == "__main__":
    market = cf.simulate(cf.SimulatedConfig(n_assets=24, start="2023-01-02", end="2025-03-31", foreign=0.0))
    panel, _ = cf.build_panel(market, benchmark="SIM.MKT", known=market.assets)
    settings = {"encoder": {"name": "own_encoder:Net"}, "model": {"width": 16}, "clustering": {"n_clusters": 6}}
    settings["embedding"] = {"kind": "trajectory"}  # clusters of what the encoder makes, not of plain returns
    config = cf.make_config(settings | {"train": {"epochs": 2, "windows_per_epoch": 1024}})
    policy = cf.make_policy(config).fit(panel.until("2024-12-31"))
    print("loss, pass by pass:", [round(loss, 3) for loss in policy.describe()["train_loss"]])

    decision = policy.decide(panel.until("2025-03-31"), cf.PortfolioState())  # nothing is held yet
    for cluster, names in decision.labels.groupby(decision.labels):
        print(cluster, *names.index, "->", *[name for name in decision.selected if name in names.index])
    print(pd.Series(decision.weights).round(3).to_dict())
