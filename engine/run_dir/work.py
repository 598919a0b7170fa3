"""The work folder of an unfinished run: what the same command finds again after it was interrupted.

It lies beside the run directory (same disk, in sight, thrown away with it) and not in a cache, and its name is a hash
of the configuration, the data and the versions: the same command finds it although the run directory's own name may
hold the time of day, and a command that would give another result never does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from clusterfolio.feeds.writing import write_json

log = logging.getLogger(__name__)

OWNER = "process.json"


def work_key(*parts: object) -> str:
    """Sixteen hexadecimal digits that differ where any part does; parts are plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def work_folder(beside: Path, key: str) -> Iterator[Path]:
    """The folder for a run with this key; removed when the block ends well, or when nothing came of it.

    Args:
        beside: the run directory, which need not exist yet.

    Raises:
        FileExistsError: another process is at work on the same run.
    """
    folder = Path(beside).parent / f".unfinished-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder)
    if any(path.name != OWNER for path in folder.iterdir()):
        log.info("going on with what an interrupted run left in %s", folder)
    try:
        yield folder
    except BaseException:
        (folder / OWNER).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    finished = folder.with_name(f".finished-{key}")
    os.replace(folder, finished)  # removed at one stroke: a kill in the middle leaves nothing that looks usable
    shutil.rmtree(finished)


def _claim(folder: Path) -> None:
    """Take the folder for this process; a process that is gone (killed, before a reboot) has no claim."""
    path = folder / OWNER
    if path.exists():
        owner = json.loads(path.read_text(encoding="utf-8"))
        if owner["pid"] != os.getpid() and _alive(**owner):
            raise FileExistsError(
                f"process {owner['pid']} is at work on this very run in {folder}; wait for it, or name an --out in "
                "another folder"
            )
    mine = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": platform.node()}
    write_json(path, mine)


def _alive(pid: int, started: float, host: str) -> bool:
    if host != platform.node():  # on a shared disk; what became of it cannot be seen from here
        return False
    try:
        process = psutil.Process(pid)
        return process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
