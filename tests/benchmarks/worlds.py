"""How often the verdict claims skill in worlds without any, and finds it where it was planted.

    python -m tests.benchmarks.worlds --worlds 1000 --keep worlds.jsonl
    python -m tests.benchmarks.worlds --kind real-low-beta --kind planted --years 10 --worlds 200 --json

Every world is an account over so many years, and its verdict is the one test that a verdict is decided by. Where there
is no skill, the upper end of the 95 % interval of the rate of claims (Clopper and Pearson, two-sided) is to be at most
7.5 % over all lengths; where an information ratio of 0.8 was planted, skill is to be found as often as by alpha alone,
but for five points. Exit code 1 where one is not. Kinds called real-... need the prices at --data. The same command
goes on where it was interrupted: worlds in --keep are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from scipy import stats

from clusterfolio.engine.evidence.claims import Record, primary
from tests.engine.evidence import resampled_worlds as real
from tests.engine.evidence import verdict_worlds as made_up
from tests.engine.evidence.looks import looked_at_in_turn

RATIO, BOUND, POINTS = 0.8, 0.075, 0.05

#: Seeds of two lengths lie so far apart: a short world is no beginning of a long one.
APART = 100_000

#: What is kept of a world's test.
KEPT = ("found", "p", "p_alpha", "p_difference", "alpha_year", "difference_year", "beta")


@dataclass(frozen=True)
class Kind:
    """A kind of world.

    Attributes:
        what: in a few words.
        record: of a seed and a number of years; of a pool first, where ``real``.
        skill: there is some to be found.
        real: made of real returns.
    """

    what: str
    record: Callable[..., Record]
    skill: bool = False
    real: bool = False


KINDS = {
    "noise": Kind(
        "best Sharpe ratio of each cluster; the past says nothing; half of the worlds have groups",
        lambda seed, years: made_up.noise_record(seed, seed % 2 == 0, years),
    ),
    "names": Kind(
        "random names without clusters, at a changing exposure",
        lambda seed, years: made_up.names_record(seed, years=years),
    ),
    "low-beta-names": Kind("names of the lowest beta; all earn the same", made_up.tilted_record),
    "calm-days": Kind("one asset, held on its calmer days; all days earn the same", made_up.calm_days_record),
    "real-sharpe": Kind(
        "best Sharpe ratio of each cluster", partial(real.picked_record, by="sharpe"), real=True
    ),
    "real-low-beta": Kind(
        "lowest beta of each cluster", partial(real.picked_record, by="beta"), real=True
    ),
    "real-low-volatility": Kind("calmest of each cluster", partial(real.picked_record, by="volatility"), real=True),
    "real-low-beta-names": Kind(
        "names of the lowest beta, without clusters", partial(real.names_record, tilt="beta"), real=True
    ),
    "real-low-volatility-names": Kind(
        "the calmest names, without clusters", partial(real.names_record, tilt="volatility"), real=True
    ),
    "planted": Kind(
        "skill at picking from clusters, all betas equal",
        partial(made_up.planted_record, information_ratio=RATIO),
        skill=True,
    ),
    "planted-names": Kind(
        "skill at picking names, all betas equal", partial(made_up.names_record, information_ratio=RATIO), skill=True
    ),
    "real-planted": Kind(
        "skill at picking from clusters, betas equal on average",
        partial(real.planted_record, information_ratio=RATIO),
        skill=True,
        real=True,
    ),
}  # fmt: skip

#: Not a verdict but twenty of them; told apart.
LOOKS = "looks"


def upper(claims: int, worlds: int) -> float:
    """Upper end of the two-sided 95 % interval of Clopper and Pearson.

    >>> round(upper(22, 400), 3)
    0.082
    """
    return float(stats.binomtest(claims, worlds).proportion_ci(0.95, "exact").high)


def judged(kind: str, pool: real.Pool | None, seed: int, years: int) -> dict:
    """One world, as a row of plain values."""
    row = {"kind": kind, "years": years, "seed": seed}
    if kind == LOOKS:
        return row | {name: bool(value) for name, value in looked_at_in_turn(APART * years + seed, years).items()}
    known, own = KINDS[kind], APART * years + seed
    record = known.record(pool, seed=own, years=years) if known.real else known.record(seed=own, years=years)
    test = primary(record)
    return row | {name: test[name] for name in KEPT}


def made(wanted: list[tuple[str, int, int]], pool: real.Pool | None, keep: Path | None) -> Iterator[dict]:
    """The rows of these ``(kind, years, seed)``; those in ``keep`` are read, new ones are added to it."""
    done = {}
    if keep is not None and keep.is_file():
        rows = [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        done = {(row["kind"], row["years"], row["seed"]): row for row in rows}
    began, told = time.monotonic(), 0.0
    for number, one in enumerate(wanted):
        if one not in done:
            kind, years, seed = one
            row = judged(kind, pool, seed, years)
            if keep is not None:
                with keep.open("a", encoding="utf-8") as file:
                    file.write(f"\n{json.dumps(row)}" if file.tell() else json.dumps(row))
            done[one] = row
        if time.monotonic() - told > 10 and sys.stderr:
            told = time.monotonic()
            print(f"{number + 1:,} of {len(wanted):,} worlds, {told - began:.0f} s: {one}", file=sys.stderr, flush=True)
        yield done[one]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per kind and length, and one for all lengths of a kind together, which says whether the bound holds."""
    found = []
    for kind, own in rows[rows["kind"] != LOOKS].groupby("kind", sort=False):
        parts = [(str(years), part) for years, part in own.groupby("years")]
        for length, part in [*parts, ("all", own)]:
            claims, alone = int(part["found"].sum()), int((part["p_alpha"] <= 0.05).sum())
            row = {"kind": kind, "years": length, "worlds": len(part), "claims": claims, "by_alpha_alone": alone}
            row |= {"rate": claims / len(part), "upper": upper(claims, len(part)), "holds": ""}
            if length == "all":
                few = row["upper"] <= BOUND
                often = row["rate"] >= alone / len(part) - POINTS
                row["holds"] = "yes" if (often if KINDS[kind].skill else few) else "no"
            found.append(row)
    return pd.DataFrame(found)


def looks(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per length: of how many worlds a claim was printed at the first look, at any, and is left at the end."""
    own = rows[rows["kind"] == LOOKS]
    if own.empty:
        return pd.DataFrame()
    names = ["first", "at_its_time", "later", "best"]
    table = own.groupby("years")[names].sum().astype(int)
    table.insert(0, "worlds", own.groupby("years").size())
    return table.reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=100, help="of each kind and length (default: %(default)s)")
    parser.add_argument("--kind", action="append", choices=[*KINDS, LOOKS], help="may be repeated (default: all)")
    parser.add_argument("--years", type=int, nargs="+", default=[1, 3, 10], help="lengths (default: 1 3 10)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first world (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=os.environ.get("CLUSTERFOLIO_DATA"), help="folder of real prices")
    parser.add_argument("--keep", type=Path, help="file that finished worlds are kept in, a line each")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    options = parser.parse_args()
    kinds = options.kind or [*KINDS, LOOKS]
    if options.data is None and (without := [kind for kind in kinds if kind in KINDS and KINDS[kind].real]):
        print(f"left out, no --data and no CLUSTERFOLIO_DATA: {', '.join(without)}", file=sys.stderr)
        kinds = [kind for kind in kinds if kind not in without]
    real_ones = any(kind in KINDS and KINDS[kind].real for kind in kinds)
    pool = real.read_pool(Path(options.data)) if real_ones else None
    seeds = range(options.first, options.first + options.worlds)
    wanted = [(kind, years, seed) for kind in kinds for years in options.years for seed in seeds]
    rows = pd.DataFrame(list(made(wanted, pool, options.keep)))
    table, turns = summary(rows), looks(rows)
    if options.json:
        print(json.dumps({"kinds": table.to_dict("records"), LOOKS: turns.to_dict("records")}, indent=1))
    else:
        for part in (table, turns):
            if len(part):
                print(part.to_string(index=False, float_format="{:.3f}".format))
    return int(not table.empty and (table["holds"] == "no").any())


if __name__ == "__main__":
    sys.exit(main())
