"""The public names: each is there, and none costs anything before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clusterfolio

SOURCE = Path(clusterfolio.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", clusterfolio.__all__)
def test_a_public_name_resolves_to_the_object_of_its_module(name):
    found = getattr(clusterfolio, name)
    assert found.__name__ == name and found is getattr(sys.modules[found.__module__], name)


def test_type_checkers_are_told_the_same_names_and_modules():
    imports = [
        node for guard in ast.parse(SOURCE).body if isinstance(guard, ast.If) for node in guard.body
        if isinstance(node, ast.ImportFrom)
    ]  # fmt: skip
    told = {alias.name: node.module.removeprefix("clusterfolio.") for node in imports for alias in node.names}
    assert told == clusterfolio._MODULES
    assert sorted([*told, "ClusterfolioError"]) == sorted(clusterfolio.__all__)
    assert (Path(clusterfolio.__file__).parent / "py.typed").is_file()


def test_the_names_are_listed_and_another_is_an_error():
    assert set(clusterfolio.__all__) <= set(dir(clusterfolio))
    with pytest.raises(AttributeError, match="module 'clusterfolio' has no attribute 'Nothing'"):
        clusterfolio.Nothing  # noqa: B018


def loaded_by(program: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after a program, beyond those it starts with."""
    lines = (
        "import sys; before = set(sys.modules)", program,
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})",
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_the_standard_library_only():
    assert loaded_by("import clusterfolio") - set(sys.stdlib_module_names) == {"clusterfolio"}


@pytest.mark.parametrize(
    "module", ["strategies.policy", "strategies.rebalance", "engine.trading.backtest", "engine.trading.clock",
               "engine.trading.clock_broker", "engine.trading.metrics", "engine.trading.recorder",
               "engine.trading.vectorised"],
)  # fmt: skip
def test_what_trades_loads_nothing_that_learns_or_draws(module):
    assert not loaded_by(f"import clusterfolio.{module}") & {"torch", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    "module", ["strategies.cluster_policy", "strategies.baselines.policies", "engine.evidence.luck"]
)
def test_what_clusters_and_holds_needs_no_torch_before_it_is_handed_an_encoder(module):
    assert not loaded_by(f"import clusterfolio.{module}") & {"torch", "matplotlib"}
