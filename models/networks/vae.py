"""A variational autoencoder: an embedding with a variance that says how far it can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from clusterfolio.models.batch import Batch, Encoding
from clusterfolio.models.networks.attention import SlicedDropout
from clusterfolio.models.networks.autoencoder import Autoencoder, window_decoder
from clusterfolio.models.networks.elbo import NegativeElbo
from clusterfolio.models.networks.inputs import StaticEmbedding, joined_bars

#: Smallest squared error of a window and smallest variance of a code that typicality reckons with.
FLOOR = 1e-4

#: Steps between two training batches that are added to the running description of what training windows look like:
#: each costs a fifth of a step, and neighbours tell the same.
EVERY = 8

#: Weight of such a batch in that description, at least.
MOMENTUM = 0.04


@dataclass(frozen=True)
class VAEConfig:
    """Shape of the network and its objective.

    Attributes:
        embed_dim: length of the embedding.
        hidden: units of each hidden layer.
        n_layers: hidden layers of the encoder.
        feed_forward: units of the decoder's hidden layer.
        dropout: after each hidden layer of the encoder.
        beta: weight of the divergence from the prior beside the squared error: twice the variance of what an
            observation is taken to deviate by.
        anneal_steps: training steps over which that weight grows from 0.
    """

    embed_dim: int = 64
    hidden: int = 128
    n_layers: int = 1
    feed_forward: int = 128
    dropout: float = 0.0
    beta: float = 0.02
    anneal_steps: int = 300

    def __post_init__(self):
        for name in ("embed_dim", "hidden", "n_layers", "feed_forward", "anneal_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {self.dropout}")
        if not self.beta >= 0:
            raise ValueError(f"beta must be 0 or more, got {self.beta}")


class VariationalAutoencoder(Autoencoder):
    """The whole window -> hidden layers -> mean and variance -> a draw -> the window again.

    Kingma and Welling (2014), with the divergence's weight raised slowly (Bowman et al. 2016). The approximate
    posterior is at most as wide as the prior: its variance is ``1 / (1 + evidence)``, the evidence a learned level per
    coordinate and up to e times more or less by window. Trained on what is usual, a network says anything about what
    is not, so ``encode`` counts the evidence of an unusual window for less, down to none, where the variance is the
    prior's (the idea of Charpentier et al. 2022, Natural Posterior Network). Unusual is a code far from the training
    windows' codes, or a window rebuilt much worse, or better, than those; running means and variances of both are
    kept while training, as batch normalisation does.
    """

    config_class = VAEConfig
    steps: torch.Tensor
    usual_mean: torch.Tensor
    usual_var: torch.Tensor

    def __init__(
        self, n_features: int, lookback: int, config: VAEConfig, n_exog: int = 0, static_sizes: tuple[int, ...] = ()
    ):
        super().__init__()
        self.config, self.n_exog = config, n_exog
        width = config.hidden
        self.embed = nn.Linear(lookback * (n_features + n_exog), width)
        self.statics = StaticEmbedding(static_sizes, width) if static_sizes else None
        layers: list[nn.Module] = [nn.ReLU(), SlicedDropout(config.dropout)]
        for _ in range(config.n_layers - 1):
            layers += [nn.Linear(width, width), nn.ReLU(), SlicedDropout(config.dropout)]
        self.hidden = nn.Sequential(*layers)
        self.posterior = nn.Linear(width, 2 * config.embed_dim)  # mean; evidence of this window beside the level
        self.level = nn.Parameter(torch.zeros(config.embed_dim))
        self.decoder = window_decoder(config.embed_dim, config.feed_forward, lookback, n_features)
        # Buffers travel with checkpoints and saved encoders: a resumed training goes on annealing where it stood.
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("usual_mean", torch.zeros(config.embed_dim + 1))
        self.register_buffer("usual_var", torch.ones(config.embed_dim + 1))
        self.until_remembered = 0

    def train(self, mode: bool = True) -> VariationalAutoencoder:
        """Begin a pass: its first batch is remembered, in a training that is resumed too.

        Raises:
            TypeError: a subclass reads windows in another way than the gradient that is written out says.
        """
        cls, known = type(self), (nn.Linear, nn.ReLU, SlicedDropout)
        other = [type(each).__name__ for each in self.hidden if not isinstance(each, known)]
        if cls.loss is VariationalAutoencoder.loss and (other or cls.read is not VariationalAutoencoder.read):
            what = f"has hidden layers of {other[0]}" if other else "has a read() of its own"
            raise TypeError(f"{cls.__name__} {what}: it needs a loss() of its own too, whose gradient is autograd's")
        self.until_remembered = 0
        return super().train(mode)

    def encode(self, batch: Batch) -> Encoding:
        """Mean and variance of the embeddings, each ``(B, embed_dim)``; variances lie between 0 and 1, the prior's."""
        mean, log_evidence = self.read(batch)
        weight = self.typicality(mean, self.misfit(batch, mean))
        evidence = log_evidence.float().exp() * weight.unsqueeze(1)
        return Encoding(mean, (1 / (1 + evidence)).to(mean.dtype))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Squared error of the window rebuilt from a draw, plus the weighted divergence, both per observed entry.

        In evaluation mode the divergence has its full weight, so that held-out losses can be compared between passes.
        """
        x = batch.x.flatten(1)
        full = self.config.beta / 2
        half: float | torch.Tensor = full
        if self.training:
            half = (self.steps.add_(1) * (full / self.config.anneal_steps)).clamp(max=full)
        inner, _, outer, _ = self.decoder
        layers = [*(each for each in self.hidden if isinstance(each, nn.Linear)), self.posterior, inner, outer]
        dropouts = (each for each in self.hidden if isinstance(each, SlicedDropout))
        drops = [each.mask((len(x), self.config.hidden), x) for each in dropouts]
        first_bias = self.embed.bias if self.statics is None else self.embed.bias + self.statics(batch).sum(dim=1)
        noise = torch.randn(len(x), self.config.embed_dim, dtype=x.dtype, device=x.device)
        loss, mean = NegativeElbo.apply(
            joined_bars(batch, self.n_exog).flatten(1), drops, 1 - self.config.dropout * self.training, self.level,
            noise, x, batch.mask.flatten(1).to(x.dtype), half,
            self.embed.weight, first_bias, *(each for layer in layers for each in (layer.weight, layer.bias)),
        )  # fmt: skip
        if self.training:
            if self.until_remembered == 0:
                self.remember(batch, mean)
            self.until_remembered = (self.until_remembered + 1) % EVERY
        return loss

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the evidence, each ``(B, embed_dim)``."""
        first = self.embed(joined_bars(batch, self.n_exog).flatten(1))
        if self.statics is not None:
            first = first + self.statics(batch).sum(dim=1)
        mean, evidence = self.posterior(self.hidden(first)).chunk(2, dim=1)
        return mean, self.level + evidence.tanh()

    def misfit(self, batch: Batch, mean: torch.Tensor) -> torch.Tensor:
        """Logarithm of each window's mean squared error when rebuilt from its mean, ``(B,)``."""
        error = (self.decoder(mean) - batch.x).float().square() * batch.mask
        return (error.sum(dim=(1, 2)) / batch.mask.sum(dim=(1, 2)).clamp(min=1) + FLOOR).log()

    @torch.no_grad()
    def remember(self, batch: Batch, mean: torch.Tensor) -> None:
        """Adds a training batch to the running description of codes and misfits."""
        seen = torch.cat([mean.float(), self.misfit(batch, mean).unsqueeze(1)], dim=1)
        share = (EVERY / (self.steps + EVERY - 1)).clamp(min=MOMENTUM)
        centre = seen.mean(dim=0)
        away = centre - self.usual_mean
        spread = (seen - centre).square().mean(dim=0) + (1 - share) * away.square()
        self.usual_mean.add_(share * away)
        self.usual_var.add_(share * (spread - self.usual_var))

    def typicality(self, mean: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        """1 for a window as usual as those of the training, less for others, ``(B,)``, above 0.

        The inverse of the larger of two squared distances, each about 1 on training windows: of the code, averaged
        over its coordinates, and of the misfit.
        """
        seen = torch.cat([mean.float(), misfit.unsqueeze(1)], dim=1)
        squared = (seen - self.usual_mean).square() / self.usual_var.clamp(min=FLOOR)
        return 1 / torch.maximum(squared[:, :-1].mean(dim=1), squared[:, -1]).clamp(min=1)
