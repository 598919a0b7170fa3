"""Types, checked by mypy where they matter most; what is left to mend may only become less.

``python -m tests.typed`` checks what decides, learns and trades, and the modules of the public names. The folders are
imported as ``clusterfolio.engine`` and so on, which mypy does not see: it is shown a tree of links in ``build/mypy``.
``tests/typed.txt`` has the errors that are known, by module: more is a failure. ``--update`` writes it anew after some
were mended.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import clusterfolio

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "build" / "mypy"
KNOWN = Path(__file__).with_suffix(".txt")

ROOMS = ("engine", "feeds", "models", "strategies")
PACKAGES = ("clusterfolio.strategies", "clusterfolio.models", "clusterfolio.engine.trading")
MODULES = ("clusterfolio", *sorted({f"clusterfolio.{module}" for module in clusterfolio._MODULES.values()}))


def link_tree() -> None:
    """The package as it is installed, out of links to the folders."""
    package = TREE / "clusterfolio"
    package.mkdir(parents=True, exist_ok=True)
    targets = [
        *(ROOT / room for room in ("engine", "feeds", "models", "strategies")),
        *(ROOT / "clusterfolio").iterdir(),
    ]
    for target in targets:
        link = package / target.name
        if target.name != "__pycache__" and not link.exists():
            link.symlink_to(os.path.relpath(target, package), target_is_directory=target.is_dir())


def check() -> list[str]:
    """mypy's errors, a line each."""
    link_tree()
    asked = [arg for name in PACKAGES for arg in ("-p", name)]
    asked += [arg for name in MODULES if not name.startswith(PACKAGES) for arg in ("-m", name)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(TREE / "cache"), *asked],
        cwd=ROOT, env=os.environ | {"MYPYPATH": str(TREE)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return [line.removeprefix("build/mypy/clusterfolio/") for line in done.stdout.splitlines() if ": error: " in line]


def known() -> dict[str, int]:
    """Errors that are known, by module."""
    rows = (line.split() for line in KNOWN.read_text(encoding="utf-8").splitlines())
    return {name: int(count) for name, count in rows}


def main() -> int:
    """0 where no module has more errors than it had."""
    errors, before = check(), known()
    counts = Counter(re.match("[^:]*", line)[0] for line in errors)
    worse = {name for name in counts if counts[name] > before.get(name, 0)}
    for line in errors:
        if re.match("[^:]*", line)[0] in worse:
            print(line)
    for name in sorted(worse):
        print(f"{name}: {counts[name]} errors of type, {before.get(name, 0)} are known (tests/typed.txt)")
    if worse:
        return 1
    less = sum(before.values()) - counts.total()
    print(f"types: {counts.total()} errors, all known")
    if less and "--update" in sys.argv:
        KNOWN.write_text("".join(f"{name} {counts[name]}\n" for name in sorted(counts)), encoding="utf-8")
    elif less:
        print(f"{less} fewer than known: python -m tests.typed --update")
    return 0


if __name__ == "__main__":
    sys.exit(main())
