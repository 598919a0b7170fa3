"""The programs on the pages under docs run, each page's as one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.acceptance
def test_the_programs_of_the_page_on_judging_run(tmp_path):
    text = (ROOT / "docs" / "judge.md").read_text(encoding="utf-8")
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)), encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "In this made-up market there is" in done.stdout and "['A']" in done.stdout
    assert (tmp_path / "runs" / "crossover" / "report.html").stat().st_size > 100_000
