"""The verdict in words: what the evidence of a run supports, what it does not, what would be needed.

Only the primary test (``engine.evidence.claims``) makes the headline claim anything. Words for what is not shown are as
plain as those for what is; nothing that was not computed is spoken of as if it had been.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from clusterfolio.engine.evidence.headline import against, by_luck, headline, p_values, reading
from clusterfolio.engine.evidence.phrases import capital, most, number, often, p_value, rival, signed

#: What a later look may do; said of every verdict that was reached.
LATER = (
    "Every further look (other settings, another seed, another day to decide on) makes the tests stricter, so that a "
    "claim may go; and whoever looks on until a claim appears finds one by luck in more than 1 case of 20, although "
    "each look is judged among those before it."
)


@dataclass(frozen=True)
class Verdict:
    """What a reader takes away.

    Attributes:
        claim: True where the primary test found skill; only then does the headline claim anything.
        headline: one sentence.
        reading: one or two sentences on how it was found.
        supports: what the evidence supports.
        against: what it does not support.
        needed: what would be needed to know more.
        caveats: ``(heading, text)``: why even this much may be wrong, as the data itself tells.
    """

    claim: bool
    headline: str
    reading: str
    supports: list[str]
    against: list[str]
    needed: list[str]
    caveats: list[tuple[str, str]]

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)


def verdict(evidence: dict, caveats: list[tuple[str, str]] | None = None) -> Verdict:
    """Words for what ``claims.weigh`` found, and for what ``assessment`` adds where it is there.

    Args:
        caveats: what ``data_caveats`` finds in the data; those of the evidence itself are added.
    """
    caveats = list(caveats or [])
    return Verdict(
        claim=_claims(evidence),
        headline=headline(evidence),
        reading=reading(evidence),
        supports=_supports(evidence),
        against=_against(evidence),
        needed=_needed(evidence),
        caveats=caveats + _own_caveats(evidence),
    )


def _claims(evidence: dict) -> bool:
    return bool(evidence["primary"] and evidence["primary"]["found"])


def _among(evidence: dict) -> str:
    """What a further claim's p-value is adjusted for."""
    claims, trials = len(evidence["claims"]), evidence["trials"]["count"]
    counted = [f"{claims} such claims"] * (claims > 1) + [f"{trials} trials on record"] * (trials > 1)
    return f"among {' and '.join(counted)}"


def _p_among(row: dict, evidence: dict) -> str:
    once, best = p_value(row["p"]), p_value(row["p_adjusted"])
    return once if once == best else f"{once}, and {best} {_among(evidence)}"


def _by_luck_among(row: dict, evidence: dict) -> str:
    """How often luck gives a further claim's lead: by itself, and as one of all that were looked at."""
    once, best = often(row["p"]), often(row["p_adjusted"])
    return once if once == best else f"{once}; some lead like it, {_among(evidence)}, {best}"


def _account(evidence: dict) -> str:
    """Whose Sharpe ratio is weighed: that of an account in whole shares is another."""
    return "the account, had it been in divisible shares," if evidence.get("divisible") else "the account"


def _supports(evidence: dict) -> list[str]:
    found, test, sharpe = [], evidence["primary"], evidence["sharpe"]
    if test and test["found"]:
        found.append(
            f"{capital(against(evidence).mine)} beat chance: information ratio {test['information_ratio']:.2f} "
            f"against {against(evidence).mean}."
        )
    for row in evidence["claims"]:
        if row["found"]:
            found.append(
                f"A higher Sharpe ratio than {rival(row)}, after costs: by {row['difference']:.2f} "
                f"({row['low']:.2f} to {row['high']:.2f}; p = {_p_among(row, evidence)})."
            )
    if sharpe and sharpe["deflated"] >= 1 - evidence["level"]:
        found.append(
            f"{capital(_account(evidence))} earned more than cash: Sharpe ratio {sharpe['sharpe_year']:.2f}, above 0 "
            f"with a probability of {most(sharpe['deflated'])}, trials counted. That is the market's reward as much as "
            "the strategy's."
        )
    return found or ["Nothing beyond what happened: one account in one history made what it made."]


def _against(evidence: dict) -> list[str]:
    found, test, sharpe = [], evidence["primary"], evidence["sharpe"]
    if test and not test["found"]:
        found.append(
            f"Skill at {against(evidence).skill}: without any, {against(evidence).mine} would do as well "
            f"{by_luck(test)} (p = {p_values(test)})."
        )
    elif test and test["net_alpha_year"] <= 0:
        found.append(
            f"That the skill pays for its trading: after the run's own costs {signed(test['net_alpha_year'])} a year "
            "are left of it."
        )
    for row in evidence["claims"]:
        if not row["found"]:
            what = (
                f"its Sharpe ratio was higher by {row['difference']:.2f}, which luck alone gives "
                f"{_by_luck_among(row, evidence)}"
                if row["difference"] > 0
                else f"its Sharpe ratio was lower by {abs(row['difference']):.2f}"
                if row["difference"] < 0
                else "it held the very same portfolio"
            )
            found.append(f"That it beats {rival(row)} after costs, by Sharpe ratio: {what}.")
    if sharpe and sharpe["deflated"] < 1 - evidence["level"]:
        found.append(
            f"That {_account(evidence)} beats cash in the long run: its Sharpe ratio of "
            f"{number(sharpe['sharpe_year'])} may be off by {2 * sharpe['error_year']:.1f} either way."
        )
    if (pbo := evidence["overfitting"]) and pbo["probability"] > 0.5:
        found.append(
            "That the best of what was tried stays the best: whoever leads in one half of the record is in the worse "
            f"half of the field in the other, {pbo['probability'] * 100:.0f} times of 100."
        )
    return found


def _needed(evidence: dict) -> list[str]:
    found, test, years = [], evidence["primary"], evidence["years"]
    if test is None:
        return ["A longer record, with something to pick from."]
    if not test["found"]:
        if test["years_needed"] is None:
            found.append(f"More years of such a record would not help: it did worse than {against(evidence).theirs}.")
        elif test["years_needed"] <= years:
            found.append("Another record as good as this one, and no more trials on the same history.")
        elif test["years_needed"] > 100:
            found.append("More than a hundred years as good as these, before such a record is told from luck.")
        else:
            more = max(1, round(test["years_needed"] - years))
            found.append(
                f"About {more:,} more year{'s' if more != 1 else ''} as good as these "
                f"(information ratio {test['information_ratio']:.2f}), {round(test['years_needed']):,} in all, before "
                f"such a record is told from luck more often than not; this run has {years:.1f}."
            )
    else:
        if evidence.get("survivors") and evidence.get("comparator", {}).get("kind") != "holding":
            found.append(
                "The same test on lists of names as they were at the time, with those that failed or fell out since: "
                "picking winners gains from hindsight in today's list, by an amount these data cannot tell."
            )
        found.append("The same test on years, or on a market, that no decision on this strategy has seen.")
    seeds = evidence.get("seeds")
    if evidence.get("trained", True) and (not seeds or seeds["seeds"] < 5):
        have = seeds["seeds"] if seeds else 1
        found.append(
            f"Other training seeds: {'one is' if have == 1 else f'{have} are'} on record, at least 5 tell how much of "
            "the result is the seed's."
        )
    return found


def _own_caveats(evidence: dict) -> list[tuple[str, str]]:
    trials, known = evidence["trials"], []
    if not trials["known"]:
        own = f"This run is not counted among your trials: {trials['uncounted']}. " if trials.get("uncounted") else ""
        known.append(
            (
                "Trials not counted",
                f"{own}No ledger could be read to count other runs; this one counts as the only one.",
            )
        )
    elif trials.get("problems"):
        known.append(
            (
                "Ledger not whole",
                f"The record of runs does not agree with this one or with itself ({trials['problems'][0]}), so more "
                f"may have been tried than the {trials['count']} it holds; `trials verify` says more.",
            )
        )
    elif trials["count"] > 1:
        known.append(
            (
                "Trials",
                f"{trials['count']} different runs on this stretch of history are on record, worth about "
                f"{trials['effective']:.1f} independent ones; the best of many looks good by chance, and what is "
                f"claimed here allows for that. What was tried without this program is not counted. {LATER}",
            )
        )
    else:
        known.append(
            (
                "Trials",
                f"This is the only run on record; what was tried without this program is not counted. {LATER}",
            )
        )
    seeds = evidence.get("seeds")
    if evidence.get("trained", True) and (not seeds or seeds["seeds"] < 2):
        what = "trains another encoder and holds" if evidence.get("encoder", True) else "learns otherwise and may hold"
        known.append(("One training seed", f"Another seed {what} other names."))
    return known
