"""What is done once a run is finished: how far it can be believed, and its page. Neither may cost anyone the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clusterfolio import ClusterfolioError
from clusterfolio.engine.evidence.assessment import BASELINES_FILE, EVIDENCE_FILE, LUCK_FILE, Assessment, assess
from clusterfolio.engine.evidence.assessment import write as write_assessment
from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.progress import StageClock
from clusterfolio.engine.report.page import sections_of, write_report
from clusterfolio.engine.run_dir.finished import FinishedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Something that failed after the run was finished.

    Attributes:
        what: "significance", "report" ...
        error: what was raised.
        redo: the command that does it again; empty where none is needed.
    """

    what: str
    error: Exception
    redo: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is a fault of the program, and none of the files or the system."""
        return not isinstance(self.error, ClusterfolioError | OSError)

    def __str__(self) -> str:
        why = f"{type(self.error).__name__}: {self.error}" if self.ours else str(self.error)
        again = f"; `{self.redo}` does it again" if self.redo else ""
        return f"{self.what} failed ({why}); the run itself is finished and kept{again}"


@contextmanager
def kept(what: str, failures: list[Failure], redo: str = "") -> Iterator[None]:
    """Whatever fails inside is noted and logged; an interruption is not."""
    try:
        yield
    except Exception as error:  # of any kind: what is finished is not thrown away for it
        failures.append(Failure(what, error, redo))
        log.log(logging.ERROR if failures[-1].ours else logging.INFO, "%s failed", what, exc_info=True)


def afterwards(
    draft: Path,
    out: Path,
    finished: Callable[[], FinishedRun] | None,
    report: bool,
    clock: StageClock,
    ledger: Ledger | None = None,
    tear_sheets: bool = True,
) -> tuple[Assessment | None, list[Failure]]:
    """Assess a run whose tables are written, and write its page.

    Args:
        draft: where the tables lie, and the rest is written.
        out: where the directory is going to be; what commands are told.
        finished: opens the run; None = it is not assessed.
        tear_sheets: put pyfolio's sheets on the page.

    Returns:
        The assessment, None where there is none, and what failed.
    """
    assessed, failures = None, []
    if finished is not None:
        with clock.stage("significance"), kept("significance", failures, f"clusterfolio significance {out}"):
            found = assess(finished(), ledger, clock.reporter.advance)
            write_assessment(found, draft)
            assessed = found
        if assessed is None:
            for name in (EVIDENCE_FILE, LUCK_FILE, BASELINES_FILE):  # a part of them is none
                (draft / name).unlink(missing_ok=True)
    if report:
        with clock.stage("report"), kept("report", failures, f"clusterfolio report {out}"):
            write_report(draft, sections=sections_of(tear_sheets))
    return assessed, failures
