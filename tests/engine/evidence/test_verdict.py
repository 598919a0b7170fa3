"""Words that fit the figures: what is claimed, what is not, and what the data says against itself."""

import pandas as pd
import pytest

from clusterfolio.engine.evidence.caveats import data_caveats, of_survivors
from clusterfolio.engine.evidence.verdict import Verdict, verdict

TRIALS = {"count": 1, "effective": 1.0, "known": True}
RUN = {"simulated": False, "currency": "USD", "dates": {"panel": ["2016-01-04", "2025-12-31"]}}
METRICS = {"strategy": {"costs": {"total": 100.0, "bps_per_year": 20.0}}}


def evidence(p=0.4, alpha=0.02, trials=TRIALS, **others) -> dict:
    test = {
        "alpha_year": alpha, "low_year": alpha - 0.05, "high_year": alpha + 0.05, "net_alpha_year": alpha - 0.01,
        "difference_year": alpha - 0.003, "information_ratio": 10 * alpha, "beta": 1.0, "t": 1.0, "p": p,
        "p_alpha": p, "p_difference": p, "p_adjusted": p, "found": p <= 0.05, "trials_borne": 0.05 / p,
        "years_needed": 67.6 if alpha > 0 else None, "years_needed_80": None,
    }  # fmt: skip
    sharpe = {"sharpe_year": 0.5, "error_year": 0.3, "deflated": 0.9, "probabilistic": 0.93}
    found = {
        "sessions": 2520, "years": 10.0, "level": 0.05, "missing": {}, "trials": trials, "primary": test, "claims": [],
        "sharpe": sharpe, "overfitting": None, "snooping": None, "simulated": False, "seeds": None,
    }  # fmt: skip
    return found | others


def claim(name, p, difference=0.3, adjusted=None) -> dict:
    adjusted = p if adjusted is None else adjusted
    return {
        "claim": name, "rival": name, "difference": difference, "low": 0.0, "high": 0.6, "p": p, "p_adjusted": adjusted,
        "found": adjusted <= 0.05,
    }  # fmt: skip


def everything(words: Verdict) -> str:
    """All that a reader sees."""
    points = [*words.supports, *words.against, *words.needed, *dict(words.caveats).values()]
    return " ".join([words.headline, words.reading, *points])


def symbols(gone: int, absent: int = 0, n: int = 100) -> pd.DataFrame:
    rows = [("used", "2500 bars; stopped trading 300 sessions before the last common one", "USD")] * gone
    rows += [("used", "2500 bars", "USD")] * (n - gone) + [("absent", "in none of the files", "")] * absent
    return pd.DataFrame(rows, [f"S{i}" for i in range(n + absent)], ["verdict", "why", "currency"])


def test_only_the_primary_test_makes_the_headline():
    lucky = verdict(evidence(p=0.3, claims=[claim("1/N", 0.001)]))
    assert not lucky.claim and "no evidence of skill" in lucky.headline
    assert any("A higher Sharpe ratio than 1/N" in point for point in lucky.supports)
    found = verdict(evidence(p=0.01, alpha=0.04, claims=[claim("1/N", 0.5)]))
    assert found.claim and found.headline.startswith("There is evidence of skill") and "+4.0 %" in found.headline
    assert any("beats 1/N" in point for point in found.against)


@pytest.mark.parametrize(("p", "alpha"), [(0.06, 0.03), (0.5, 0.0), (0.99, -0.05)])
def test_what_is_not_found_is_called_no_evidence_and_never_significant(p, alpha):
    words = verdict(evidence(p, alpha))
    assert "no evidence of skill" in words.headline and not words.claim
    assert "significant" not in everything(words).lower() and " nan" not in everything(words)


def tilted(plain: float, **others) -> Verdict:
    """The verdict on picks that are better at equal exposure, and earned so much more a year plainly."""
    found = evidence(p=0.4, alpha=0.04)
    found["primary"] |= {"p_alpha": 0.001, "p_difference": 0.4, "difference_year": plain, "beta": 0.7} | others
    return verdict(found)


def test_more_at_equal_exposure_only_is_called_a_tilt():
    words = tilted(0.002)
    assert not words.claim and "+0.2 % plainly, which luck alone gives in about 1 case in 2" in words.headline
    assert "moves less than the others (beta 0.70): that is a tilt to calm names, and no skill" in words.headline
    assert "tilt" not in tilted(0.002, beta=1.2).headline


def test_who_earned_less_is_never_said_to_have_earned_more():
    words = tilted(-0.032)
    assert "no more was earned (−3.2 % a year)" in words.headline and "at equal exposure" in words.headline
    assert "a tilt to calm names" in words.headline
    lucky = tilted(-0.032, p_alpha=0.3, p=0.9, p_adjusted=0.9)
    assert "tilt" not in lucky.headline and "Luck alone does as well" in lucky.headline
    for each in (words, lucky):
        assert "earned +" not in everything(each) and "evidence of skill: over 10.0 years at equal" in each.headline


@pytest.mark.parametrize(("p", "alpha"), [(0.01, 0.04), (0.3, 0.04), (0.5, -0.01)])
def test_the_plain_difference_stands_beside_the_one_at_equal_exposure(p, alpha):
    words = verdict(evidence(p, alpha))
    assert "equal exposure" in words.headline and "plainly" in words.headline
    for figure in (alpha, alpha - 0.003):
        assert f"{figure * 100:+.1f} %".replace("-", "−") in words.headline


def test_plain_luck_is_the_chance_of_one_trial_and_what_many_make_of_it_is_said_beside_it():
    """A lead of 0.41 that comes by luck 1 time in 4 was printed as one that luck gives nearly always."""
    rows = [claim("1/N", 0.25, 0.41, adjusted=0.99), claim("the benchmark", 0.8, adjusted=0.99)]
    words = verdict(evidence(p=0.01, trials={"count": 40, "effective": 11.3, "known": True}, claims=rows))
    lead = next(point for point in words.against if "0.41" in point)
    assert "luck alone gives in about 1 case in 4; some lead like it" in lead
    assert "among 2 such claims and 40 trials on record, nearly always" in lead
    many = evidence(p=0.01, alpha=0.04, trials={"count": 40, "effective": 11.3, "known": True})
    many["primary"] |= {"p_adjusted": 0.11, "found": False}
    lost = verdict(many)
    assert "in about 1 case in 100, and in the best of the trials on record in about 1 case in 9" in lost.headline
    assert any("(p = 0.010, and 0.11 after all trials)" in point for point in lost.against)


def test_one_claim_on_one_trial_has_one_chance():
    words = verdict(evidence(claims=[claim("1/N", 0.25)]))
    assert "claims and" not in everything(words) and "some lead like it" not in everything(words)
    assert "after all trials" not in everything(words)


def test_what_a_later_look_may_do_is_said_whether_it_is_the_first_or_not():
    for trials in (TRIALS, {"count": 40, "effective": 11.3, "known": True}):
        said = dict(verdict(evidence(p=0.001, trials=trials)).caveats)["Trials"]
        assert "a claim may go" in said and "looks on until a claim appears" in said
    claimed = verdict(evidence(p=0.001))
    assert "bears 50.0 independent trials in all" in claimed.reading
    assert "independent trials" not in verdict(evidence(p=0.5)).reading


def test_only_what_was_trained_is_said_to_depend_on_a_training_seed():
    seeds = {name: verdict(evidence(**facts)) for name, facts in {
        "encoder": {"trained": True, "encoder": True}, "own": {"trained": True, "encoder": False},
        "rule": {"trained": False, "encoder": False}}.items()}  # fmt: skip
    assert "another encoder" in dict(seeds["encoder"].caveats)["One training seed"]
    assert "encoder" not in everything(seeds["own"]) and "One training seed" in dict(seeds["own"].caveats)
    assert "seed" not in everything(seeds["rule"]).replace("another seed", "")


def test_what_would_be_needed_is_years_or_nothing_that_years_can_give():
    assert any("About 58 more years" in point for point in verdict(evidence()).needed)
    assert any("would not help" in point for point in verdict(evidence(0.9, -0.01)).needed)


def test_a_run_that_was_not_tested_claims_nothing():
    words = verdict(evidence(primary=None, sharpe=None, missing={"all tests": "40 sessions are too few"}))
    assert words.headline == "Not judged: 40 sessions are too few." and not words.claim


def test_a_made_up_market_is_named_in_the_headline_and_first_among_the_caveats():
    words = verdict(evidence(p=0.001, simulated=True), data_caveats(RUN | {"simulated": True}, symbols(0), METRICS))
    assert words.headline.startswith("In this made-up market")
    assert words.caveats[0][0] == "Simulated data" and "Survivorship" not in dict(words.caveats)


def test_survivorship_is_read_from_the_data_itself():
    none = dict(data_caveats(RUN, symbols(0, absent=2), METRICS))["Survivorship"]
    assert "None of 100 names stopped trading in the 10.0 years" in none and "2 names asked for" in none
    some = dict(data_caveats(RUN, symbols(30), METRICS))["Survivorship"]
    assert "30 of 100" in some and "drawn up among those that are still there" not in some


def test_the_caveat_says_of_how_many_members_there_are_prices():
    rows = [
        {"date": "2024-01-31", "members": 500, "priced": 300},
        {"date": "2024-02-29", "members": 500, "priced": 490},
    ]
    listed = {"list": "index.csv", "named": 480, "unnamed": ["SPY"], "decisions": rows}
    text = dict(data_caveats(RUN | {"membership": listed}, symbols(0), METRICS))["Survivorship"]
    assert "300 of 500 (60 %) have prices on 2024-01-31" in text and "490 of 500 (98 %) on 2024-02-29" in text
    assert "that part of the hindsight remains" in text and "SPY" in text
    assert of_survivors(RUN | {"membership": listed}, symbols(0))
    whole = listed | {"decisions": rows[1:], "unnamed": []}
    assert not of_survivors(RUN | {"membership": whole}, symbols(0))
    assert (
        "hindsight remains" not in dict(data_caveats(RUN | {"membership": whole}, symbols(0), METRICS))["Survivorship"]
    )


def test_skill_found_among_survivors_is_claimed_among_survivors_only():
    assert of_survivors(RUN, symbols(0)) and not of_survivors(RUN, symbols(30))
    assert not of_survivors(RUN | {"simulated": True}, symbols(0))
    words = verdict(evidence(p=0.001, survivors=True))
    assert words.headline.startswith("Among names known to have survived there is evidence of skill")
    assert any("lists of names as they were at the time" in point for point in words.needed)


def test_trials_currency_and_missing_costs_are_named():
    words = verdict(evidence(trials={"count": 40, "effective": 11.3, "known": True}))
    assert "40 different runs" in dict(words.caveats)["Trials"] and "best of 40 trials" in words.reading
    table = symbols(30)
    table.iloc[:5, 2] = "EUR"
    free = {"strategy": {"costs": {"total": 0.0, "bps_per_year": 0.0}}}
    known = dict(data_caveats(RUN, table, free))
    assert "5 of 100 names are quoted in EUR" in known["Currency"] and "No costs" in known


def test_an_account_that_did_not_trade_is_not_said_to_have_gone_without_costs():
    still = {"strategy": {"costs": {"total": 0.0, "bps_per_year": 0.0}, "turnover": 0.0}}
    known = dict(data_caveats(RUN, symbols(30), still))
    assert "Nothing was traded" in known["No trades"] and "No costs" not in known


def test_whose_sharpe_ratio_is_weighed_is_said():
    whole, split = (everything(verdict(evidence(divisible=way))) for way in (False, True))
    assert "the account beats cash" in whole and "divisible" not in whole
    assert "the account, had it been in divisible shares, beats cash" in split


def test_a_run_that_the_ledger_did_not_take_is_said_to_be_uncounted():
    words = verdict(evidence(trials={"count": 1, "effective": 1.0, "known": False, "uncounted": "ledger x: no file"}))
    assert words.reading.endswith("This run was not counted among your trials.")
    assert "ledger x: no file" in dict(words.caveats)["Trials not counted"]
    assert "not counted among" not in verdict(evidence()).reading
