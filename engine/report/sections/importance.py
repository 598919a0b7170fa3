"""What the page says of what the embedding looks at: shares by channel and by bars back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.report.layout.charts import Lines, Panel, Series, Views
from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.report.layout.text import percent
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.strategies.passports.importance import WHOLE_BAR

TITLES = {"selection": "the encoder's own weights", "gradients": "integrated gradients"}


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"importance": importance_page(inputs.importance)}


def charts(inputs: ReportInputs) -> dict[str, Views]:
    """Shares by bars back, a layer per indicator; a view per method, and attention by bar."""
    table = inputs.importance
    views = {TITLES[method]: _layers(grid(table, method)) for method in TITLES if (table["method"] == method).any()}
    attention = table[table["method"] == "attention"].set_index("bars_back")["share"].sort_index(ascending=False)
    if len(attention):
        views["attention"] = _layers(attention.to_frame("attention on each bar, mean of the heads"))
    page = importance_page(table)
    said = f"{percent(page['recent'], 0)} of the embedding lies on the last five of {page['lookback']} bars."
    return {"importance": Views("Share of the embedding by bars back", said, views)}


def _layers(found: pd.DataFrame) -> Lines:
    layers = [Series(label(name), found[name], "", "bar") for name in found]
    bars = [str(back) for back in found.index]
    panel = Panel("Share (%)", layers, "percent", stacked=True)
    return Lines("", "", bars, (panel,), x_label="Bars back, 0 = the last")


def absent(inputs: ReportInputs) -> str:
    """Why there is no such section."""
    recorded = inputs.importance is not None and len(inputs.importance)
    return without_clusters(inputs) or ("" if recorded else "the run recorded none")


def importance_page(table: pd.DataFrame) -> dict:
    """What the section says.

    Args:
        table: as ``strategies.passports.importance.importance_table`` makes it, read back from the file.
    """
    methods = [method for method in TITLES if (table["method"] == method).any()]
    grids = {method: grid(table, method) for method in methods}
    by_channel = pd.DataFrame({method: found.sum() for method, found in grids.items()})
    by_channel = by_channel.sort_values(methods[0], ascending=False, kind="stable")
    recent = grids["gradients"].loc[lambda found: found.index < 5].to_numpy().sum()
    return {
        "methods": [TITLES[method] for method in methods],
        "rows": [(label(channel), list(row)) for channel, row in by_channel.iterrows()],
        "lookback": len(grids["gradients"]),
        "recent": recent,
        "attends": bool((table["method"] == "attention").any()),
    }


def grid(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """A method's shares: a row per bar, the oldest first, a column per channel in the file's order."""
    rows = table[table["method"] == method]
    wide = rows.pivot_table(index="bars_back", columns="channel", values="share", sort=False)
    return wide.sort_index(ascending=False)


def label(channel: str) -> str:
    """A channel's name as words; the name of a series stays.

    >>> label("log_volume_change"), label("rsi"), label("VIXCLS")
    ('log volume change', 'RSI', 'VIXCLS')
    """
    return {"rsi": "RSI", "macd_diff": "MACD difference", WHOLE_BAR: "attention"}.get(
        channel, channel.replace("_", " ") if channel.islower() else channel
    )


SECTION = Section(
    "importance",
    "What the embedding looks at",
    Path(__file__).with_suffix(".html"),
    build,
    charts=charts,
    absent=absent,
)
