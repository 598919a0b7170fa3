"""What the data of a run say about how far its figures can be believed: survivorship, currencies, costs, repairs."""

from __future__ import annotations

import pandas as pd

#: Share of a list's members with prices from which on it is no list of survivors.
COVERED = 0.95

#: Share of names that stop trading over a run, per year, under which a list of them is called one of survivors.
FEW_DELISTED = 0.005


def data_caveats(run: dict, symbols: pd.DataFrame, metrics: dict) -> list[tuple[str, str]]:
    """What the data's own verdicts say about how far its figures can be believed.

    Args:
        run: the content of run.json.
        symbols: of symbols.csv, indexed by symbol: verdict, why, currency.
        metrics: the content of metrics.json.
    """
    known = []
    if run["simulated"]:
        known.append(
            ("Simulated data", "The prices are made up. Whatever is found here holds in this made-up market only.")
        )
    else:
        known.append(("Survivorship", survivorship(run, symbols)))
    held = symbols[symbols["verdict"].isin(["used", "repaired"])]
    currency = held["currency"] if "currency" in held else pd.Series("", held.index)
    foreign = currency[(currency != "") & (currency != run["currency"])]
    if len(foreign):
        known.append(
            (
                "Currency",
                f"{len(foreign)} of {len(held)} names are quoted in {', '.join(sorted(set(foreign)))} and converted "
                f"into {run['currency']} daily, unhedged: part of the result is the exchange rates'.",
            )
        )
    else:
        known.append(("Currency", f"Everything is quoted in {run['currency']}; another account's result differs."))
    costs = metrics["strategy"]["costs"]
    if costs["total"]:
        whose = "commission and half the spread by asset class, estimates"
        if costs.get("impact"):
            whose = "commission, half the spread by asset class and square-root market impact, all estimates"
        left_out = "Taxes are not in them." if costs.get("impact") else "Market impact and taxes are not in them."
        if run.get("judged"):
            whose = "the commission and slippage that the run itself charged"
        known.append(
            (
                "Costs",
                f"Costs of {costs['bps_per_year']:.0f} basis points a year are {whose}. {left_out}",
            )
        )
    elif metrics["strategy"].get("turnover") == 0:
        known.append(("No trades", "Nothing was traded, so there was nothing to charge costs for."))
    else:
        known.append(("No costs", "The run charged no costs; a real account would pay them."))
    known += _of_another_engine(run)
    repaired = int((symbols["verdict"] == "repaired").sum())
    if repaired:
        known.append(("Repaired prices", f"{repaired} of {len(held)} names had bars that were mended or withheld."))
    return known


def _of_another_engine(run: dict) -> list[tuple[str, str]]:
    """What cannot be vouched for in a run that this program judged and did not make."""
    if not run.get("judged"):
        return []
    known = [
        (
            "No leakage check",
            "The run was made elsewhere. Whether anything in it knew the future (an indicator over all bars, prices "
            "adjusted with hindsight, names chosen afterwards) could not be checked.",
        )
    ]
    if run.get("cheat_on_close"):
        known.append(
            ("Cheat on close", "Orders filled at the very close that they were decided on; no real order can do that.")
        )
    if run.get("benchmark_stands_in"):
        known.append(
            ("Benchmark", "None was named. All names held equally every day, without costs, stand in for one.")
        )
    return known


def of_survivors(run: dict, symbols: pd.DataFrame) -> bool:
    """Whether so few names stopped trading that the list must have been drawn up among those that did not."""
    held, gone, years = _stopped(run, symbols)
    if run["simulated"] or _fewest_priced(run) >= COVERED:
        return False
    return gone <= FEW_DELISTED * years * held


def _fewest_priced(run: dict) -> float:
    """Share of the members that have prices, at the decision where it is lowest; 0 where no members are listed."""
    rows = [row for row in (run.get("membership") or {}).get("decisions", []) if row["members"]]
    return min((row["priced"] / row["members"] for row in rows), default=0.0)


def covered(membership: dict) -> str:
    """What a list of members takes away from survivorship, and what it cannot: ``membership`` as in run.json."""
    rows = [row for row in membership["decisions"] if row["members"]]
    text = f"Held and learned from were only names that {membership['list']} lists as members on the day."
    if not rows:
        return f"{text} It lists none on the days of the decisions."
    shares = [row["priced"] / row["members"] for row in rows]
    fewest, last = rows[shares.index(min(shares))], rows[-1]
    text += (
        f" Of the members, {fewest['priced']} of {fewest['members']} ({min(shares):.0%}) have prices on "
        f"{fewest['date']}, where they are fewest, and {last['priced']} of {last['members']} ({shares[-1]:.0%}) on "
        f"{last['date']}."
    ).replace("%", " %")
    if min(shares) < COVERED:
        text += " The others have no prices then, and those that left since are among them: that part of the hindsight"
        text += " remains."
    if membership["unnamed"]:
        names = membership["unnamed"]
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        text += f" {len(names)} names it never lists ({shown}) could be held throughout."
    return text


def _stopped(run: dict, symbols: pd.DataFrame) -> tuple[int, int, float]:
    """Names used, how many of them stopped trading, and the years of the data."""
    held = symbols[symbols["verdict"].isin(["used", "repaired"])]
    gone = int(held["why"].str.contains("stopped trading").sum())
    first, last = (pd.Timestamp(day) for day in run["dates"]["panel"])
    return len(held), gone, max((last - first).days / 365.25, 1e-9)


def survivorship(run: dict, symbols: pd.DataFrame) -> str:
    """What the verdicts on symbols tell about names that failed: how many stopped trading, how many are absent."""
    held, gone, years = _stopped(run, symbols)
    if held == 1:
        return "One name, chosen with today's knowledge of how it did; holding it shares that, timing it need not."
    absent = sorted(symbols.index[symbols["verdict"] == "absent"])
    text = (
        f"{gone or 'None'} of {held} names stopped trading in the {years:.1f} years of the data"
        f"{'' if gone else ', as if nothing ever failed'}."
    )
    if run.get("membership"):
        text = f"{covered(run['membership'])} {text}"
    if of_survivors(run, symbols):
        text += " The list was drawn up among those that are still there, so it looks better than any investor's choice"
        text += " at the time. Random picks and baselines share part of that; picking past winners gains more from it,"
        text += " since many a name is on today's list because it rose."
    else:
        text += " Whether every name that failed is among them, the data cannot say."
    if absent:
        shown = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
        text += (
            f" {len(absent)} names asked for have no prices at all ({shown}): such names are often those that failed."
        )
    return text
