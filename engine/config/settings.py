"""One file, one object: the configuration of a run is the configurations of its parts."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from clusterfolio.engine.config.ranges import check_range

#: Where the shipped presets lie.
PRESETS = resources.files("clusterfolio.engine.config") / "presets"


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(item.name.removesuffix(".toml") for item in PRESETS.iterdir() if item.name.endswith(".toml"))


def read_preset(name: str) -> dict:
    """The settings a shipped preset changes, as nested dictionaries."""
    if name not in presets():
        raise ValueError(f"unknown preset {name!r}; available: {', '.join(presets())}")
    return tomllib.loads(
        (resources.files("clusterfolio.engine.config") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    )


def read_toml(path: Path) -> dict:
    """A configuration file as nested dictionaries; errors name the file."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from error


def merge(*layers: dict) -> dict:
    """Nested dictionaries laid over one another; the later wins, key by key.

    A layer that names another encoder than those below it leaves their ``model`` section behind, whose keys are that
    encoder's.

    >>> merge({"data": {"source": "files", "currency": "USD"}}, {"data": {"currency": "EUR"}})
    {'data': {'source': 'files', 'currency': 'EUR'}}
    """
    result: dict = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, dict):
                raise ValueError(f"{section}: got {values!r}, expected a section with keys, as in [{section}]")
        named = result.get("encoder", {}).get("name")
        if named is not None and layer.get("encoder", {}).get("name", named) != named:
            result.pop("model", None)
        for section, values in layer.items():
            result[section] = {**result.get(section, {}), **values}
    return result


def parse_setting(text: str) -> dict:
    """``section.key=value`` from the command line; the value is read as TOML, else as text.

    >>> parse_setting("train.epochs=3"), parse_setting("data.currency=EUR")
    ({'train': {'epochs': 3}}, {'data': {'currency': 'EUR'}})
    """
    match = re.fullmatch(r"\s*(\w+)\.(\w+)\s*=\s*(.*)", text, flags=re.DOTALL)
    if match is None:
        raise ValueError(f"--set {text!r}: expected section.key=value, for example train.epochs=3")
    section, key, value = match.groups()
    try:
        return {section: {key: tomllib.loads(f"x = {value}")["x"]}}
    except tomllib.TOMLDecodeError:
        return {section: {key: value}}


def _build(section: str, cls: type, values: dict):
    hints = typing.get_type_hints(cls)
    known = {item.name for item in fields(cls)}
    kwargs = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"unknown key {section}.{key}; available: {', '.join(sorted(known))}")
        kwargs[key] = _convert(f"{section}.{key}", value, hints[key])
        check_range(section, key, kwargs[key], ours=cls.__module__.startswith("clusterfolio."))
    try:
        return cls(**kwargs)
    except ValueError as error:
        raise ValueError(f"[{section}] {error}") from error


def _convert(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type the dataclass states; a whole number will do for a float, one text for a list."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is tuple:
            items = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            inner = typing.get_args(option)[0]
            if isinstance(items, list | tuple) and all(isinstance(item, inner) for item in items):
                return tuple(items)
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) if isinstance(value, float) or abs(value) < 2**1023 else math.copysign(math.inf, value)
        elif option is str and hasattr(value, "isoformat"):
            return value.isoformat()  # a TOML date
        elif isinstance(option, type) and isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    expected = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise ValueError(f"{name}: got {value!r}, expected {expected}")


def _plain(value: Any) -> Any:
    if hasattr(value, "plain"):
        return value.plain()
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _meanings(cls: type) -> dict[str, str]:
    """The ``Attributes:`` part of a docstring as key -> sentence; ``a, b: text`` explains both."""
    _, _, text = (cls.__doc__ or "").partition("Attributes:")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        head = re.match(r"^ {8}(\w+(?:, \w+)*): (.*)$", line)
        if head:
            names = head[1].split(", ")
            meanings.update(dict.fromkeys(names, head[2].strip()))
        elif names and line.strip():
            meanings.update({name: f"{meanings[name]} {line.strip()}" for name in names})
    return meanings
