"""The walls of the house, read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("feeds", "models", "strategies", "engine")
MODULES = [*sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")), ROOT / "run_backtest.py"]

#: Packages a room must not import.
FORBIDDEN = {
    "feeds": {"models", "strategies", "engine", "run_backtest"},
    "models": {"feeds", "strategies", "engine", "run_backtest"},
    "strategies": {"engine", "run_backtest"},
    "engine": {"run_backtest"},
    "run_backtest.py": {"models", "strategies"},
}

#: The only modules that may import a framework; a trailing slash means everything below.
ALLOWED = {
    "backtrader": ("feeds/bt_feed.py", "strategies/rebalance.py", "engine/trading/"),
    "torch": ("models/",),
    "pyfolio": ("engine/report/",),
    "matplotlib": ("engine/report/",),
    "skfolio": ("strategies/baselines/rules.py",),
    "yfinance": ("feeds/sources/", "feeds/exogenous/"),
    "socket": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "urllib": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "requests": ("feeds/sources/", "feeds/exogenous/", "engine/live/"),
    "feedparser": ("feeds/exogenous/",),
    "vaderSentiment": ("feeds/exogenous/sentiment.py",),
    "transformers": ("feeds/exogenous/sentiment.py",),
    "click": ("run_backtest.py",),
    "rich": ("run_backtest.py",),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_run_one_way(path):
    forbidden = FORBIDDEN[label(path).split("/")[0]]
    found = {name.split(".")[0] for name in imported(path)}
    assert not found & forbidden


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_frameworks_stay_in_their_rooms(path):
    for name in {name.split(".")[0] for name in imported(path)} & set(ALLOWED):
        assert label(path).startswith(ALLOWED[name]), f"{label(path)} imports {name}"


def test_package_inits_are_empty():
    assert not [label(path) for path in MODULES if path.name == "__init__.py" and path.read_text().strip()]


def test_only_the_command_line_prints_and_nothing_is_pickled_or_silenced():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print" or path.name == "run_backtest.py", label(path)
                assert called not in ("pickle.load", "pickle.loads", "torch.load", "warnings.simplefilter"), label(path)
                if called == "warnings.filterwarnings":  # pyfolio's own lines only, one message or module at a time
                    narrow = len(node.args) > 1 or {"message", "module"} & {word.arg for word in node.keywords}
                    assert narrow and path.name == "tear_sheets.py", f"{label(path)}:{node.lineno}"
            if isinstance(node, ast.ExceptHandler):
                silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                assert not silent, f"{label(path)}:{node.lineno} swallows an error"
