"""Several results on one page: curves and figures over the sessions they share, and what sets them apart."""

from __future__ import annotations

import logging
from pathlib import Path

import empyrical as ep
import pandas as pd

from clusterfolio.engine.evidence.side_by_side import SideBySide
from clusterfolio.engine.report.layout.charts import Chart, Column, Lines, Panel, Series, Table
from clusterfolio.engine.report.layout.text import number, percent
from clusterfolio.engine.report.page import environment_of, framed
from clusterfolio.feeds.writing import replacing

logger = logging.getLogger(__name__)

#: Tones of ``page.css`` for results; c2 is close to the benchmark's.
TONES = ("c0", "c1", "c4", "c6", "c3", "c5", "c7", "c8", "c9")

TEMPLATE = Path(__file__).with_name("several.html")

#: Columns of the table of figures: key of ``performance``, heading, unit.
FIGURES = (
    ("total_return", "Total return", "percent"), ("cagr", "Return a year", "percent"),
    ("volatility", "Volatility", "percent"), ("sharpe", "Sharpe", "number"), ("sortino", "Sortino", "number"),
    ("max_drawdown", "Deepest drawdown", "percent"), ("calmar", "Calmar", "number"),
)  # fmt: skip


def write_side_by_side(found: SideBySide, path: Path) -> Path:
    """Write the page; one that is there is replaced. Returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(render_side_by_side(found), encoding="utf-8")
    logger.info("side by side: %s", path)
    return path


def render_side_by_side(found: SideBySide) -> str:
    """The page's HTML, everything inside it."""
    environment = environment_of({}, charts(found), found.simulated)
    return environment.get_template(str(TEMPLATE)).render(
        framed(),
        simulated=found.simulated,
        names=list(found.claims),
        first=found.returns.index[0].date(),
        last=found.returns.index[-1].date(),
        sessions=len(found.returns),
        best=best_words(found.best),
        claims=found.claims,
        remarks=found.remarks,
        correlations=found.correlations,
        differences={name: [one for one in rows if one.cause] for name, rows in found.differences.items()},
        follows={name: [one for one in rows if not one.cause] for name, rows in found.differences.items()},
    )


def charts(found: SideBySide) -> dict[str, Chart]:
    """What 100 became in each, drawdowns under it; and the figures as a table to sort."""
    value = found.returns.apply(ep.cum_returns, starting_value=100.0)
    start = pd.DataFrame(100.0, value.index[:1] - pd.Timedelta(days=1), value.columns)
    value = pd.concat([start, value])
    depth = value / value.cummax() - 1
    # One tone each in both panels.
    tones = {name: TONES[at % len(TONES)] if name in found.claims else "benchmark" for at, name in enumerate(value)}
    lines, falls = ([Series(str(name), table[name], tones[name]) for name in table] for table in (value, depth))
    ranked = found.figures.sort_values("sharpe", ascending=False, kind="stable")
    finding = "; ".join(
        f"{name}: {percent(row['total_return'])}, Sharpe ratio {number(row['sharpe'])}"
        for name, row in ranked.iterrows()
    )
    panels = (
        Panel("What 100 became", lines, "number", log=True, growth=True, share=2.3),
        Panel("Below the last peak", falls, "percent"),
    )
    columns = (Column("Result"), *(Column(heading, unit) for _, heading, unit in FIGURES))
    rows = [(str(name), *(row[key] for key, _, _ in FIGURES)) for name, row in ranked.iterrows()]
    return {
        "curves": Lines("Net of costs, over the sessions they share", finding, value.index, panels, height=420),
        "figures": Table("Figures over the sessions they share", finding, columns, rows, shown=30),
    }


def best_words(best: dict) -> str:
    """What the best of so many is worth, in a sentence or two."""
    return (
        f"{best['name']} has the best Sharpe ratio of {best['results']}, {number(best['sharpe'])}. As alike as they "
        f"are, they count as {number(best['effective'], 1)} independent ones; the best of so many without any skill "
        f"would be expected at {number(best['by_luck'])}. The chance that its true ratio is above 0, after so many "
        f"looks, is {percent(best['deflated'], 0)}; what was tried and is not on this page makes it less."
    )
