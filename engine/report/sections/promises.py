"""What decisions expected of their picks and clusters, and what came out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.report.layout.charts import Lines, Panel, Series
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.run_dir.tables import ReportInputs


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"promised": promised_and_kept(inputs.promises)}


def absent(inputs: ReportInputs) -> str:
    """Why there is no such section."""
    if why := without_clusters(inputs):
        return why
    return "" if promised_and_kept(inputs.promises) else "too few sessions followed any decision"


def charts(inputs: ReportInputs) -> dict[str, Lines]:
    """Effective bets of each decision's picks, as expected and as the year after showed them, by date."""
    later = inputs.promises.dropna(subset="kept_bets")
    lines = [
        Series("Expected at the decision", later["expected_bets"], "gross", "points"),
        Series("What so many days would show of it", later["expected_bets_shown"], "benchmark", "points"),
        Series("Kept in the year after", later["kept_bets"], "strategy", "points"),
    ]
    said = (
        f"The picks were expected to make {later['expected_bets'].mean():.1f} independent bets, and made "
        f"{later['kept_bets'].mean():.1f} in the year after, on average of {len(later)} decisions."
    )
    panel = Panel("Effective bets", lines, zero=True)
    return {
        "promises": Lines(
            "Effective bets, promised and kept", said, pd.DatetimeIndex(later["date"]), (panel,), height=260
        )
    }


#: Rows of the table of promises: what is expected and kept, in words.
PROMISED = (
    ("Effective bets of the picks", "bets"),
    ("Correlation of the picks", "correlation"),
    ("Inside clusters less across (a)", "gap"),
    ("Between clusters (b)", "between"),
)

#: What else the year after showed of clusters and picks, in words, and how it is written.
SHOWED = (
    ("(a), every cluster counting the same", "even_gap", "number"),
    ("(b) of squared correlations", "squared", "number"),
    ("Effective bets of a random member per cluster", "member_bets", "number"),
    ("Its volatility", "member_volatility", "percent"),
    ("Its diversification ratio", "member_ratio", "number"),
    ("Volatility of the picks, equally weighted", "pick_volatility", "percent"),
    ("Their diversification ratio", "pick_ratio", "number"),
    ("(a) on the market's worst days", "worst_gap", "number"),
    ("(b) on the market's worst days", "worst_between", "number"),
    ("Largest cluster, of all assets", "largest", "percent"),
    ("Clusters of fewer than three", "small", "number"),
)


def promised_and_kept(table: pd.DataFrame | None) -> dict | None:
    """What decisions expected and what came out, means over the decisions that enough sessions followed.

    Args:
        table: as ``engine.evidence.promises.promises`` makes it, read back from the file.
    """
    later = pd.DataFrame() if table is None else table.dropna(subset="kept_bets")
    if later.empty:
        return None
    means = later.drop(columns="date").mean()
    columns = [("expected", later), ("next", later.dropna(subset="next_gap")), ("kept", later),
               ("ceiling", later.dropna(subset="ceiling_gap"))]  # fmt: skip
    return {
        "decisions": len(later),
        "left_out": len(table) - len(later),
        "names": means["n_picks"],
        "bets": {name: means[key] for name, key in (
            ("expected", "expected_bets"), ("shown", "expected_bets_shown"), ("kept", "kept_bets"))},
        "sessions": (int(later["kept_sessions"].min()), int(later["kept_sessions"].max())),
        "ceilings": int(later["ceiling_gap"].notna().sum()),
        "rows": [(label, [_mean(of, f"{whose}_{key}") for whose, of in columns]) for label, key in PROMISED],
        "showed": [(label, means[key], form) for label, key, form in SHOWED],
    }  # fmt: skip


def _mean(table: pd.DataFrame, column: str) -> float | None:
    """None where there is no such figure."""
    return table[column].mean() if column in table else None


SECTION = Section(
    "promises", "Effective bets, promised and kept", Path(__file__).with_suffix(".html"), build, charts=charts,
    absent=absent, menu="Effective bets",
)  # fmt: skip
