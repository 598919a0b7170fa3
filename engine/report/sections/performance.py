"""How the account went, and how far below its last peak it stood."""

from __future__ import annotations

from pathlib import Path

import empyrical as ep
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """The section's pictures."""
    run = inputs.run
    start = min(inputs.weights.index[0], inputs.returns.index[0] - pd.Timedelta(days=1))
    return {
        "equity": plot_equity(inputs.returns, inputs.gross, run["capital"], start, run["currency"], run["benchmark"]),
        "drawdowns": plot_drawdowns(inputs.returns, run["benchmark"]),
    }


def plot_equity(
    returns: pd.DataFrame,
    gross: pd.Series,
    capital: float,
    start: pd.Timestamp,
    currency: str,
    benchmark: str,
    ax: Axes | None = None,
) -> Axes:
    """Account value by session, net and gross of costs, and the same capital in the benchmark."""
    ax = ax or plots.new_axes(10, 4.2)
    plots.style(ax, "Account value", f"Account value ({currency})")
    lines = (
        ("Strategy, before costs", gross, plots.GROSS, 1.2, "--"),
        (benchmark, returns["benchmark"], plots.BENCHMARK, 1.5, "-"),
        ("Strategy, net of costs", returns["strategy"], plots.STRATEGY, 2.1, "-"),
    )
    for name, series, color, width, style in lines:
        value = pd.concat([pd.Series({start: capital}), ep.cum_returns(series, starting_value=capital)])
        label = f"{name} ({value.iloc[-1] / capital - 1:+.1%})"
        ax.plot(value.index, value.to_numpy(), color=color, lw=width, ls=style, label=label)
    ax.axhline(capital, color=plots.MUTED, lw=0.8, zorder=0)
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


SECTION = Section("performance", "Performance", Path(__file__).with_suffix(".html"), draw=draw)
