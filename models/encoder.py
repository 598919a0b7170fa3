"""A trained encoder as one object: scaler, network and training, in scikit-learn's manner."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.linalg import orthogonal_procrustes
from sklearn.base import BaseEstimator
from sklearn.preprocessing import RobustScaler
from sklearn.utils.validation import check_is_fitted
from torch import nn

from clusterfolio.models.batch import Batch, BatchSource
from clusterfolio.models.contract import check_network
from clusterfolio.models.covariates import Covariates
from clusterfolio.models.device import resolve_device, seeded, torch_threads
from clusterfolio.models.named import find_named
from clusterfolio.models.networks.recurrent import AttentionLSTMAutoencoder, GRUAutoencoder, LSTMAutoencoder
from clusterfolio.models.networks.tft import TemporalFusionTransformer
from clusterfolio.models.networks.transformer import TransformerAutoencoder
from clusterfolio.models.networks.vae import VariationalAutoencoder
from clusterfolio.models.scaling import fit_scaler, scale, scale_bars
from clusterfolio.models.tensors import save_tensors
from clusterfolio.models.train_config import TrainConfig, TrainingHistory
from clusterfolio.models.training import Progress, mean_loss, train
from clusterfolio.models.windows import Windows

ENCODERS: dict[str, type[nn.Module]] = {
    "transformer": TransformerAutoencoder,
    "vae": VariationalAutoencoder,
    "lstm": LSTMAutoencoder,
    "gru": GRUAutoencoder,
    "lstm_attention": AttentionLSTMAutoencoder,
    "tft": TemporalFusionTransformer,
}

#: Windows per forward pass of ``transform``; every pass has exactly this many, so no row depends on the others.
TRANSFORM_BATCH = 128

#: Windows on which a network's answers are tried before it is trained.
TRIED = 3

WEIGHTS, DESCRIPTION, ROTATION = "weights.safetensors", "encoder.json", "rotation.npy"

#: What a saved encoder's description holds that does not change an embedding.
INCIDENTAL = ("train", "history", "versions", "fingerprint")

#: What it says of an encoder that sees bars only: nothing, so that such an encoder keeps its fingerprint.
NO_COVARIATES: dict[str, list] = {"exog": [], "statics": [], "center": [], "scale": [], "categories": []}


def encoder_class(encoder: str | type[nn.Module]) -> type[nn.Module]:
    """The class behind a name in ``ENCODERS``, a ``"package.module:ClassName"`` or the class itself.

    >>> encoder_class("clusterfolio.models.networks.transformer:TransformerAutoencoder").__name__
    'TransformerAutoencoder'
    """
    if isinstance(encoder, str) and ":" in encoder:
        found = find_named(encoder, "encoder.name")
    elif isinstance(encoder, str):
        if encoder not in ENCODERS:
            raise ValueError(f"unknown encoder {encoder!r}; available: {', '.join(sorted(ENCODERS))}")
        found = ENCODERS[encoder]
    else:
        found = encoder
    is_module = inspect.isclass(found) and issubclass(found, nn.Module)
    if not (is_module and hasattr(found, "encode") and hasattr(found, "loss")):
        raise TypeError(f"encoder {encoder!r} must be an nn.Module class with methods encode(batch) and loss(batch)")
    _check_config_class(getattr(found, "config_class", None), encoder)
    return found


def _check_config_class(config_class: Any, encoder: str | type[nn.Module]) -> None:
    if config_class is None:
        return
    if not (inspect.isclass(config_class) and is_dataclass(config_class)):
        raise TypeError(f"encoder {encoder!r}: config_class must be a dataclass, got {config_class!r}")
    for each in fields(config_class):
        if each.default is MISSING and each.default_factory is MISSING:
            raise TypeError(f"encoder {encoder!r}: {config_class.__name__}.{each.name} must have a default value")


def make_encoder(
    encoder: str | type[nn.Module], n_features: int, lookback: int, config: Any = None, **inputs: Any
) -> nn.Module:
    """An untrained network of the class that ``encoder`` names.

    Args:
        config: the class's own configuration (its ``config_class``), a dictionary of that one's fields, or None for
            its defaults. A class without ``config_class`` gets ``config`` as it is.
        inputs: what it sees beside the bars, as far as there is any: ``n_exog``, the number of exogenous series, and
            ``static_sizes``, the number of codes of each static column. A class that does not take them is refused.
    """
    found = encoder_class(encoder)
    refused = [name for name in inputs if not takes_input(found, name)]
    if refused:
        raise ValueError(
            f"encoder {encoder!r} reads prices only: its constructor takes no {' and no '.join(refused)}; choose "
            "another encoder, or leave out what lies beside the bars (exogenous series: n_exog, static columns: "
            "static_sizes)"
        )
    config_class = getattr(found, "config_class", None)
    if config_class is not None and not isinstance(config, config_class):
        if config is not None and not isinstance(config, dict):
            raise TypeError(f"config must be a {config_class.__name__}, a dict or None, got {type(config).__name__}")
        config = config_class(**(config or {}))
    try:
        return found(n_features, lookback, config, **inputs)
    except ValueError:
        raise
    except Exception as error:  # a user's constructor may fail in any way
        made = f"{found.__name__}({', '.join(['n_features', 'lookback', 'config', *inputs])})"
        raise ValueError(f"encoder {encoder!r}: {made} fails: {type(error).__name__}: {error}") from error


def takes_input(encoder: type[nn.Module], name: str) -> bool:
    """Whether the class's constructor takes ``n_exog`` or ``static_sizes``, whichever ``name`` says."""
    parameters = inspect.signature(encoder.__init__).parameters.values()
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in parameters)


class Encoder(BaseEstimator):
    """Windows of bars to embeddings.

    Args:
        encoder: a name in ``ENCODERS``, a class, or ``"package.module:ClassName"``.
        config: the network's configuration; None for its defaults.
        train: how it is trained; None for the defaults.
        lookback: bars per window.
        clip: bound of the scaled features, in interquartile ranges from the median.
        random_state: seed of the initial weights, the order of the windows and the dropout.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        exog: names of the market-wide series of ``Windows.exog`` that the network sees, in this order.
        statics: names of the columns of ``Windows.static`` that it sees.

    Attributes:
        covariates_: scale of those series and codes of those columns, from the training windows.
        scaler_: RobustScaler fitted on the bars of the training windows.
        module_: the trained network, in evaluation mode.
        history_: what the training did (``TrainingHistory``).
        n_features_: channels per bar.
        rotation_: orthogonal float64 ``(embed_dim, embed_dim)`` that embeddings are multiplied with, or None (see
            ``align``).
    """

    def __init__(
        self,
        encoder: str | type[nn.Module] = "transformer",
        config: Any = None,
        train: TrainConfig | None = None,
        lookback: int = 30,
        clip: float = 10.0,
        random_state: int = 0,
        device: str = "auto",
        exog: tuple[str, ...] = (),
        statics: tuple[str, ...] = (),
    ):
        self.encoder = encoder
        self.config = config
        self.train = train
        self.lookback = lookback
        self.clip = clip
        self.random_state = random_state
        self.device = device
        self.exog = exog
        self.statics = statics

    def fit(
        self,
        windows: Windows,
        init: Encoder | None = None,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> Encoder:
        """Learns scaler and weights from unscaled training windows, forgetting earlier fits.

        Args:
            init: a fitted encoder of the same shape to start from: its weights are copied. The scaler is fitted anew
                all the same, so that it describes this training span.
            progress: called after each pass with (passes done, passes at most, training loss, held-out loss or None).
            checkpoint: file that makes an interrupted training resumable (see ``models.training.train``).
        """
        self._check(windows)
        if init is not None:
            check_is_fitted(init, "module_")
        if not len(windows):
            raise ValueError(f"windows: none to train on; a window needs {self.lookback} complete bars of one asset")
        device = resolve_device(self.device)
        n_features = windows.values.shape[1]
        scaler = fit_scaler(windows)
        covariates = Covariates(tuple(self.exog), tuple(self.statics), self.clip)
        covariates.fit(windows, None if init is None else init.covariates_)
        with seeded(self.random_state, torch.device("cpu")):
            module = make_encoder(self.encoder, n_features, self.lookback, self.config, **covariates.sizes())
        if init is not None:
            try:
                module.load_state_dict(init.module_.state_dict())
            except RuntimeError as error:
                raise ValueError(f"init: its weights do not fit this encoder's shape: {error}") from error
        few = np.arange(min(TRIED, len(windows)))
        check_network(module.to(device), self._batch(windows, few, scaler, covariates).to(device), named(self.encoder))
        scaled = covariates.transform(scale(windows, scaler, self.clip))
        history = train(module, scaled, self._train_config(), self.random_state, device, progress, checkpoint)
        self.scaler_, self.module_, self.history_, self.n_features_ = scaler, module, history, n_features
        self.covariates_, self.rotation_ = covariates, None
        return self

    def align(self, reference: Encoder, anchors: Windows) -> float:
        """Turns this encoder's embeddings so that those of ``anchors`` lie as near as can be to the reference's.

        Training is free to rotate the embedding space; an orthogonal map (Procrustes) takes that freedom back and
        leaves every distance between embeddings as it was.

        Args:
            reference: another fitted encoder of the same embedding length, aligned itself or not.
            anchors: unscaled windows that both embed.

        Returns:
            What the turn cannot mend: the distance between the two sets of embeddings, as a share of the reference's
            length (0 = they coincide).
        """
        self.rotation_ = None
        own, wanted = (encoder.transform(anchors).astype(np.float64) for encoder in (self, reference))
        if own.shape != wanted.shape or not len(own):
            raise ValueError(
                f"anchors: need windows that both encoders embed in as many dimensions, got embeddings of shape "
                f"{own.shape} and {wanted.shape}"
            )
        self.rotation_, _ = orthogonal_procrustes(own, wanted)
        return float(np.linalg.norm(own @ self.rotation_ - wanted) / np.linalg.norm(wanted))

    def transform(self, windows: Windows) -> np.ndarray:
        """Embeddings of unscaled windows, float32 ``(n_windows, embed_dim)``; learns nothing.

        A row depends on its own window only, to the bit: passes have a fixed number of windows, the last one is
        filled up with copies of its last window.
        """
        return self.transform_with_variance(windows)[0]

    def transform_with_variance(self, windows: Windows) -> tuple[np.ndarray, np.ndarray | None]:
        """``transform``'s embeddings and, of the same shape, their variance; None where the encoder states none.

        After ``align`` the variances are those along the turned axes; their sum over an embedding stays what it was.
        """
        self._check_fitted(windows)
        if not len(windows):
            nothing = np.empty((0, self.embed_dim), dtype=np.float32)
            return nothing, nothing
        parts = []
        with torch_threads(self._train_config().threads):
            for at in range(0, len(windows), TRANSFORM_BATCH):
                chosen = np.minimum(np.arange(at, at + TRANSFORM_BATCH), len(windows) - 1)
                parts.append(self._encode(windows, chosen))
        means, variances = zip(*parts, strict=True)
        mean = np.concatenate(means)[: len(windows)]
        return mean, None if variances[0] is None else np.concatenate(variances)[: len(windows)]

    @property
    def embed_dim(self) -> int:
        """Length of an embedding, once fitted."""
        check_is_fitted(self, "module_")
        bars = torch.zeros(1, self.lookback, self.n_features_)
        at = torch.zeros(1, dtype=torch.int64)
        return self._embed(Batch(bars, at, at, bars > 0, **self.covariates_.neutral(self.lookback)))[0].shape[1]

    def reconstruction_error(self, windows: Windows) -> float:
        """Mean loss over unscaled windows, in evaluation mode: for an autoencoder, what it fails to rebuild."""
        self._check_fitted(windows)
        if not len(windows):
            raise ValueError("windows: none to rebuild")
        with torch_threads(self._train_config().threads):
            return mean_loss(self.module_, self.source(windows), np.arange(len(windows)), self.random_state)

    def source(self, windows: Windows) -> BatchSource:
        """Batches of unscaled windows as ``module_`` reads them, on its device."""
        self._check_fitted(windows)
        return BatchSource(self.covariates_.transform(scale(windows, self.scaler_, self.clip)), self._device())

    def fingerprint(self) -> str:
        """SHA-256 of all that decides an embedding: weights, scaler, class and configuration."""
        check_is_fitted(self, "module_")
        described = {key: value for key, value in self._describe().items() if key not in INCIDENTAL}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for name, tensor in sorted(self.module_.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        if self.rotation_ is not None:
            digest.update(np.ascontiguousarray(self.rotation_).tobytes())
        return digest.hexdigest()

    def save(self, directory: Path) -> None:
        """Writes the fitted encoder as safetensors and JSON into a new directory, whole or not at all.

        A directory that already holds a saved encoder is replaced; any other that is not empty is refused.
        """
        described = self._describe() | {"fingerprint": self.fingerprint()}
        target = Path(directory)
        if target.exists() and not (target / DESCRIPTION).is_file() and any(target.iterdir()):
            raise FileExistsError(f"{target} exists and holds no saved encoder; name a new directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.module_.state_dict().items()}
            save_tensors(state, part / WEIGHTS)
            if self.rotation_ is not None:
                np.save(part / ROTATION, np.ascontiguousarray(self.rotation_), allow_pickle=False)
            (part / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
            part.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            os.replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    @classmethod
    def load(cls, directory: Path, device: str = "auto", encoder: str | type[nn.Module] = "transformer") -> Encoder:
        """The encoder saved in ``directory``, ready to transform.

        Args:
            encoder: what the caller expects there. A class outside ``ENCODERS`` is imported only if it is this one: a
                folder from elsewhere may name any code.

        Raises:
            FileNotFoundError, ValueError: it holds no encoder that can be read, or one of a class not expected.
        """
        folder = Path(directory)
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} is not a saved encoder: {name} is missing")
        try:
            saved = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            _check_expected(saved["encoder"], encoder, folder)
            trained = TrainConfig(**saved["train"])
            loaded = cls(saved["encoder"], saved["config"], trained, **saved["arguments"], device=device)
            covariates = Covariates.from_dict(saved.get("covariates", NO_COVARIATES), loaded.clip)
            loaded.set_params(exog=covariates.exog, statics=covariates.statics)
            shape = (saved["n_features"], loaded.lookback, loaded.config)
            with seeded(0, torch.device("cpu")):
                loaded.module_ = make_encoder(loaded.encoder, *shape, **covariates.sizes())
            loaded.module_.load_state_dict(load_file(folder / WEIGHTS))
            turned = (folder / ROTATION).is_file()
            loaded.rotation_ = np.load(folder / ROTATION, allow_pickle=False) if turned else None
        except (KeyError, TypeError, ValueError, EOFError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{folder}: not an encoder that this version can read ({error})") from error
        loaded.n_features_, loaded.covariates_ = saved["n_features"], covariates
        loaded.scaler_ = RobustScaler()
        loaded.scaler_.center_, loaded.scaler_.scale_ = np.array(saved["center"]), np.array(saved["scale"])
        loaded.scaler_.n_features_in_ = saved["n_features"]
        loaded.history_ = TrainingHistory(**saved["history"])
        if loaded.fingerprint() != saved["fingerprint"]:
            raise ValueError(f"{folder}: its files do not belong together (fingerprint differs)")
        loaded.module_.to(resolve_device(device)).eval()
        return loaded

    def _check(self, windows: Windows) -> None:
        if windows.lookback != self.lookback:
            raise ValueError(f"windows: lookback must be {self.lookback} bars, got {windows.lookback}")

    def _check_fitted(self, windows: Windows) -> None:
        check_is_fitted(self, "module_")
        self._check(windows)
        if windows.values.shape[1] != self.n_features_:
            raise ValueError(f"windows: {self.n_features_} features were learned, got {windows.values.shape[1]}")

    def _encode(self, windows: Windows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One forward pass over the windows at ``chosen``."""
        return self._embed(self._batch(windows, chosen, self.scaler_, self.covariates_))

    def _batch(self, windows: Windows, chosen: np.ndarray, scaler: RobustScaler, covariates: Covariates) -> Batch:
        """The unscaled windows at ``chosen`` as the network reads them; only their own bars are scaled."""
        values, observed = windows.gather(chosen)
        return Batch(
            x=torch.from_numpy(scale_bars(values, observed, scaler, self.clip)),
            date_idx=torch.from_numpy(windows.date_idx[chosen]),
            asset_idx=torch.from_numpy(windows.asset_idx[chosen]),
            mask=torch.from_numpy(observed),
            **covariates.tensors(windows, chosen),
        )

    @torch.no_grad()
    def _embed(self, batch: Batch) -> tuple[np.ndarray, np.ndarray | None]:
        """Means and variances (None: the network states none), turned by ``rotation_``."""
        encoding = self.module_.encode(batch.to(self._device()))
        mean, var = (None if each is None else each.float().cpu().numpy() for each in (encoding.mean, encoding.var))
        if self.rotation_ is None:
            return mean, var
        return _turned(mean, self.rotation_), None if var is None else _turned(var, self.rotation_**2)

    def _device(self) -> torch.device:
        return next(self.module_.parameters()).device

    def _describe(self) -> dict[str, Any]:
        """What a saved encoder's JSON says."""
        config = getattr(self.module_, "config", self.config)
        covered = {"covariates": self.covariates_.to_dict()} if self.exog or self.statics else {}
        return covered | {
            "encoder": named(self.encoder),
            "config": asdict(config) if is_dataclass(config) else config,
            "arguments": {"lookback": self.lookback, "clip": self.clip, "random_state": self.random_state},
            "n_features": self.n_features_,
            "center": self.scaler_.center_.tolist(),
            "scale": self.scaler_.scale_.tolist(),
            "train": asdict(self._train_config()),
            "history": asdict(self.history_),
            "versions": {"torch": torch.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        }

    def _train_config(self) -> TrainConfig:
        return TrainConfig() if self.train is None else self.train


def _check_expected(saved: str, expected: str | type[nn.Module], folder: Path) -> None:
    """Refuse a class that would have to be imported, unless the caller names it."""
    if saved not in ENCODERS and saved != named(expected) and not saved.startswith("clusterfolio."):
        raise ValueError(
            f"{folder}: it holds an encoder of class {saved!r}, which is imported only where it is asked for; got "
            f"{named(expected)!r}"
        )


def named(encoder: str | type[nn.Module]) -> str:
    """An encoder as a configuration names it."""
    return encoder if isinstance(encoder, str) else f"{encoder.__module__}:{encoder.__qualname__}"


def _turned(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``rows @ matrix``, each row summed by itself, so that none depends on its place among the others."""
    return np.einsum("bi,ij->bj", rows.astype(np.float64), matrix).astype(np.float32)
