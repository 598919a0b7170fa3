"""Kill the real command with -9 in a chosen stage, as seen from outside."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The line a run logs when a stage begins (``run_backtest.py --verbose``).
BEGINS = re.compile(r"engine\.progress: (\w+) begins")


def kill_in_stage(options: list[str], stage: str, delay: float, until: Path | None = None) -> str | None:
    """Start the command, kill it ``delay`` seconds into ``stage``; the stage it died in, or None where it had finished.

    Args:
        options: arguments of ``run_backtest.py``.
        until: wait for this path (a glob pattern) before the delay begins to count.
    """
    command = [sys.executable, str(ROOT / "run_backtest.py"), "--verbose", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT)
    at = ""
    try:
        for line in process.stderr:
            if found := BEGINS.search(line):
                at = found[1]
                if at == stage:
                    break
        else:
            raise AssertionError(f"never reached {stage}; ended in {at or 'nothing'}")
        while until is not None and not list(until.parent.parent.glob(f"{until.parent.name}/{until.name}")):
            assert process.poll() is None, f"ended before {until} was there"
            time.sleep(0.005)
        later: list[str] = []
        reader = threading.Thread(target=later.extend, args=(process.stderr,))
        reader.start()
        time.sleep(delay)
        process.kill()
        process.wait()
        reader.join()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    begun = [found[1] for line in later if (found := BEGINS.search(line))]
    return None if process.returncode == 0 else (begun or [at])[-1]
