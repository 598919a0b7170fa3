"""What a trial is: a configuration, data, code and seed, and the daily returns that came of them.

The same command again is the same trial. The returns are part of it so that other numbers from the same settings
(another device or package version, or an encoder of the user's own that was changed) are another draw, as they are.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

#: Settings, or whole sections of them, that are no part of a trial: the seed, which stands beside them; where files lie
#: (the data's fingerprint says what is in them); the machine's part, which gives the same results, or else other
#: returns; and how a result is judged, which does not change it.
APART = (
    "engine.seed", "engine.workers", "engine.clock", "engine.device", "data.path", "cash.path", "inputs.macro_path",
    "inputs.sentiment", "significance",
)  # fmt: skip

#: Of ``metrics.json``, what the ledger keeps of each trial.
FIGURES = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "turnover")

#: Packages whose files are the version of the code.
PACKAGES = ("feeds", "models", "strategies", "engine")


@dataclass(frozen=True)
class Trial:
    """A finished run, as the ledger keeps it.

    Attributes:
        config: every setting (``engine.config.run.to_dict``).
        data: fingerprint of the panel.
        code: what ``code_version`` said when the run began.
        simulated: the prices are made up.
        benchmark: the symbol.
        returns: columns ``strategy`` (net of costs) and ``benchmark``: simple daily returns; index = naive days.
        headline: figure to number, None where not defined.
        facts: what else may tell why two runs differ (device, versions, the model's fingerprint ...); plain values.
        run: where the run directory lies.
    """

    config: dict
    data: str
    code: str
    simulated: bool
    benchmark: str
    returns: pd.DataFrame = field(repr=False)
    headline: dict
    facts: dict = field(default_factory=dict)
    run: str = ""

    @property
    def seed(self) -> int:
        """Of the run's random numbers."""
        return self.config["engine"]["seed"]

    @property
    def outcome(self) -> str:
        """Fingerprint of the returns."""
        return fingerprint_of_returns(self.returns)

    @property
    def key(self) -> str:
        """What the trial is called: sixteen hexadecimal digits, the same for an identical run."""
        return trial_key(self.config, self.data, self.code, self.outcome)


def trial_of(run: dict, returns: pd.DataFrame, metrics: dict, out: Path) -> Trial:
    """The trial that a run directory holds.

    Args:
        run: the content of run.json, or what is going to be.
        returns: as in returns.csv.
        metrics: the content of metrics.json.
        out: the run directory.
    """
    headline = {name: metrics["strategy"][name] for name in FIGURES}
    headline |= {f"benchmark_{name}": metrics["benchmark"][name] for name in ("total_return", "sharpe")}
    facts = {name: run[name] for name in ("device", "threads", "cash", "universe", "versions")}
    facts |= {"panel": run["dates"]["panel"], "model": run["fingerprint"].get("model", "")}
    return Trial(
        config=run["config"],
        data=run["fingerprint"]["data"],
        code=run["fingerprint"]["code"],
        simulated=run["simulated"],
        benchmark=run["benchmark"],
        returns=returns[["strategy", "benchmark"]],
        headline=headline,
        facts=facts,
        run=str(Path(out).resolve()),
    )


@functools.cache
def code_version() -> str:
    """Sixteen hexadecimal digits of a hash over the program's own source files and shipped tables, as first seen."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for name in PACKAGES:
        for path in sorted(path for path in (root / name).rglob("*") if path.suffix in (".py", ".csv")):
            digest.update(f"{path.relative_to(root).as_posix()}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def config_hash(config: dict) -> str:
    """SHA-256 of the settings without ``APART``, hexadecimal.

    >>> config_hash({"engine": {"seed": 1, "workers": 2}}) == config_hash({"engine": {"seed": 5, "workers": 1}})
    True
    """
    kept = {
        section: {key: value for key, value in values.items() if is_part(section, key)}
        for section, values in config.items()
    }
    return hashlib.sha256(canonical(kept).encode()).hexdigest()


def is_part(section: str, key: str) -> bool:
    """Whether a setting can make another trial.

    >>> is_part("trading", "rebalance"), is_part("engine", "workers")
    (True, False)
    """
    return section not in APART and f"{section}.{key}" not in APART


def trial_key(config: dict, data: str, code: str, outcome: str) -> str:
    """Sixteen hexadecimal digits that differ where a trial does."""
    parts = [config_hash(config), data, code, config["engine"]["seed"], outcome]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:16]


def canonical(value) -> str:
    """JSON in one form only: keys sorted, no spaces.

    >>> canonical({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def fingerprint_of_returns(returns: pd.DataFrame) -> str:
    """SHA-256 of the days and both columns of returns, hexadecimal."""
    return hashlib.sha256(pack(returns)).hexdigest()


def pack(returns: pd.DataFrame) -> bytes:
    """Days (int32, since 1970) and the two columns of returns (float64), one after another, little-endian."""
    days = returns.index.to_numpy().astype("datetime64[D]").astype("<i4")
    columns = (returns[name].to_numpy(dtype="<f8") for name in ("strategy", "benchmark"))
    return b"".join(part.tobytes() for part in (days, *columns))


def unpack(packed: bytes) -> pd.DataFrame:
    """What ``pack`` packed."""
    n = len(packed) // 20
    values = np.frombuffer(packed, "<f8", 2 * n, offset=4 * n).astype(float).reshape(2, n)
    return pd.DataFrame(values.T, _days(packed[: 4 * n]), ["strategy", "benchmark"])


@functools.lru_cache(maxsize=256)
def _days(packed: bytes) -> pd.DatetimeIndex:
    """The same index for the same days: many trials are tested on the same, and join at once then."""
    return pd.DatetimeIndex(np.frombuffer(packed, "<i4").astype("datetime64[D]").astype("datetime64[ns]"), name="date")
