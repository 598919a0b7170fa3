"""What a user names as ``"package.module:Name"``: found in the current folder as well as among what is installed."""

from __future__ import annotations

import importlib
import os
import sys
from operator import attrgetter
from types import ModuleType
from typing import Any


def find_named(text: str, what: str) -> Any:
    """The class or function behind ``"package.module:Name"``.

    The current folder comes first and stays on the path that modules are looked for on, as for a program started with
    ``python -m``: what is found there may import its neighbours later, and other processes that this one starts look
    there too.

    Args:
        what: who asks, for errors: ``"encoder.name"``.

    Raises:
        ValueError: the text is no such name, no such module is found, importing it fails, or it has no such name.

    >>> find_named("collections:OrderedDict", "example")
    <class 'collections.OrderedDict'>
    """
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"{what}: got {text!r}, expected 'package.module:Name'")
    found = _import(module, f"{what}: {text!r}")
    try:
        return attrgetter(name)(found)
    except AttributeError as error:
        own = [key for key, value in vars(found).items() if getattr(value, "__module__", None) == found.__name__]
        raise ValueError(
            f"{what}: {text!r}: {module} ({_place(found)}) has no {name}; it defines: {', '.join(own) or 'nothing'}"
        ) from error


def look_in(folder: str) -> None:
    """Look for modules in ``folder`` first, then in the current folder: for a process that works for another one."""
    for each in (os.getcwd(), folder):
        if each in sys.path:
            sys.path.remove(each)
        sys.path.insert(0, each)
    importlib.invalidate_caches()


def _import(module: str, said: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            where = f"in the current folder ({folder}) or among the installed packages"
            raise ValueError(f"{said}: there is no module {error.name} {where}") from error
        raise ValueError(f"{said}: importing {module} fails: {error}") from error
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(f"{said}: importing {module} fails: {type(error).__name__}: {error}") from error


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"
