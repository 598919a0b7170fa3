"""Source files of the user's own that a run is made with: the classes that its settings name, and what those import.

They are read and not run: imports are followed in the syntax trees, those inside functions too. What is installed
counts by its version elsewhere, and what a module loads by name at run time, or reads from files, is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import all_suffixes
from pathlib import Path

#: Folders of installed packages.
INSTALLED = {"site-packages", "dist-packages"}

#: Imported by anyone's encoder or policy, and this program's own; the version of the code covers it.
OURS = "clusterfolio"


def own_code(names: Iterable[str]) -> dict[str, str]:
    """Sixteen hexadecimal digits of each source file's SHA-256, by module.

    Args:
        names: ``"package.module:Name"`` of classes; their modules can be found, as those of classes that were imported.
    """
    todo = [name.partition(":")[0] for name in names]
    named = {module.split(".")[0] for module in todo}
    found: dict[str, str] = {}
    seen: set[str] = set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        todo += [module.rpartition(".")[0]] if "." in module else []
        file, folders = _place(module)
        if file is None or not _own(module, file, named):
            continue
        content = file.read_bytes()
        found[module] = hashlib.sha256(content).hexdigest()[:16]
        if file.suffix == ".py":
            todo += _imports(content, module if folders else module.rpartition(".")[0])
    return dict(sorted(found.items()))


def _place(module: str) -> tuple[Path | None, list[str]]:
    """A module's file (None: it has none, or is nowhere) and, of a package, its folders; nothing is imported."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is not None:
        return Path(spec.origin) if spec.has_location and spec.origin else None, list(
            spec.submodule_search_locations or ()
        )
    above, _, name = module.rpartition(".")
    places = _place(above)[1] if above else sys.path
    folders = []
    for place in map(Path, places):
        if (place / name / "__init__.py").is_file():
            return place / name / "__init__.py", [str(place / name)]
        for suffix in all_suffixes():
            if (place / f"{name}{suffix}").is_file():
                return place / f"{name}{suffix}", []
        folders += [str(place / name)] if (place / name).is_dir() else []
    return None, folders


def _own(module: str, file: Path, named: set[str]) -> bool:
    top, path = module.split(".")[0], file.resolve()
    if top == OURS or not path.is_file():
        return False
    installed = INSTALLED & set(path.parts) or path.is_relative_to(Path(sysconfig.get_paths()["stdlib"]).resolve())
    return top in named or not installed


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Every module that a source text may import; a name that is no module is found nowhere."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # it reaches above its own package, as an import of it would say
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
