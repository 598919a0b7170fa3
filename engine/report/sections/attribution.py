"""What made and lost the money: by name, class and cluster, and over the deepest falls."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.evidence.contributions import Fall, by_cluster, by_group, earned, falls
from clusterfolio.engine.report.layout.charts import Column, Lines, Panel, Series, Table
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import money, percent
from clusterfolio.engine.run_dir.tables import ReportInputs

#: Names on each side of the chart, and of a fall.
TOP, OF_A_FALL = 10, 3


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    made = earned(inputs.positions, inputs.transactions)
    start = float(inputs.run["capital"])
    classes = by_group(made, _known(inputs, "asset_class"))
    return {
        "classes": [(_words(name), amount, amount / start) for name, amount in classes.items()],
        "falls": [
            (whose, [_fall(one) for one in falls(inputs.returns, inputs.positions, made, of)])
            for of, whose in (("strategy", "The strategy"), ("benchmark", inputs.run["benchmark"]))
        ],
        "most": OF_A_FALL,
        "total": float(made.to_numpy().sum()),
    }


def charts(inputs: ReportInputs) -> dict[str, Lines | Table]:
    """Names that made and lost most, as bars; all of them, and the clusters, as tables to sort."""
    money_made = earned(inputs.positions, inputs.transactions)
    made = money_made.sum().drop("cash")
    held = made[(inputs.positions[made.index] != 0).any()].sort_values(ascending=False, kind="stable")
    if held.empty:
        return {}
    currency, best, worst = inputs.run["currency"], held.index[0], held.index[-1]
    finding = (
        f"Of {len(held)} names held {best} earned most, {currency} {money(held[best])}, and {worst} least, "
        f"{currency} {money(held[worst])}, after the costs of their trades."
    )
    drawn: dict[str, Lines | Table] = {
        "contributors": _contributors(held, currency, finding),
        "names": _names(held, inputs, finding),
    }
    if len(found := by_cluster(money_made, inputs.clusters).drop("cash")):
        drawn["by_cluster"] = _clusters(found, inputs)
    return drawn


def _contributors(held: pd.Series, currency: str, finding: str) -> Lines:
    """A bar for each of the names that earned most and least."""
    shown = held if len(held) <= 2 * TOP else pd.concat([held.iloc[:TOP], held.iloc[-TOP:]])
    gained, lost = (shown.where(side).to_numpy() for side in (shown >= 0, shown < 0))
    bars = (Series("Gained", gained, "strategy", "bar"), Series("Lost", lost, "bad", "bar"))
    title = "Contributors and detractors" + (f", the {TOP} largest of each" if len(held) > len(shown) else "")
    panel = Panel(f"Earned after costs ({currency})", bars, "money", stacked=True)
    return Lines(title, finding, [str(name) for name in shown.index], (panel,), height=300)


def _names(held: pd.Series, inputs: ReportInputs, finding: str) -> Table:
    """What each name earned, the best first."""
    currency, start = inputs.run["currency"], float(inputs.run["capital"])
    last = inputs.clusters.drop_duplicates("symbol", keep="last").set_index("symbol")["cluster"]
    columns = (
        Column("Symbol"), Column("Name", wrap=True), Column("Asset class"), Column("Cluster, last", "count"),
        Column(f"Earned ({currency})", "money"), Column("Of the capital", "percent"), Column("Sessions held", "count"),
    )  # fmt: skip
    names, classes = _known(inputs, "name"), _known(inputs, "asset_class")
    sessions = (inputs.positions[held.index] != 0).sum()
    rows = [
        (one, names.get(one, ""), _words(classes.get(one, "")), last.get(one), amount, amount / start, sessions[one])
        for one, amount in held.items()
    ]
    return Table("Every name that was held", finding, columns, rows, shown=6)


def _clusters(found: pd.Series, inputs: ReportInputs) -> Table:
    """What each cluster earned, the best first."""
    currency, start = inputs.run["currency"], float(inputs.run["capital"])
    columns = (Column("Cluster"), Column(f"Earned ({currency})", "money"), Column("Of the capital", "percent"))
    rows = [(str(name), amount, amount / start) for name, amount in found.items()]
    best, worst = (f"{name}, {currency} {money(amount)}" for name, amount, _ in (rows[0], rows[-1]))
    finding = f"The cluster that earned most: {best}; least: {worst}."
    return Table("By cluster", finding, columns, rows, shown=7)


def _fall(fall: Fall) -> dict:
    """A fall, as the template shows it."""
    return {
        "first": fall.first.date(),
        "last": fall.last.date(),
        "strategy": fall.strategy,
        "benchmark": fall.benchmark,
        "held": ", ".join(f"{name} {percent(share)}" for name, share in fall.held.iloc[:OF_A_FALL].items()),
        "names": len(fall.held),
        "lost": ", ".join(
            f"{name} {money(amount)}" for name, amount in fall.earned.iloc[:OF_A_FALL].items() if amount < 0
        ),
    }


def _known(inputs: ReportInputs, column: str) -> pd.Series:
    return inputs.symbols.get(column, pd.Series(dtype=object)).fillna("").astype(str)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


SECTION = Section(
    "attribution", "What made and lost the money", Path(__file__).with_suffix(".html"), build, charts=charts,
    menu="Attribution",
)  # fmt: skip
