"""The first screen: the verdict in a sentence, five figures beside the benchmark's, and how the account went."""

from __future__ import annotations

from pathlib import Path

import empyrical as ep
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from clusterfolio.engine.config.policies import BUILT_IN
from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.charts import Lines, Panel, Series
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import number, percent
from clusterfolio.engine.report.sections.answers import answers
from clusterfolio.engine.report.sections.caveats import caveats, weightiest
from clusterfolio.engine.run_dir.tables import ReportInputs

#: The five figures: what they are called, their key in ``metrics.json``, and how they are written.
FIGURES = (
    ("Total return", "total_return", percent),
    ("Return per year", "cagr", percent),
    ("Volatility", "volatility", percent),
    ("Sharpe ratio", "sharpe", number),
    ("Deepest drawdown", "max_drawdown", percent),
)


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    words = (inputs.evidence or {}).get("verdict")
    own, other = inputs.metrics["strategy"], inputs.metrics["benchmark"]
    return {
        "sentence": words["headline"].partition(": ") if words else None,
        "figures": [(label, write(own[key]), write(other[key])) for label, key, write in FIGURES],
        "sessions": len(inputs.returns),
        "strategy": strategy_words(inputs),
        "answers": answers(inputs),
        "caveat": weightiest(caveats(inputs)),
    }


def strategy_words(inputs: ReportInputs) -> str:
    """What a policy of clusters does, in a sentence; "" of any other."""
    config = inputs.config
    if inputs.clusters.empty or inputs.run.get("policy") not in BUILT_IN:
        return ""
    embedding, clustering, selection = (config.get(name, {}) for name in ("embedding", "clustering", "selection"))
    drawn = {
        "search": "searched for what is alike inside and has little in common across",
        "last": "drawn from the trained encoder's embedding of the last days",
        "trajectory": "drawn from the trained encoder's embeddings",
    }.get(embedding.get("kind", ""), "drawn from their returns")
    held = "names chosen together" if selection.get("by") == "joint" else "the best trailing Sharpe ratio of each"
    return (
        f"{clustering.get('n_clusters', 'Some')} clusters of the assets, {drawn}; held is {held}, "
        f"looked at anew every {config.get('trading', {}).get('rebalance', 'month')}."
    )


def css_class(inputs: ReportInputs) -> str:
    """Marked where the verdict claims anything."""
    return "claim" if inputs.evidence and inputs.evidence["verdict"]["claim"] else ""


def account(inputs: ReportInputs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Value of the account and depth below its last peak, by day from the capital's on; a column for each curve."""
    start = min(inputs.weights.index[0], inputs.returns.index[0] - pd.Timedelta(days=1))
    daily = inputs.returns.assign(gross=inputs.gross)
    capital = inputs.run["capital"]
    value = daily.apply(ep.cum_returns, starting_value=capital)
    value = pd.concat([pd.DataFrame(float(capital), pd.DatetimeIndex([start]), value.columns), value])
    return value, value / value.cummax() - 1


def charts(inputs: ReportInputs) -> dict[str, Lines]:
    """The account against the benchmark, and drawdown under it."""
    (value, depth), other = account(inputs), inputs.run["benchmark"]
    names = (
        ("gross", "Before costs", "gross"),
        ("benchmark", other, "benchmark"),
        ("strategy", "Strategy", "strategy"),
    )
    fallen = [Series(name, depth[key], role, "area" if key == "strategy" else "line") for key, name, role in names[1:]]
    panels = (
        Panel(
            f"Account value ({inputs.run['currency']})", [Series(name, value[key], role) for key, name, role in names],
            "money", log=True, growth=True, share=2.3,
        ),
        Panel("Below the last peak", fallen, "percent"),
    )  # fmt: skip
    return {"account": Lines(TITLE, finding(inputs), value.index, panels, height=370)}


#: Above the chart.
TITLE = "The account, net of costs, and its drawdown"


def finding(inputs: ReportInputs) -> str:
    """What the chart shows, in a sentence."""
    own, other, name = inputs.metrics["strategy"], inputs.metrics["benchmark"], inputs.run["benchmark"]
    first, last = (f"{day:%Y-%m-%d}" for day in inputs.returns.index[[0, -1]])
    return (
        f"From {first} to {last} the account made {percent(own['total_return'])} net of costs, {name} "
        f"{percent(other['total_return'])}; their deepest drawdowns were {percent(own['max_drawdown'])} and "
        f"{percent(other['max_drawdown'])}."
    )


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """The same as a picture."""
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(2.3, 1), sharex=True)
    value, _ = account(inputs)
    plot_equity(value, inputs.run["currency"], inputs.run["benchmark"], above)
    plot_drawdowns(inputs.returns, inputs.run["benchmark"], below)
    return {"account": above}


def plot_equity(value: pd.DataFrame, currency: str, benchmark: str, ax: Axes | None = None) -> Axes:
    """Account value by session, net and gross of costs, and the same capital in the benchmark (``account``)."""
    ax = ax or plots.new_axes(10, 4.2)
    plots.style(ax, "Account value", f"Account value ({currency})")
    lines = (
        ("Strategy, before costs", "gross", plots.GROSS, 1.2, "--"),
        (benchmark, "benchmark", plots.BENCHMARK, 1.5, "-"),
        ("Strategy, net of costs", "strategy", plots.STRATEGY, 2.1, "-"),
    )
    for name, key, color, width, style in lines:
        label = f"{name} ({value[key].iloc[-1] / value[key].iloc[0] - 1:+.1%})"
        ax.plot(value.index, value[key].to_numpy(), color=color, lw=width, ls=style, label=label)
    ax.axhline(value["strategy"].iloc[0], color=plots.MUTED, lw=0.8, zorder=0)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    plots.date_axis(ax)
    plots.legend(ax, loc="upper left")
    return ax


def plot_drawdowns(returns: pd.DataFrame, benchmark: str, ax: Axes | None = None) -> Axes:
    """How far below its last peak each of the two stood, by session."""
    ax = ax or plots.new_axes(10, 2.8)
    plots.style(ax, "Drawdown", "Below the last peak (%)")
    depth = {name: _drawdown(returns[name]) for name in ("strategy", "benchmark")}
    ax.fill_between(depth["strategy"].index, depth["strategy"].to_numpy(), 0, color=plots.STRATEGY, alpha=0.25, lw=0)
    ax.plot(depth["strategy"].index, depth["strategy"].to_numpy(), color=plots.STRATEGY, lw=1.4, label="Strategy")
    ax.plot(depth["benchmark"].index, depth["benchmark"].to_numpy(), color=plots.BENCHMARK, lw=1.2, label=benchmark)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if min(map(min, depth.values())) < -0.04 else 1))
    plots.date_axis(ax)
    plots.legend(ax, loc="lower left")
    return ax


def _drawdown(returns: pd.Series) -> pd.Series:
    wealth = ep.cum_returns(returns, starting_value=1.0)
    return wealth / wealth.cummax().clip(lower=1.0) - 1


SECTION = Section("summary", "Summary", Path(__file__).with_suffix(".html"), build, draw, charts, css_class=css_class)
