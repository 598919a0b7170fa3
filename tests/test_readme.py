"""What the README says is true: its commands resolve, its programs run, its table is the configuration."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from clusterfolio.engine.cli.main import main
from clusterfolio.engine.config.run import RunConfig, describe

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("clusterfolio ")
]


def configuration_table() -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for section, key, _, default, meaning in describe(RunConfig()):
        lines.append(f"| `{section}.{key}` | `{default!r}` | {meaning.replace('|', '/')} |")
    return "\n".join(lines)


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_is_understood(args):
    if args[0] in ("run", "fetch"):  # the same options, resolved without running
        options = [a for i, a in enumerate(args[1:]) if a != "--model" and args[i] != "--model"]
        args = ["config", "show", *options]
    elif args[0] in ("check", "decide", "report", "sweep", "significance", "trials", "compare", "news"):
        command, rest = main.commands[args[0]], args[1:]
        if args[0] in ("check", "trials") and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(args[0], ["." if part.startswith("runs") else part for part in rest])  # others run them
        return
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_program_of_the_readme_runs_outside_the_repository(number, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(blocks("python")[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_configuration_table_is_the_configuration():
    stated = re.search(r"<!-- configuration -->\n(.*?)\n<!-- end of configuration -->", TEXT, flags=re.DOTALL)
    assert stated and stated[1] == configuration_table()


def test_the_picture_is_there():
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / target).is_file(), target
