"""The table of contents: every section of the page, in order. A new section is a file and a line here."""

from __future__ import annotations

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.sections import (
    attribution,
    calendar,
    caveats,
    clusters,
    data,
    headline,
    holdings,
    importance,
    passports,
    promises,
    rolling,
    run,
    summary,
    tear_sheets,
    trading,
    verdict,
)

SECTIONS: tuple[Section, ...] = (
    summary.SECTION,
    verdict.SECTION,
    headline.SECTION,
    calendar.SECTION,
    attribution.SECTION,
    holdings.SECTION,
    rolling.SECTION,
    promises.SECTION,
    clusters.SECTION,
    passports.SECTION,
    importance.SECTION,
    trading.SECTION,
    tear_sheets.SECTION,
    data.SECTION,
    run.SECTION,
    caveats.SECTION,
)
