"""The walls of the house, read from the syntax trees."""

import ast
import configparser
import os
import sys
from functools import cache
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("feeds", "models", "strategies", "engine")
MODULES = [
    *sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")),
    ROOT / "clusterfolio" / "__init__.py",
    ROOT / "run_backtest.py",
]

#: Floors from the ground up; a room imports its own floor's modules and those below, never above.
FLOORS = {
    "feeds": [{"feeds"}],
    "models": [{"models"}],
    "strategies": [{"strategies"}],
    "engine": [
        {"engine.parallel", "engine.progress"},
        {"engine.trading"},
        {"engine.folds"},
        {"engine.config"},
        {"engine.assembly"},
        {"engine.run_dir"},
        {"engine.ledger"},
        {"engine.evidence"},
        {"engine.report"},
        {"engine.jobs", "engine.live"},
        {"engine.leakage"},
        {"engine.cli"},
    ],
}

#: Rooms of the ground floors that a room must not import; ``engine`` may import all of them.
FORBIDDEN = {
    "feeds": {"models", "strategies", "engine"},
    "models": {"feeds", "strategies", "engine"},
    "strategies": {"engine"},
    "engine": set(),
}

#: The only modules that may import a framework; a trailing slash means everything below.
ALLOWED = {
    "backtrader": ("feeds/bt_feed.py", "feeds/live.py", "strategies/rebalance.py", "engine/trading/", "engine/live/"),
    "torch": ("models/",),
    "pyfolio": ("engine/report/",),
    "matplotlib": ("engine/report/",),
    "stable_baselines3": ("models/agents/",),
    "gymnasium": ("models/agents/",),
    "skfolio": ("strategies/optimised.py",),
    "yfinance": ("feeds/sources/", "feeds/exogenous/"),
    "socket": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "urllib": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "requests": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "alpaca": ("engine/live/alpaca_wire.py",),
    "ib_async": ("engine/live/ibkr.py",),
    "websockets": ("engine/live/alpaca_stream.py",),
    "feedparser": ("feeds/exogenous/",),
    "vaderSentiment": ("feeds/exogenous/sentiment.py",),
    "transformers": ("feeds/exogenous/sentiment.py",),
    "click": ("engine/cli/",),
    "rich": ("engine/cli/",),
}


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    """The name under which a module is imported."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name if name.split(".")[0] not in ROOMS else f"clusterfolio.{name}"


OWN = {dotted(path) for path in MODULES}

#: Where the project's own files lie; an environment may lie in the checkout too.
OURS = tuple(f"{ROOT / room}{os.sep}" for room in (*ROOMS, "clusterfolio", "tests"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules that a module imports when it is loaded or run; what only type checkers read is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & OWN
            names |= inside or {node.module}
    return frozenset(names)


def own_imports(path: Path) -> set[str]:
    """The project's modules among them, without the package's name."""
    return {name.removeprefix("clusterfolio.") for name in imported(path) if name.split(".")[0] == "clusterfolio"}


def package(name: str) -> str:
    """The folder of a module; a module at the top of a room stands for itself."""
    parts = name.split(".")
    return name if len(parts) <= 2 else ".".join(parts[:-1])


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_run_one_way(path):
    room = label(path).split("/")[0]
    found = own_imports(path)
    assert "run_backtest" not in imported(path)
    assert not {name.split(".")[0] for name in imported(path)} & set(ROOMS), "imported without the package's name"
    if room in FORBIDDEN:
        assert not {name.split(".")[0] for name in found} & FORBIDDEN[room]


@pytest.mark.parametrize("path", [path for path in MODULES if label(path).startswith("engine/")], ids=label)
def test_a_floor_of_the_engine_imports_only_those_below(path):
    floors = FLOORS["engine"]

    def floor(name: str) -> int:
        return next(i for i, rooms in enumerate(floors) if ".".join(name.split(".")[:2]) in rooms)

    own = dotted(path).removeprefix("clusterfolio.")
    if own == "engine":
        return
    for name in own_imports(path):
        if name.startswith("engine."):
            same = name.split(".")[1] == own.split(".")[1]
            assert same or floor(name) < floor(own), f"{label(path)} imports {name}"


def test_no_two_packages_import_each_other():
    arrows: dict[str, set[str]] = {}
    for path in MODULES:
        name = dotted(path).removeprefix("clusterfolio.")
        if name.split(".")[0] in ROOMS:
            arrows.setdefault(package(name), set()).update(package(other) for other in own_imports(path))

    def below(start: str) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            for other in arrows.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    cycles = {
        (one, other) for one, others in arrows.items() for other in others if other != one and one in below(other)
    }
    assert not cycles


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_frameworks_stay_in_their_rooms(path):
    for name in {name.split(".")[0] for name in imported(path)} & set(ALLOWED):
        assert label(path).startswith(ALLOWED[name]), f"{label(path)} imports {name}"


def test_package_inits_are_empty():
    # That of models says how threads wait, which must stand in front of torch.
    inits = [
        path for path in MODULES if path.name == "__init__.py" and path.parent.name not in ("clusterfolio", "models")
    ]
    assert not [label(path) for path in inits if path.read_text().strip()]


def test_every_package_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    stated = setup["options"]["packages"].split()
    assert stated == sorted(dotted(path) for path in MODULES if path.name == "__init__.py")


def test_the_oldest_versions_that_are_claimed_are_those_that_are_tried():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    claimed = dict(line.split(" >= ") for line in setup["options"]["install_requires"].split("\n") if line)
    rows = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(row.split("==") for row in rows if not row.startswith("#"))
    assert list(tried) == list(claimed)
    for name, version in claimed.items():
        assert Version(tried[name]) == Version(version), name


def test_no_module_is_loaded_under_two_names():
    files: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and file.startswith(OURS) and name != "__main__":
            files.setdefault(file, set()).add(name)
    assert not {file: names for file, names in files.items() if len(names) > 1}
    assert not set(ROOMS) & set(sys.modules)


def test_only_the_command_line_prints_and_nothing_is_pickled_or_silenced():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print" or label(path).startswith("engine/cli/"), label(path)
                assert called not in ("pickle.load", "pickle.loads", "torch.load", "warnings.simplefilter"), label(path)
                if called == "warnings.filterwarnings":  # pyfolio's own lines only, one message or module at a time
                    narrow = len(node.args) > 1 or {"message", "module"} & {word.arg for word in node.keywords}
                    assert narrow and path.name == "tear_sheets.py", f"{label(path)}:{node.lineno}"
            if isinstance(node, ast.ExceptHandler):
                silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                assert not silent, f"{label(path)}:{node.lineno} swallows an error"
