"""Whose code a configuration may import: a run directory from elsewhere names modules that nobody here has chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clusterfolio import ClusterfolioError

#: Keys that may name a class to import.
NAMES = (("encoder", "name"), ("policy", "name"))

#: Modules of this program, which are here whatever a file says.
OURS = "clusterfolio."


class TrustError(ClusterfolioError, ValueError):
    """A run directory names code of its own, and nobody said that it may run."""


def foreign(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """``(key, name)`` of every class outside this program that settings name."""
    for section, key in NAMES:
        name = settings.get(section, {}).get(key, "")
        if isinstance(name, str) and ":" in name and not name.startswith(OURS):
            yield f"{section}.{key}", name


def check_trust(run_dir: Path, theirs: Mapping[str, Any], trust: bool, own: Mapping[str, Any] | None = None) -> None:
    """Refuse to import what only a run directory names.

    Args:
        theirs: the settings that the directory states.
        trust: the user vouches for them.
        own: settings that the user states; what they name too may be imported. None: the command takes none.

    Raises:
        TrustError: a class is named that neither allows.
    """
    vouched = set(foreign(own or {}))
    for key, name in foreign(theirs):
        if not trust and (key, name) not in vouched:
            raise TrustError(
                f"{run_dir}: its {key} is {name!r}, code that would be imported and run. If you know whose it is, add "
                "--trust" + ("" if own is None else f", or state the same name yourself (--set {key}={name})")
            )
