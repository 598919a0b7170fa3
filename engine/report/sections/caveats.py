"""What a reader must know before believing the figures, each matter once."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.evidence.caveats import data_caveats
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


TAXES = "Taxes on gains, dividends and transactions are not deducted. Dividends "

#: The same of a run that was made elsewhere and judged here.
ELSEWHERE = (
    ("Taxes", "Taxes are deducted only if the run did so; dividends count only if the prices or the run hold them."),
    ("Fills", "Orders filled as the run's own broker has it, without moving the price."),
)


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"caveats": caveats(inputs)}


def caveats(inputs: ReportInputs) -> list[tuple[str, str]]:
    """``(heading, text)``: those of the verdict, or of the data where there is none, and what holds for any run."""
    if inputs.evidence is not None:
        known = [(heading, text) for heading, text in inputs.evidence["verdict"]["caveats"]]
    else:
        known = data_caveats(inputs.run, inputs.symbols, inputs.metrics)
    return known + _of_any_run(inputs)


#: Headings of what weighs most, the heaviest first; a made-up market says what it is at the top of every page.
WEIGHT = (
    "Execution lag", "Ledger not whole", "Trials not counted", "No leakage check", "Cheat on close", "Survivorship",
    "No costs", "Trials", "One history", "One training seed", "Guard", "Benchmark", "Currency", "Costs",
)  # fmt: skip

#: Letters of the weightiest caveat on the first screen.
LONGEST = 190


def weightiest(known: list[tuple[str, str]]) -> dict:
    """The caveat that weighs most, in its first sentences; the next two by name; and how many there are.

    >>> weightiest([("Costs", "Estimates. All of them."), ("Survivorship", "None failed. Odd."), ("Taxes", "No.")])
    {'heading': 'survivorship', 'first': 'None failed. Odd.', 'others': ['costs', 'taxes'], 'count': 3}
    """
    ordered = sorted(known, key=lambda one: WEIGHT.index(one[0]) if one[0] in WEIGHT else len(WEIGHT))
    heading, *others = (one[0].lower() + one[1:] for one, _ in ordered[:3])
    first, *rest = ordered[0][1].removesuffix(".").split(". ")
    for sentence in rest:
        if len(first) + len(sentence) > LONGEST:
            break
        first += f". {sentence}"
    return {"heading": heading, "first": f"{first}.", "others": others, "count": len(known)}


def _of_any_run(inputs: ReportInputs) -> list[tuple[str, str]]:
    symbols, beside = inputs.symbols, inputs.config.get("inputs", {})
    whole = inputs.config.get("trading", {}).get("fractional") is False
    taxes = TAXES + ("go to cash, as shares are whole." if whole else "count as reinvested.")
    ours = (("Taxes", taxes), ("Fills", fills(inputs.run.get("universe") or {})))
    known = list(ELSEWHERE if inputs.run.get("judged") else ours)
    if "asset_class" in symbols and symbols["asset_class"].str.lower().isin({"forex", "fx", "currency"}).any():
        known.append(("No carry", "Forex positions earn the change of the rate only, no interest on either leg."))
    known.append(
        ("One history", "One path of one market is one sample. A Sharpe ratio over few years has a wide error.")
    )
    if beside.get("macro"):
        known.append(("Revised values", REVISED))
    if beside.get("sentiment"):
        known.append(("Scored texts", SCORED))
    return known


def fills(universe: dict) -> str:
    """Where orders fill, as far as the prices have opens: ``universe`` as in run.json."""
    closes, tradable = universe.get("closes_only", 0), universe.get("tradable", 0)
    said = "Orders are decided after a close and filled at the next {}, without moving the price{}."
    if closes and closes == tradable:
        return said.format("one", ": no opens are known")
    return said.format("open", f"; {closes} of {tradable} symbols have closes only" if closes else "")


SECTION = Section("caveats", "Caveats", Path(__file__).with_suffix(".html"), build)
