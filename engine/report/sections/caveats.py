"""What a reader must know before believing the figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clusterfolio.engine.evidence.verdict import covered
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.run_dir.tables import ReportInputs

REVISED = (
    "The economic series count from the day they were published, but with the values as revised since: on that day "
    "another figure was read."
)


SCORED = (
    "A text counts from the first close after it. Texts are often collected and corrected later, and a language model "
    "may have been trained on what followed."
)


SURVIVORSHIP = (
    "The list of instruments was drawn up with today's knowledge. Names that failed or were delisted before are "
    "missing from it, so past returns look better than they could have been."
)


OURS = (
    ("Taxes", "Taxes on gains, dividends and transactions are not deducted. Dividends count as reinvested."),
    ("Fills", "Orders are decided after a close and filled at the next open, without moving the price."),
)

#: The same of a run that was made elsewhere and judged here.
ELSEWHERE = (
    ("Taxes", "Taxes are deducted only if the run did so; dividends count only if the prices or the run hold them."),
    ("Fills", "Orders filled as the run's own broker has it, without moving the price."),
)


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"caveats": caveats(inputs)}


def caveats(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What a reader must know before believing the figures: ``(heading, text)``."""
    run, symbols, metrics = inputs.run, inputs.symbols, inputs.metrics
    currencies = sorted(set(symbols.get("currency", pd.Series(dtype=str)).dropna()) - {"", run["currency"]})
    known = [
        (
            "Currency",
            f"Every figure is in {run['currency']} and unhedged."
            + (f" Prices quoted in {', '.join(currencies)} were converted daily." if currencies else ""),
        ),
        *(ELSEWHERE if run.get("judged") else OURS),
        ("One history", "One path of one market is one sample. A Sharpe ratio over few years has a wide error."),
    ]
    if "asset_class" in symbols and symbols["asset_class"].str.lower().isin({"forex", "fx", "currency"}).any():
        known.insert(
            2, ("No carry", "Forex positions earn the change of the rate only: no interest is paid on either leg.")
        )
    if inputs.config.get("inputs", {}).get("macro"):
        known.append(("Revised values", REVISED))
    if inputs.config.get("inputs", {}).get("sentiment"):
        known.append(("Scored texts", SCORED))
    if not metrics["strategy"]["costs"]["total"]:
        known.insert(0, ("No costs", "This run charged neither commission nor spread; a real account would pay both."))
    if run["simulated"]:
        known.insert(0, ("Simulated prices", "The market in this run is made up: it says nothing about real ones."))
    else:
        members = run.get("membership")
        known.insert(0, ("Survivorship", covered(members) if members else SURVIVORSHIP))
    return known


SECTION = Section("caveats", "Caveats", Path(__file__).with_suffix(".html"), build)
