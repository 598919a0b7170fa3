"""What must answer at once loads nothing that trains, clusters, trades or draws."""

import json
import os
import re
import shutil
import subprocess
import sys

import click
import pytest

from clusterfolio.engine.cli.main import main
from tests.pages import ROOT

HEAVY = {"torch", "sklearn", "scipy", "matplotlib", "backtrader", "pandas", "numpy", "pyarrow"}


def paths(group: click.Group, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command's words, groups included."""
    found = [at]
    for name, command in group.commands.items():
        found += paths(command, (*at, name)) if isinstance(command, click.Group) else [(*at, name)]
    return found


COMMANDS = paths(main)

#: Runs the command line once for each list of words and prints what was loaded in the end, and what each printed.
PROGRAM = """
import io, json, sys
from contextlib import redirect_stdout
from clusterfolio.engine.cli.main import main
said = []
for words in json.loads(sys.argv[1]):
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as out:
        try:
            main(words, prog_name="clusterfolio")
        except SystemExit as end:
            assert not end.code, end
    out.flush()
    said.append(out.buffer.getvalue().decode())
print(json.dumps([sorted({name.split(".")[0] for name in sys.modules}), said]))
"""


def loaded_and_said(*calls: list[str], **environment: str) -> tuple[set[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(calls)],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names, said = json.loads(done.stdout)
    return set(names), said


def test_version_and_help_of_every_command_load_nothing_heavy():
    assert {("run",), ("trials", "compare"), ("check", "leakage")} <= set(COMMANDS)
    names, said = loaded_and_said(["--version"], *([*words, "--help"] for words in COMMANDS))
    assert not names & HEAVY
    assert all(text.startswith("Usage: ") for text in said[1:])


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("clusterfolio ", {"run", "trials"}),
        ("clusterfolio si", {"significance"}),
        ("clusterfolio trials ", {"compare", "explain", "verify"}),
        ("clusterfolio run --tr", {"--train-start", "--train-end"}),
        ("clusterfolio run --preset ", {"default", "rolling", "seed"}),
    ],
)
def test_the_shell_completes_commands_and_options_without_loading_anything_heavy(words, offered):
    position = str(len(words.split()) if words.endswith(" ") else len(words.split()) - 1)
    names, (said,) = loaded_and_said([], _CLUSTERFOLIO_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=position)
    assert offered <= {line.partition(",")[2] for line in said.splitlines()}
    assert not names & HEAVY


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell):
    names, (said,) = loaded_and_said([], _CLUSTERFOLIO_COMPLETE=f"{shell}_source")
    assert f"_CLUSTERFOLIO_COMPLETE={shell}_complete" in said
    assert not names & HEAVY


def test_bash_completes_with_the_line_of_the_page(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / "clusterfolio").write_text(
        f"#!{sys.executable} -P\nfrom clusterfolio.engine.cli.main import main\nmain()\n", encoding="utf-8"
    )
    (tmp_path / "clusterfolio").chmod(0o755)
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    (line,) = re.findall(r'^eval "\$\(_CLUSTERFOLIO_COMPLETE=bash.*$', page, flags=re.MULTILINE)
    asked = "COMP_WORDS=(clusterfolio trials co); COMP_CWORD=2; _clusterfolio_completion clusterfolio"
    done = subprocess.run(
        ["bash", "-c", f'{line}\ncomplete -p clusterfolio\n{asked}\necho "offers: ${{COMPREPLY[*]}}"'],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "-F _clusterfolio_completion clusterfolio" in done.stdout and "offers: compare\n" in done.stdout
