"""The work folder of an unfinished run: what the same command finds again after it was interrupted.

It lies beside the run directory (same disk, in sight, thrown away with it) and not in a cache. Its name is a hash of
what was asked for (configuration, data) and one of what does it (the program, package versions, source files of the
user's own): the same command finds it although the run directory's own name may hold the time of day, and one program
never goes on with another's work. One process at a time is at work in it, which the system's lock on a file beside it
sees to; of a process that is gone the system has let go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clusterfolio.feeds.writing import write_json

log = logging.getLogger(__name__)

#: Files of the folder's own: who is at work in it, and what by.
OWNER, MADE_BY = "process.json", "made_by.json"


def work_key(*parts: object) -> str:
    """Sixteen hexadecimal digits that differ where any part does; parts are plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def work_folder(beside: Path, key: str, made_by: Mapping[str, str]) -> Iterator[Path]:
    """The folder for a run with this key; removed when the block ends well, or when nothing came of it.

    Work under the same key that something else made is left as it lies, and a warning says so.

    Args:
        beside: the run directory, which need not exist yet.
        key: of what was asked for.
        made_by: what does it, by name: the program, package versions, source files.

    Raises:
        FileExistsError: another process is at work on the same run.
    """
    folder = Path(beside).parent / f".unfinished-{key}-{work_key(dict(made_by))[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(folder):
        folder.mkdir(exist_ok=True)
        try:
            write_json(folder / OWNER, {"pid": os.getpid(), "host": platform.node()})
            if _holds(folder):
                log.info("going on with what an interrupted run left in %s", folder)
            else:
                _say_what_is_left(folder, key, made_by)
            write_json(folder / MADE_BY, dict(made_by))
            yield folder
        except BaseException:
            (folder / OWNER).unlink(missing_ok=True)
            if not _holds(folder):
                shutil.rmtree(folder)
            raise
        finished = folder.with_name(folder.name.replace("unfinished", "finished"))
        os.replace(folder, finished)  # removed at one stroke: a kill in the middle leaves nothing that looks usable
        shutil.rmtree(finished)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold the folder for this process."""
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise FileExistsError(
            f"{_owner(folder)} is at work on this very run in {folder}; wait for it, or name an --out in another folder"
        ) from error
    try:
        yield
    finally:
        # While it is held: who opened the file before finds it gone once the lock is his, and opens a new one.
        with contextlib.suppress(PermissionError):  # Windows removes it when it is released
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _owner(folder: Path) -> str:
    try:
        stated = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {stated['pid']} on {stated['host']}"
    except (OSError, ValueError):  # it has only just begun
        return "another process"


def _holds(folder: Path) -> bool:
    """Whether there is work in a folder."""
    return any(path.name not in (OWNER, MADE_BY) for path in folder.iterdir())


def _say_what_is_left(folder: Path, key: str, made_by: Mapping[str, str]) -> None:
    """Warn of work on the same run that is not gone on with, and say what has changed since."""
    for other in sorted(folder.parent.glob(f".unfinished-{key}-*")):
        if other == folder or not (other / MADE_BY).is_file():
            continue
        before = json.loads((other / MADE_BY).read_text(encoding="utf-8"))
        changed = sorted(name for name in {*before, *made_by} if before.get(name) != made_by.get(name))
        log.warning(
            "an interrupted run of this command was made by other code (changed since: %s); this one starts anew. The "
            "old work is kept in %s: with the old code the same command goes on with it; delete it if it is not wanted",
            ", ".join(changed), other,
        )  # fmt: skip
