"""What the page says of each cluster: its passport at the last decision, and in short those before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.report.layout.section import Section, without_clusters
from clusterfolio.engine.run_dir.tables import ReportInputs
from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.passports.beside import BESIDE
from clusterfolio.strategies.passports.passport import names_in

#: Members written out, earlier decisions listed, and least share of an asset class that is named.
SHOWN, EARLIER, LEAST_SHARE = 6, 24, 0.05

#: A lack of the runner-up under this is not named.
LEAST_LACK = 0.005

#: Hennig's limits (``strategies.cluster_stability``): from this stability on, in words.
FIRMNESS = ((0.75, "firm"), (0.6, "doubtful at the borders"), (-np.inf, "not to be trusted"))


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {"passports": passport_page(inputs.passports, inputs.config)}


def absent(inputs: ReportInputs) -> str:
    """Why there is no such section."""
    recorded = inputs.passports is not None and len(inputs.passports)
    return without_clusters(inputs) or ("" if recorded else "the run recorded none")


def passport_page(table: pd.DataFrame, config: dict) -> dict:
    """What the section says.

    Args:
        table: as ``strategies.passports.passport.passports`` makes it, read back from the file.
        config: the run's settings, section by section.
    """
    asof = table["date"].max()
    last = table[table["date"] == asof].sort_values("cluster")
    first = last.iloc[0]
    later = table[table["later_sessions"] > 0]
    words = last["stability"].map(firmness).value_counts()
    return {
        "date": asof.date(),
        "until": _day(first["later_until"]),
        "sessions": int(first["later_sessions"]),
        "joint": config.get("selection", {}).get("by") == "joint",
        "cards": [card(row, table[table["cluster"] == row["cluster"]]) for _, row in last.iterrows()],
        "firmness": [(word, int(words[word])) for _, word in FIRMNESS if word in words],
        "market": alike(first, "market_"),
        "decisions": table["date"].nunique(),
        "later": {name: later[f"later_{name}"].mean() for name in ("within", "between")},
        "before": {name: later[name].mean() for name in ("within", "between")},
        "gone": len(set(table["cluster"]) - set(last["cluster"])),
        "sharpe_error": sharpe_error(config),
    }


def card(row: pd.Series, of_cluster: pd.DataFrame) -> dict:
    """One cluster's passport, ready to be written.

    Args:
        row: of the last decision.
        of_cluster: the rows of all decisions that had a cluster of this name.
    """
    members, earlier = names_in(row["members"]), of_cluster[of_cluster["date"] < row["date"]].sort_values("date")
    shares = row.filter(like="share_").rename(lambda name: name.removeprefix("share_"))
    shares = shares.astype(float).sort_values(ascending=False, kind="stable")
    return {
        "cluster": row["cluster"],
        "n_members": row["n_members"],
        "members": members[:SHOWN],
        "more": len(members[SHOWN:]),
        "all_members": ", ".join(members),
        "classes": [(name.replace("_", " "), share) for name, share in shares.items() if share >= LEAST_SHARE],
        "picks": names_in(row["picks"]),
        "runner_up": row["runner_up"],
        "beside": beside(row),
        "firmness": firmness(row["stability"]),
        "closest_class": row["closest_class"].replace("_", " "),
        "alike": alike(row),
        "known_since": f"{of_cluster['date'].min():%Y-%m-%d}",
        "earlier": [_in_short(one) for _, one in earlier.tail(EARLIER).iloc[::-1].iterrows()],
        "not_shown": max(0, len(earlier) - EARLIER),
    } | {name: row[name] for name in FIGURES}


#: Figures of a card that are written as they are.
FIGURES = (
    "pick_sharpe", "pick_rank", "pick_rank_of_all", "n_assets", "runner_up_sharpe", "lead", "stability", "within",
    "between", "later_within", "later_between", "beta_benchmark", "closest_correlation",
)  # fmt: skip


def alike(row: pd.Series, whose: str = "") -> list[tuple[str, str, float]]:
    """The past days looked most like: month, day and distance (1 = as unlike as a past day usually is)."""
    found = []
    for name in (f"{whose}alike_1", f"{whose}alike_2", f"{whose}alike_3"):
        if pd.notna(row[name]):
            day = pd.Timestamp(row[name])
            found.append((f"{day:%b %Y}", f"{day:%Y-%m-%d}", row[f"{name}_distance"]))
    return found


def beside(row: pd.Series) -> dict | None:
    """What of the pick's Sharpe ratio is believed, what it shares with the other picks, what the runner-up lacked.

    None in the files of a run from before this was noted, and where nobody is picked.
    """
    if pd.isna(row.get("pick_believed")):
        return None
    lacked = [
        f"{words} {by:.2f}"
        for words, by in (
            ("believed Sharpe ratio lower by", row["pick_believed"] - row["runner_up_believed"]),
            ("squared correlations higher by", row["runner_up_shared"] - row["pick_shared"]),
            ("no head start of", row["pick_head_start"] - row["runner_up_head_start"]),
        )
        if by > LEAST_LACK
    ]
    return {name: row[name] for name in BESIDE} | {"lacked": lacked}


def firmness(stability: float) -> str:
    """A stability in a word.

    >>> firmness(0.8), firmness(0.7), firmness(0.3)
    ('firm', 'doubtful at the borders', 'not to be trusted')
    """
    return next((word for least, word in FIRMNESS if stability >= least), "")


def sharpe_error(config: dict) -> float | None:
    """Standard error of the trailing Sharpe ratio that picks, a year; None where another span is used.

    About ``1 / sqrt(years)``: Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal 58 (2002).

    >>> sharpe_error({"selection": {"sharpe_span": "trailing", "sharpe_sessions": 252}})
    1.0
    """
    selection = config.get("selection", {})
    if selection.get("sharpe_span") != "trailing" or not selection.get("sharpe_sessions"):
        return None
    return float((SESSIONS_PER_YEAR / selection["sharpe_sessions"]) ** 0.5)


def _in_short(row: pd.Series) -> dict:
    short = {name: row[name] for name in ("n_members", "stability", "pick_sharpe", "lead", "within", "later_within",
                                          "between", "later_between")}  # fmt: skip
    return short | {"date": f"{row['date']:%Y-%m-%d}", "picks": ", ".join(names_in(row["picks"]))}


def _day(value) -> str:
    return "" if pd.isna(value) else f"{pd.Timestamp(value):%Y-%m-%d}"


SECTION = Section("passports", "Cluster passports", Path(__file__).with_suffix(".html"), build, absent=absent)
