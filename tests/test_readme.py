"""What the pages say is true: commands resolve, programs run, links lead somewhere, the table is the configuration."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.cli.options import resolve
from tests.pages import (
    CONFIGURATION,
    PAGES,
    ROOT,
    TABLE,
    anchors,
    commands,
    configuration_table,
    fences,
    inline_code,
    label,
    links,
    write_files,
)

COMMANDS = [
    pytest.param(page, args, id=f"{label(page)}: {' '.join(args)}") for page in PAGES for args in commands(page)
]

#: Programs that take over 5 s.
SLOW = ("own_cerebro.py", "from_python.py", "try_encoder.py", "own_strategy.py")

PROGRAMS = [
    pytest.param(
        page, fence, id=f"{label(page)}: {fence.title}", marks=[pytest.mark.acceptance] if fence.title in SLOW else []
    )
    for page in PAGES
    for fence in fences(page)
    if fence.language == "python"
]

#: Commands that work on what a run left, or for long: what is asked is understood, and not done; others' tests do it.
PARSED = ("run", "fetch", "check", "decide", "report", "sweep", "significance", "trials", "compare", "news", "paper")


@pytest.fixture
def beside_the_files(tmp_path, monkeypatch):
    """``beside(page)``: the current folder holds the page's files; modules found there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield lambda page: write_files(page, tmp_path)
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(("page", "args"), COMMANDS)
def test_a_command_of_the_pages_is_understood(page, args, beside_the_files):
    beside_the_files(page)
    if args[0] in PARSED:
        command, rest = main.commands[args[0]], args[1:]
        while rest and rest[0] in getattr(command, "commands", ()):
            command, rest = command.commands[rest[0]], rest[1:]
        context = command.make_context(args[0], ["." if part.startswith("runs") else part for part in rest])
        if "settings" in context.params:  # the configuration that it would work on, classes of the page's own imported
            with context:
                resolve(context, *(context.params[name] for name in ("preset", "config_file", "settings")))
        return
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("page", "program"), PROGRAMS)
def test_a_program_of_the_pages_runs_outside_the_repository(page, program, tmp_path):
    write_files(page, tmp_path)
    name = program.title or "program.py"
    (tmp_path / name).write_text(program.text, encoding="utf-8")
    done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stem = Path(name).stem
    used = [fence.text for fence in fences(page) if re.search(rf"\b{stem}(:| import)", fence.text)]
    assert done.stdout.strip() or used, f"{name} prints nothing, and nothing on its page uses it"
    for shown in fences(page):
        if shown.title == f"{stem}.out":
            assert " ".join(shown.text.split()) in " ".join(done.stdout.split())


@pytest.mark.parametrize(("page", "program"), [pytest.param(*each.values, id=each.id) for each in PROGRAMS])
def test_a_program_of_the_pages_needs_public_names_only(page, program):
    imported = [node for node in ast.walk(ast.parse(program.text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imported}
    assert not [name for name in modules if name.startswith("clusterfolio.")]


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_and_pictures_lead_somewhere(page):
    for target in links(page):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_files_folders_tests_and_modules_that_a_page_names_are_there(page):
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for code in inline_code(page):
        for path in re.findall(r"(?:^|\s)((?:clusterfolio|engine|feeds|models|strategies|tests)/[\w./-]*)", code):
            there = (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()
            assert there, path
        for name in re.findall(r"^test_\w+$", code):
            assert f"def {name}(" in tests, name
        for module in re.findall(r"python -m ([\w.]+)", code):
            assert importlib.util.find_spec(module), module


def test_every_page_is_listed_on_the_first():
    assert {label(page) for page in PAGES[1:]} <= {target.partition("#")[0] for target in links(PAGES[0])}


def test_every_command_is_on_its_page():
    listed = {words for code in inline_code(ROOT / "docs" / "command-line.md") for words in (code.split(" ")[0], code)}
    for name, command in main.commands.items():
        for words in [f"{name} {part}" for part in getattr(command, "commands", ())] or [name]:
            assert words in listed, words


def test_the_first_page_is_short():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 200


def test_the_configuration_table_is_the_configuration():
    (stated,) = TABLE.findall(CONFIGURATION.read_text(encoding="utf-8"))
    assert stated == configuration_table()
