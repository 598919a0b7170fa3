"""What an encoder must return, tried on a few windows before it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from clusterfolio.models.batch import Batch, Encoding
from clusterfolio.models.device import seeded


def check_network(module: nn.Module, batch: Batch, name: str) -> None:
    """Ask an untrained network to ``encode`` a batch and for its ``loss``; its weights and the generators stay as
    they are.

    Args:
        batch: on the module's device.
        name: of the encoder, for errors.

    Raises:
        ValueError: either fails, or returns something else than ``Encoding(mean, var)`` of shape ``(B, embed_dim)``
            and a scalar that can be differentiated; the message says what came.
    """
    training = module.training
    module.eval()
    try:
        with seeded(0, batch.x.device):
            with torch.no_grad(), _failures(name, "encode", batch):
                encoding = module.encode(batch)
            _check_encoding(encoding, len(batch), f"encoder {name!r}: encode(batch) returned")
            with _failures(name, "loss", batch):
                loss = module.loss(batch)
    finally:
        module.train(training)
    if not isinstance(loss, torch.Tensor) or loss.ndim or not loss.requires_grad:
        what = _described(loss) + (" without a gradient" if isinstance(loss, torch.Tensor) and not loss.ndim else "")
        raise ValueError(f"encoder {name!r}: loss(batch) returned {what}; expected a scalar tensor to minimise")


def _check_encoding(encoding: object, n_windows: int, returned: str) -> None:
    if not isinstance(encoding, Encoding):
        raise ValueError(
            f"{returned} {_described(encoding)}; expected clusterfolio.Encoding(mean), with "
            "Encoding(mean, var) where it states a variance"
        )
    mean, var = encoding.mean, encoding.var
    fits = isinstance(mean, torch.Tensor) and mean.ndim == 2 and len(mean) == n_windows and mean.shape[1] > 0
    if not (fits and mean.is_floating_point()):
        raise ValueError(
            f"{returned} as mean {_described(mean)} for {n_windows} windows; expected a floating-point tensor of shape "
            f"({n_windows}, embed_dim), a row for each window"
        )
    if not mean.isfinite().all():
        raise ValueError(f"{returned} a mean that is not finite, untrained, for windows whose bars are all finite")
    if var is not None and not (isinstance(var, torch.Tensor) and var.shape == mean.shape and (var >= 0).all()):
        raise ValueError(
            f"{returned} as var {_described(var)}; expected None, or a tensor of the mean's shape "
            f"{tuple(mean.shape)} that is nowhere negative"
        )


@contextmanager
def _failures(name: str, method: str, batch: Batch) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a user's network may fail in any way
        raise ValueError(
            f"encoder {name!r}: {method}(batch) fails on {len(batch)} windows of {batch.x.shape[1]} bars and "
            f"{batch.x.shape[2]} features: {type(error).__name__}: {error}"
        ) from error


def _described(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    return "None" if value is None else f"an object of type {type(value).__name__}"
