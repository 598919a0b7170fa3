"""What the one test that decides found, in words: the headline of a verdict, and how it was reached.

"At equal exposure" is the alpha; the plain difference stands beside it wherever it is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from clusterfolio.engine.evidence.phrases import number, often, p_value, signed, span

#: A beta to the comparator under which picks are called calm.
CALMER = 0.95


@dataclass(frozen=True)
class Against:
    """How a test's two sides are spoken of.

    Attributes:
        mine: what is tested, as the subject of a sentence.
        theirs: what it is tested against.
        mean: what that earns in the mean, as the comparator of the test.
        skill: what there would be skill at.
        tilt: what it means when the first did better at equal exposure only and has a low ``{beta}``.
    """

    mine: str
    theirs: str
    mean: str
    skill: str
    tilt: str = (
        "What was picked moves less than the others (beta {beta}): that is a tilt to calm names, and no skill at "
        "picking."
    )


def against(evidence: dict) -> Against:
    """What the primary test is against, in words.

    >>> against({}).theirs, against({"comparator": {"kind": "holding", "pool": "SPY"}}).theirs
    ('random picks from the same clusters', 'holding SPY')
    """
    found = evidence.get("comparator", {"kind": "clusters"})
    kind, pool = found["kind"], found.get("pool", "")
    if kind == "holding":
        return Against(
            "its entries and exits",
            f"holding {pool}",
            f"holding {pool} all the time",
            f"entering and leaving {pool}",
            "It was invested on calmer days than others (beta {beta}): that is less risk, and no more return.",
        )
    if kind == "names":
        return Against(
            "the picks",
            f"random names of {pool}, as many as it held",
            f"the mean of all portfolios of as many names of {pool}, on the same days",
            f"picking from {pool}",
        )
    return Against(
        "the picks",
        "random picks from the same clusters",
        "the average member of the same clusters",
        "picking from clusters",
    )


def headline(evidence: dict) -> str:
    """The verdict in one sentence."""
    test = evidence["primary"]
    market = "In this made-up market there is" if evidence.get("simulated") else "There is"
    if test is None:
        why = evidence.get("missing", {}).get("all tests", "nothing was held that could be told from a random pick")
        return f"Not judged: {why}."
    sides, over = against(evidence), span(evidence["years"])
    if not test["found"]:
        return f"{market} no evidence of skill: over {over} {_not_found(test, sides, evidence['level'])}"
    if evidence.get("survivors") and evidence.get("comparator", {}).get("kind") != "holding":
        market = "Among names known to have survived there is"
    return (
        f"{market} evidence of skill: over {over} {sides.mine} earned {signed(test['alpha_year'])} a year more than "
        f"{sides.theirs} at equal exposure, and {signed(test['difference_year'])} plainly."
    )


def _not_found(test: dict, sides: Against, level: float) -> str:
    """What was seen instead of skill; "earned more" is said only where the plain difference is above 0 too."""
    alpha, plain = test["alpha_year"], test["difference_year"]
    if alpha <= 0:
        return (
            f"{sides.mine} earned no more at equal exposure than {sides.theirs} ({signed(alpha)} a year; plainly "
            f"{signed(plain)})."
        )
    tilt = f" {sides.tilt.format(beta=number(test['beta']))}" if test["beta"] < CALMER else ""
    if plain <= 0:
        why = tilt if test["p_alpha"] <= level else f" Luck alone does as well as that {by_luck(test)}."
        return (
            f"at equal exposure {sides.mine} did better than {sides.theirs} by {signed(alpha)} a year, but plainly no "
            f"more was earned ({signed(plain)} a year).{why}"
        )
    earned = f"{sides.mine} earned {signed(alpha)} a year more than {sides.theirs} at equal exposure"
    if test["p_alpha"] <= level < test["p_difference"]:
        return f"{earned}, but {signed(plain)} plainly, which luck alone gives {often(test['p_difference'])}.{tilt}"
    return f"{earned} and {signed(plain)} plainly, and luck alone does as well as that {by_luck(test)}."


def by_luck(test: dict) -> str:
    """How often luck does as well: in one trial, and in the best of all that are on record."""
    once, best = often(test["p"]), often(test["p_adjusted"])
    return once if once == best else f"{once}, and in the best of the trials on record {best}"


def reading(evidence: dict) -> str:
    """How it was found."""
    own = " This run was not counted among your trials." if evidence["trials"].get("uncounted") else ""
    return _tested(evidence) + own


def _tested(evidence: dict) -> str:
    test, trials = evidence["primary"], evidence["trials"]
    if test is None:
        return "No test was made, so nothing is claimed."
    text = (
        f"The test was fixed beforehand: alpha against {against(evidence).mean}, at equal exposure and equal costs, "
        f"and the plain difference, both one-sided at {evidence['level'] * 100:.0f} %: p = {p_value(test['p_alpha'])} "
        f"and {p_value(test['p_difference'])}; the larger counts"
    )
    if trials["count"] > 1:
        text += (
            f", and is {p_value(test['p_adjusted'])} as the best of {trials['count']} trials on record, which are "
            f"worth {trials['effective']:.1f} independent ones"
        )
    low, high = signed(test["low_year"]), signed(test["high_year"])
    text += f". The true figure at equal exposure lies between {low} and {high} a year with 95 % confidence."
    if test["found"] and test["trials_borne"] is not None:
        text += f" The claim bears {test['trials_borne']:,.1f} independent trials in all, and falls with more."
    return text


def p_values(test: dict) -> str:
    """The p-value of one trial, and that of the best of all on record where it is another."""
    once, best = p_value(test["p"]), p_value(test["p_adjusted"])
    return once if once == best else f"{once}, and {best} after all trials"
