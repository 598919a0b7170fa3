"""The verdict, and the figures behind it as rows for the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from clusterfolio.engine.evidence.assessment import STRATEGY
from clusterfolio.engine.evidence.headline import against
from clusterfolio.engine.evidence.phrases import number, p_value, signed
from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.charts import Lines, Panel, Series, Views
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.strategies.baselines.holds import HOLDS

#: What each policy in the table holds, in a few words.
MEANINGS = {STRATEGY: "the run that this report is about"} | HOLDS

PARTS = (
    ("market", "Market", "what the benchmark earned"),
    ("universe", "Choice of universe", "what holding every eligible asset equally earned beyond it"),
    ("clustering", "Clustering", "what one random asset of each cluster earned beyond that"),
    ("selection", "Selection", "what the picks earned beyond random ones"),
    ("cost", "Costs", "commission and half the spread"),
    ("total", "Total", "the account"),
)

#: Kinds of random portfolios: the question they answer, what they are, and the title of their picture.
LUCK = {
    "picks": (
        "Among random picks",
        "portfolios with one asset drawn by lot from each cluster",
        "A random member of each cluster",
    ),
    "partitions": (
        "Among random clusters",
        "portfolios that pick as the strategy does, from groups drawn by lot",
        "Its picks from random clusters",
    ),
    "names": (
        "Among random names",
        "portfolios of as many names drawn by lot, at its exposure and on its days",
        "As many random names, on its own days",
    ),
}

#: What differs where the strategy states no clusters.
EXPOSURE = {
    "universe": ("Choice of universe", "what holding every name equally earned beyond it"),
    "clustering": ("Exposure", "what as many random names at the strategy's own exposure earned beyond that"),
}


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"verdict": verdict_page(inputs.evidence, inputs.baselines)}


def draw(inputs: ReportInputs) -> dict[str, Axes]:
    """Where the strategy lies among random portfolios, if any were drawn."""
    if inputs.luck is None or inputs.luck.empty:
        return {}
    return {"luck": plot_luck(inputs.luck, inputs.evidence["luck"])}


def absent(inputs: ReportInputs) -> str:
    """Why there is no such section."""
    return "" if inputs.evidence else "not worked out: `clusterfolio significance RUN_DIR` does it"


def charts(inputs: ReportInputs) -> dict[str, Views]:
    """The same in the browser, a view per kind of random portfolio."""
    if inputs.luck is None or inputs.luck.empty:
        return {}
    places = inputs.evidence["luck"]
    kinds = [kind for kind in LUCK if kind in places]
    said = " ".join(
        f"By total return it beats {places[kind]['total_return']['percentile']:.0%} of {places[kind]['portfolios']:,} "
        f"{LUCK[kind][1]}." for kind in kinds
    )  # fmt: skip
    views = {LUCK[kind][2]: _histogram(inputs.luck, kind, places[kind]["total_return"], said) for kind in kinds}
    return {"luck": Views("Where the strategy lies among portfolios drawn by lot", said, views)}


def _histogram(luck: pd.DataFrame, kind: str, own: dict, said: str) -> Lines:
    drawn = luck.loc[luck["kind"] == kind, "total_return"].to_numpy(dtype=float)
    counts, edges = np.histogram(drawn, bins=40)
    bars = Series("Portfolios", counts, "gross", "bar")
    return Lines(
        LUCK[kind][2], said, 100 * (edges[:-1] + edges[1:]) / 2, (Panel(f"Portfolios (of {len(drawn):,})", [bars]),),
        x_label="Total return over the run, before costs (%)",
        marks=[(100 * own["own"], f"strategy {signed(own['own'])}, better than {own['percentile']:.0%}")],
    )  # fmt: skip


def verdict_page(evidence: dict | None, baselines: pd.DataFrame | None) -> dict | None:
    """What the template ``verdict.html`` shows; None where the run was not assessed.

    Args:
        evidence: the content of significance.json.
        baselines: the content of baselines.csv, indexed by policy.
    """
    if evidence is None:
        return None
    return {
        "words": evidence["verdict"],
        "parts": _parts(evidence),
        "table": _table(baselines, evidence),
        "tests": [row for make in (_picking, _luck, _further, _account, _many) for row in make(evidence)],
        "robust": [
            row for make in (_exposure, _days, _seeds, _ranks, _factors, _costs, _room) for row in make(evidence)
        ],
        "years": evidence.get("years_apart", []),
        "benchmark": evidence.get("benchmark", ""),
    }


def _parts(evidence: dict) -> list[tuple[str, str, str]]:
    if not evidence["parts"]:
        return []
    others = EXPOSURE if "names" in evidence.get("luck", {}) else {}
    named = [(name, *others.get(name, (label, meaning))) for name, label, meaning in PARTS]
    return [(label, signed(evidence["parts"][name]), meaning) for name, label, meaning in named]


def _table(baselines: pd.DataFrame | None, evidence: dict) -> list[dict]:
    rows = []
    for name, row in (baselines if baselines is not None else pd.DataFrame()).iterrows():
        meaning = MEANINGS.get(name, "the market, bought and held" if name.startswith("benchmark") else "")
        rows.append(
            {"policy": name, "meaning": meaning, "own": name == STRATEGY} | row.where(row.notna(), None).to_dict()
        )
    return rows


def _picking(evidence: dict) -> list[tuple[str, str, str]]:
    test = evidence["primary"]
    if test is None:
        return []
    trials = evidence["trials"]["count"]
    many = f"; {p_value(test['p_adjusted'])} as the best of {trials} trials" if trials > 1 else ""
    return [
        (
            "Skill at picking (decides the verdict)",
            f"p = {p_value(test['p'])}{many}",
            "The larger p of the next two rows: how often luck alone does at least as well. At 0.05 or less, with all "
            "trials on record counted, the verdict speaks of evidence.",
        ),
        (
            "At equal exposure",
            f"{signed(test['alpha_year'])} a year, p = {p_value(test.get('p_alpha', test['p']))}",
            f"Return beyond {against(evidence).mean}, at the same exposure to it and before costs on both sides. "
            f"Newey-West errors; information ratio {number(test['information_ratio'])}, beta {number(test['beta'])}.",
        ),
        *_plainly(test),
        (
            "At equal exposure, after the run's costs",
            f"{signed(test['net_alpha_year'])} a year",
            "What is left of it once the run's own trading is paid for.",
        ),
    ]


def _plainly(test: dict) -> list[tuple[str, str, str]]:
    if "p_difference" not in test:  # a run assessed before it was tested
        return []
    return [
        (
            "The plain difference",
            f"{signed(test['difference_year'])} a year, p = {p_value(test['p_difference'])}",
            "Without regard to exposure. Where calm and wild names earn the same, calm ones earn more than their "
            "exposure gives, and that is no skill: so this must pass the test too.",
        )
    ]


def _luck(evidence: dict) -> list[tuple[str, str, str]]:
    rows = []
    for kind, (label, what, _) in LUCK.items():
        found = evidence.get("luck", {}).get(kind)
        if found:
            rows.append(
                (
                    label,
                    f"better than {found['total_return']['percentile']:.0%} by return, "
                    f"{found['sharpe']['percentile']:.0%} by Sharpe ratio",
                    f"Of {found['portfolios']:,} {what}, all before costs.",
                )
            )
    return rows


def _further(evidence: dict) -> list[tuple[str, str, str]]:
    return [
        (
            f"Against {row['claim']}" + (f": {row['rival']}" if row["rival"] != row["claim"] else ""),
            f"Sharpe ratio {signed_number(row['difference'])} ({number(row['low'])} to {number(row['high'])}), "
            f"p = {p_value(row['p'])}; {p_value(row['p_adjusted'])} adjusted",
            "Difference of the Sharpe ratios after costs, with its 95 % interval (studentised block bootstrap). p is "
            "that of this claim alone; adjusted, it allows for all trials on record and for these claims being several "
            "(Holm), and decides.",
        )
        for row in evidence["claims"]
    ]


def _account(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence["sharpe"]
    if not found:
        return []
    length = "never" if found["years_needed"] is None else f"{found['years_needed']:.1f} years"
    return [
        (
            "Sharpe ratio of the account over cash" + (", in divisible shares" if evidence.get("divisible") else ""),
            f"{number(found['sharpe_year'])} ± {number(found['error_year'])}",
            "± is one standard error; skewness and fat tails are allowed for.",
        ),
        (
            "Probability that it is truly above 0",
            f"{found['probabilistic']:.1%}; {found['deflated']:.1%} after all trials",
            "Probabilistic and deflated Sharpe ratio. The best of the trials on record would show "
            f"{number(found['expected_maximum_year'])} by luck alone.",
        ),
        (
            "Record needed to believe it",
            length,
            "Minimum track record length: how long an account like this must run until a Sharpe ratio above 0 is 95 % "
            "certain.",
        ),
    ]


def _many(evidence: dict) -> list[tuple[str, str, str]]:
    rows, pbo = [], evidence["overfitting"]
    if pbo:
        rows.append(
            (
                "Does the best stay the best?",
                f"not in {pbo['probability']:.0%} of {pbo['splits']:,} splits",
                f"The record is halved in every way of {pbo['blocks']} blocks; how often the best of "
                f"{pbo['candidates']} candidates (trials and baselines) in one half is below the middle in the other "
                "(PBO). Half the time is what pure chance does.",
            )
        )
    for name, p in (evidence["snooping"] or {}).items():
        rows.append(
            (
                name[0].upper() + name[1:] + "?",
                f"p = {p_value(p['consistent'])}",
                "Hansen's test of superior predictive ability, by mean return: small where the best of them is better "
                f"by more than searching explains. White's reality check: {p_value(p['upper'])}.",
            )
        )
    return rows


def _exposure(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("exposure")
    if not found:
        return []
    return [
        (
            "What was at stake",
            f"{found['average']:.0%} of the account on average, in {found['held']:.1f} names",
            f"Short positions count as negative. {found['positions']:,} positions were opened; fills at other prices "
            f"than the open or the close made {signed(found['elsewhere_year'])} a year of the return before costs.",
        )
    ]


def _days(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("rebalance_days")
    if not found:
        return []
    own, totals = found["total_return"][0], sorted(found["total_return"])
    what = "Clusters are those of the decision before; who wins in them is chosen anew."
    if evidence.get("exposure"):
        what = "What was decided is held as it was, only later."
    return [
        (
            "Luck of the rebalance day",
            f"{signed(totals[0])} to {signed(totals[-1])}, the run's own {signed(own)}",
            f"Total return had every decision fallen 0 to {found['offsets'][-1]} sessions later, over the "
            f"{found['sessions']:,} sessions all share, before costs. {what} The spread is noise that no rule "
            "controls.",
        )
    ]


def _seeds(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("seeds")
    if not found or found["seeds"] < 2:
        return []
    total, shared = found["total_return"], found["overlap"]
    return [
        (
            "Luck of the training seed",
            f"{signed(total['low'])} to {signed(total['high'])} over {found['seeds']} seeds",
            f"Total return of the same settings with other seeds, mean {signed(total['mean'])}, spread "
            f"{total['spread'] * 100:.1f} %."
            + (f" Their picks overlap by {shared:.0%}." if shared is not None else ""),
        )
    ]


def _ranks(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("rank_ic")
    if not found or found["mean"] is None:
        return []
    p = "" if found["p"] is None else f", p = {p_value(found['p'])}"
    return [
        (
            "Do Sharpe ratios last inside clusters?",
            f"rank correlation {number(found['mean'])}{p}",
            f"Of the Sharpe ratio ranked by with the return until the next decision, mean of {found['decisions']} "
            "decisions: 1 = the order stays, 0 = the past says nothing.",
        )
    ]


def _factors(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("factors")
    if not found:
        return []
    betas = ", ".join(f"{name} {number(beta)}" for name, beta in found["betas"].items())
    return [
        (
            "Alpha against factors",
            f"{signed(found['alpha_year'])} a year, p = {p_value(found['p'])}",
            f"After costs; not part of the verdict and not adjusted. Factors from the run's own assets, and exposures: "
            f"{betas}.",
        )
    ]


def _costs(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("costs")
    if not found or found["paid_bps"] is None:
        return []
    limits = "; ".join(
        f"{name} {bps:.0f}" if bps > 0 else f"{name} none"
        for name, bps in found["break_even_bps"].items()
        if bps is not None
    )
    return [
        (
            "Cost that would eat it up",
            limits,
            f"Basis points per unit of value traded at which the lead over each is gone (none: there is no lead); the "
            f"run paid {found['paid_bps']:.1f} on {found['traded_year']:.1f} times the account a year.",
        )
    ]


def _room(evidence: dict) -> list[tuple[str, str, str]]:
    found = evidence.get("capacity")
    if not found or not found["orders"]:
        return []
    sizes = ", ".join(f"{row['share']:.0%}: {row['p95']:,.0f}" for row in found["shares"] if row["p95"])
    unknown = sum(found["unknown"].values())
    return [
        (
            f"Room, in {evidence['currency']}",
            sizes,
            "Starting capital at which 95 % of the orders stay under this share of the value traded that day."
            + (f" {unknown} orders in assets without volume are not counted." if unknown else ""),
        )
    ]


def signed_number(value: float) -> str:
    """Two decimals, with a sign.

    >>> signed_number(0.123), signed_number(-0.123)
    ('+0.12', '−0.12')
    """
    return f"{value:+.2f}".replace("-", "−")


def plot_luck(luck: pd.DataFrame, places: dict, axes: list[Axes] | None = None) -> Axes:
    """Where the strategy's total return lies among those of random portfolios, a panel per kind.

    Args:
        luck: columns ``kind`` and ``total_return``.
        places: by kind, the strategy's own ``total_return`` and its percentile (``engine.evidence.assessment.places``).

    Returns:
        The first panel.
    """
    kinds = [kind for kind in LUCK if kind in places]
    if axes is None:
        figure = Figure(figsize=(10, 3.3), layout="constrained")
        axes = list(figure.subplots(1, len(kinds), sharex=True, squeeze=False)[0])
    for ax, kind in zip(axes, kinds, strict=True):
        drawn = luck.loc[luck["kind"] == kind, "total_return"].to_numpy(dtype=float)
        own = places[kind]["total_return"]
        beaten = own["percentile"]
        plots.style(ax, LUCK[kind][2], f"Portfolios (of {len(drawn):,})")
        ax.hist(drawn, bins=40, color=plots.GROSS, edgecolor="white", lw=0.3)
        ax.set_ylim(top=ax.get_ylim()[1] * 1.4)  # room for the label above the bars
        ax.axvline(own["own"], color=plots.LOSS, lw=2)
        left = own["own"] > np.mean(ax.get_xlim())
        ax.annotate(
            f"strategy {own['own']:+.1%}\nbetter than {beaten:.0%}", (own["own"], 0.97), xytext=(-6 if left else 6, 0),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if left else "left", va="top",
            fontsize=9.5, color=plots.LOSS, weight="bold", bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
        )  # fmt: skip
        ax.set_xlabel("Total return over the run, before costs (%)", fontsize=9, color=plots.MUTED)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return axes[0]


SECTION = Section(
    "verdict", "Can it be believed?", Path(__file__).with_suffix(".html"), build, draw, charts, absent, menu="Evidence"
)
