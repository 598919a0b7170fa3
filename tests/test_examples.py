"""The programs of examples/ run, outside the repository, with public names only."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT, links

PROGRAMS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

#: Under 5 s; the others are run with the acceptance tests.
QUICK = ("own_frames", "own_cerebro")


def cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def slow(path: Path):
    return pytest.param(path, id=path.name, marks=[] if path.stem in QUICK else [pytest.mark.acceptance])


@pytest.mark.parametrize("path", [slow(path) for path in PROGRAMS + NOTEBOOKS])
def test_an_example_runs_in_any_folder(path, tmp_path):
    program = path
    if path.suffix == ".ipynb":
        program = tmp_path / "cells.py"
        program.write_text("\n\n".join(cells(path)), encoding="utf-8")
    scripts = str(Path(sys.executable).parent)  # where the command is
    env = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("path", PROGRAMS + NOTEBOOKS, ids=lambda path: path.name)
def test_an_example_is_short_and_needs_public_names_only(path):
    text = path.read_text(encoding="utf-8") if path.suffix == ".py" else "\n\n".join(cells(path))
    assert len(text.splitlines()) <= 75
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)
    }  # fmt: skip
    assert not [name for name in modules if name.startswith("clusterfolio.")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_holds_no_results(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert found["nbformat"] == 4 and code
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]


def test_every_example_is_on_the_page():
    stated = {target for target in links(ROOT / "docs" / "examples.md") if target.startswith("../examples/")}
    assert stated == {f"../examples/{path.name}" for path in PROGRAMS + NOTEBOOKS}
    assert len(stated) == 8
