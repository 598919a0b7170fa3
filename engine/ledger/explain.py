"""Which of the things that decide a result two trials have in common, and by how much their results differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.ledger.ledger import Ledger
from clusterfolio.engine.ledger.trials import Trial, is_part, trial_of
from clusterfolio.engine.run_dir import artifacts
from clusterfolio.feeds.writing import finite

#: The fewest digits of a key that name a trial on the command line.
FEWEST_DIGITS = 4


#: What is compared beside settings and versions, and what it is a matter of.
ASPECTS = (
    ("seed", "seed"), ("data", "data"), ("code", "code"), ("device", "device"), ("threads", "threads"),
    ("cash rate", "cash rate"), ("test", ""), ("benchmark", ""), ("model", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One thing in which two trials differ.

    Attributes:
        what: "trading.rebalance", "seed", "data" ...
        first, second: what each of them has, in words.
        cause: what it is a matter of ("settings", "data" ...) where it can change a result; empty where it follows
            from other things, or only says where files lie and how many processes worked.
    """

    what: str
    first: str
    second: str
    cause: str = ""


def find_trial(name: str, ledger: Ledger) -> Trial:
    """The trial that a run directory or the first digits of a key name.

    Raises:
        ValueError: neither, or several.
    """
    if Path(name).is_dir():
        return read_trial(Path(name))
    keys = [key for key in ledger.trials().index if key.startswith(name.lower())]
    if len(name) < FEWEST_DIGITS or not keys:
        raise ValueError(
            f"{name}: neither a run directory nor the first digits (at least {FEWEST_DIGITS}) of a trial's key; "
            "`trials` lists the keys"
        )
    if len(keys) > 1:
        raise ValueError(f"{name}: the keys {', '.join(keys[:5])} begin with it; give more digits")
    return ledger.trial(keys[0])


def read_trial(run_dir: Path) -> Trial:
    """The trial that lies in a run directory."""
    facts = artifacts.read_run_json(run_dir)
    if "ledger" not in facts:
        raise ValueError(f"{run_dir}: made by a version that kept no ledger; the same command makes it anew")
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    texts = pd.read_csv(run_dir / "returns.csv", index_col="date", parse_dates=True, dtype=str)
    return trial_of(facts, texts.map(float), metrics, run_dir)  # float() gives back the very bits that were written


def differences(first: Trial, second: Trial) -> list[Difference]:
    """Everything the two differ in, what can change a result first; empty where they are the same in all."""
    rows = zip(ASPECTS, _aspects(first), _aspects(second), strict=True)
    found = [Difference(what, a, b, cause) for (what, cause), a, b in rows if a != b]
    found += [
        Difference(".".join(key), a, b, "settings" if is_part(*key) else "")
        for key, a, b in _unlike(first.config, second.config)
        if key != ("engine", "seed")
    ]
    versions = [{"version": trial.facts.get("versions", {})} for trial in (first, second)]
    found += [Difference(" of ".join(key), a, b, "package versions") for key, a, b in _unlike(*versions)]
    return sorted(found, key=lambda one: not one.cause)


def conclusion(first: Trial, second: Trial, found: list[Difference]) -> str:
    """What the differences come to, in a sentence.

    Args:
        found: what ``differences`` says of the two.
    """
    causes = ", ".join(dict.fromkeys(one.cause for one in found if one.cause))
    if first.key == second.key:
        return "One trial: the same settings, data, code and seed, and the same daily returns to the last bit."
    if first.outcome == second.outcome:
        return f"The same daily returns to the last bit, although these differ: {causes}."
    if causes:
        return f"Other daily returns, and what decides them differs: {causes}."
    return (
        "Other daily returns from the same settings, data, code and seed: look at the model that each used, and at "
        "code of your own that they load."
    )


def records(trials: pd.DataFrame) -> list[dict]:
    """The rows of ``Ledger.trials()`` as plain values: days and times as text, None where a figure is not defined."""
    plain = trials.reset_index()
    for name, form in (("at", "%Y-%m-%dT%H:%M:%SZ"), ("start", "%Y-%m-%d"), ("end", "%Y-%m-%d")):
        plain[name] = plain[name].dt.strftime(form)
    return finite(plain.to_dict(orient="records"))


def compare(first: Trial, second: Trial) -> pd.DataFrame:
    """Headline figures side by side: a row per figure, columns first, second and difference (NaN: not defined)."""
    names = list(dict.fromkeys([*first.headline, *second.headline]))
    table = pd.DataFrame({"first": first.headline, "second": second.headline}, index=names, dtype=float)
    return table.assign(difference=table["second"] - table["first"])


def common_sessions(first: Trial, second: Trial) -> tuple[int, float]:
    """On how many days both were tested, and the correlation of their daily returns there (NaN under 3 days)."""
    both = pd.concat([first.returns["strategy"], second.returns["strategy"]], axis=1, join="inner").to_numpy()
    if len(both) < 3 or not both.std(axis=0).all():
        return len(both), float("nan")
    return len(both), float(np.corrcoef(both.T)[0, 1])


def _aspects(trial: Trial) -> tuple[str, ...]:
    """What a trial has of each of ``ASPECTS``, in words."""
    facts, days = trial.facts, trial.returns.index
    span, universe = facts.get("panel", ["?", "?"]), facts.get("universe", {})
    made_up = "made up, " if trial.simulated else ""
    return (
        str(trial.seed),
        f"{trial.data[:12]} ({made_up}{span[0]} to {span[1]}, {universe.get('tradable', '?')} tradable)",
        trial.code,
        *(str(facts.get(name)) for name in ("device", "threads", "cash")),
        f"{days[0].date()} to {days[-1].date()}, {len(days)} sessions",
        trial.benchmark,
        str(facts.get("model"))[:12],
    )


def _unlike(first: dict, second: dict) -> list[tuple[tuple[str, str], str, str]]:
    """The keys of two nested dictionaries whose values differ, with the values as text ("-": not there)."""
    keys = sorted({(section, key) for one in (first, second) for section, values in one.items() for key in values})
    texts = [
        (key, *(repr(one[key[0]][key[1]]) if key[1] in one.get(key[0], {}) else "-" for one in (first, second)))
        for key in keys
    ]
    return [row for row in texts if row[1] != row[2]]
