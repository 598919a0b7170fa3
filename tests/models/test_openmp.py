"""How torch's threads wait, as OpenMP itself says when it is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What is left of the setting afterwards, and a training's block on two threads.
ENDS = (
    "import os, torch; from clusterfolio.models.device import torch_threads\n"
    "with torch_threads(2): print(os.environ.get('OMP_WAIT_POLICY'))"
)


def said(code: str, **beside: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    return subprocess.run(
        [sys.executable, "-c", f"{code}\n{ENDS}"], cwd=ROOT, env=clean | {"OMP_DISPLAY_ENV": "VERBOSE"} | beside,
        capture_output=True, text=True, check=True,
    )  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings another OpenMP here")
@pytest.mark.parametrize("program", ["import clusterfolio.models.encoder", "import clusterfolio.models; import torch"])
def test_threads_sleep_while_they_wait_and_the_environment_is_as_before(program):
    done = said(program)
    assert "GOMP_SPINCOUNT = '0'" in done.stderr
    assert done.stdout.strip() == "None" and "spinning" not in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings another OpenMP here")
def test_what_the_user_says_stands_and_a_torch_that_came_first_is_named():
    done = said("import clusterfolio.models.encoder", GOMP_SPINCOUNT="777")
    assert "GOMP_SPINCOUNT = '777'" in done.stderr and "spinning" not in done.stderr
    done = said("import torch; import clusterfolio.models.encoder")
    assert "GOMP_SPINCOUNT = '0'" not in done.stderr and "wait by spinning" in done.stderr
    done = said("import torch; import clusterfolio.models.encoder", OMP_WAIT_POLICY="PASSIVE")
    assert done.stdout.strip() == "PASSIVE" and "spinning" not in done.stderr
