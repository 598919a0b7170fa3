"""Tensors into a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file; what the system refuses (a full disk) is the ``OSError`` that any other file would raise."""
    try:
        save_file(dict(tensors), path, metadata)
    except SafetensorError as error:
        refused = re.search(r"(.*) \(os error (\d+)\)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[2]), refused[1], str(path)) from error
