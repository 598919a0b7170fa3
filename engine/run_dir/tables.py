"""What a report is made of, and how it is read from a run directory."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from clusterfolio.engine.trading.costs import OF_TRADES
from clusterfolio.engine.trading.market_units import trades_of
from clusterfolio.feeds.raw import PASSED_OVER, RATE
from clusterfolio.feeds.writing import restored

CLUSTER_COLUMNS, EMBEDDING_COLUMNS = ["date", "symbol", "cluster", "sharpe", "selected"], ["date", "symbol"]


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """What the page is made of: the contents of a run directory. Dates are naive days.

    Attributes:
        returns: index session; columns ``strategy`` (net of costs) and ``benchmark``, simple daily returns.
        gross: the strategy's daily return before costs, at the same sessions.
        weights: index decision date; target weight by symbol, and ``CASH``.
        positions: index session; value in the account's currency by symbol, and ``cash``.
        transactions: the trades, columns ``engine.trading.market_units.MARKET_COLUMNS``: shares and prices of the
            market beside the level that the engine booked.
        symbols: index symbol; columns ``verdict, why`` for everything asked for, and what is known of it
            (``name, asset_class, sector, region, currency``).
        metrics: see ``engine.trading.metrics.compute_metrics``.
        config: the resolved configuration, section by section.
        run: ``benchmark``, ``currency``, ``capital``, ``simulated``; and where recorded ``device``, ``threads``,
            ``seed``, ``training`` (``span``, ``windows``), ``cash`` (where its rate is from), ``fingerprint`` and
            ``versions`` (by what they are of), ``seconds`` and ``peak_memory_mb`` (by stage), ``notes`` (sentences),
            ``excluded`` (symbol to reason, at the last decision), ``unfilled`` (``[date, symbol, why]`` of targets
            that could not be reached) and ``folds`` (a row per training: its spans, seconds and losses).
        clusters: columns ``date, symbol, cluster, sharpe, selected``, for every decision; no rows where none states
            clusters.
        embeddings: columns ``date, symbol, e0 ...``, for the last decision at least; no rows where there are none.
        encoded: likewise, of the encoder's own embeddings; None where it is they that were clustered.
        maps: where every decision's map puts its assets, and its tree: columns as in ``engine.evidence.cluster_maps``;
            None where the run left none.
        stability: columns as in ``strategies.passports.continuity.stability``; None where the run recorded none.
        passports: columns as in ``strategies.passports.passport.passports``; None where the run recorded none.
        promises: columns as in ``engine.evidence.promises.promises``; None where the run recorded none.
        importance: columns as in ``passports.importance.importance_table``; None where the run recorded none.
        evidence: how far the run can be believed (``engine.evidence.assessment``); None where that was not worked out.
        luck: its random portfolios: columns kind, sharpe, total_return.
        baselines: its table of policies, indexed by policy.
    """

    returns: pd.DataFrame
    gross: pd.Series
    weights: pd.DataFrame
    positions: pd.DataFrame
    transactions: pd.DataFrame
    symbols: pd.DataFrame
    metrics: dict
    config: dict
    run: dict
    clusters: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CLUSTER_COLUMNS))
    embeddings: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EMBEDDING_COLUMNS))
    encoded: pd.DataFrame | None = None
    maps: pd.DataFrame | None = None
    stability: pd.DataFrame | None = None
    passports: pd.DataFrame | None = None
    promises: pd.DataFrame | None = None
    importance: pd.DataFrame | None = None
    evidence: dict | None = None
    luck: pd.DataFrame | None = None
    baselines: pd.DataFrame | None = None

    def last_clusters(self) -> pd.DataFrame:
        """Rows of ``clusters`` at the last decision that states some, by symbol."""
        return self.clusters[self.clusters["date"] == self.clusters["date"].max()].set_index("symbol")


def asked_for(symbols: pd.DataFrame) -> pd.Series:
    """Which rows of symbols.csv are symbols that the run asked for: neither a file nor a pair that only converts."""
    return ~symbols["verdict"].isin([PASSED_OVER, RATE])


def read_run(run_dir: Path) -> ReportInputs:
    """The contents of a run directory; a file that is not there is named by the error.

    The files about clusters may be absent or without rows: a policy need not know any.
    """
    run_dir = Path(run_dir)
    for name in ("run.json", "metrics.json", "returns.csv"):
        if not (run_dir / name).is_file():
            raise FileNotFoundError(f"run_dir: {run_dir} holds no {name}; a finished run's directory does")
    return ReportInputs(
        returns=_read_wide(run_dir / "returns.csv"),
        gross=_read_wide(run_dir / "returns_gross.csv")["gross"],
        weights=_read_wide(run_dir / "weights.csv"),
        positions=_read_wide(run_dir / "positions.csv"),
        transactions=_with_all_costs(trades_of(_read_long(run_dir / "transactions.csv"))),
        symbols=read_symbols(run_dir),
        metrics=json.loads((run_dir / "metrics.json").read_text(encoding="utf-8")),
        config=tomllib.loads((run_dir / "config.toml").read_text(encoding="utf-8")),
        run=json.loads((run_dir / "run.json").read_text(encoding="utf-8")),
        **_read_clusters(run_dir),
        **_read_assessment(run_dir),
    )


def _with_all_costs(trades: pd.DataFrame) -> pd.DataFrame:
    """A kind of cost that a run does not state it did not charge: it is from before there was one."""
    return trades.assign(**{kind: 0.0 for kind in OF_TRADES if kind not in trades})


def read_symbols(run_dir: Path) -> pd.DataFrame:
    """What was asked for and what became of it, by symbol."""
    return _read_long(Path(run_dir) / "symbols.csv").set_index("symbol")


def _read_clusters(run_dir: Path) -> dict:
    """What a run left about its clusters; a file that is not there is left out."""
    tables = ("clusters", "stability", "passports", "promises", "importance")
    found = {name: _read_long(run_dir / f"{name}.csv") for name in tables if (run_dir / f"{name}.csv").is_file()}
    for name in ("embeddings", "encoded", "maps"):
        if (run_dir / f"{name}.parquet").is_file():
            found[name] = pd.read_parquet(run_dir / f"{name}.parquet")
    return found


def _read_assessment(run_dir: Path) -> dict:
    """What ``engine.evidence.assessment`` left in a run directory; nothing where it was not asked for."""
    if not (run_dir / "significance.json").is_file():
        return {}
    return {
        "evidence": json.loads((run_dir / "significance.json").read_text(encoding="utf-8")),
        "luck": pd.read_csv(run_dir / "luck.csv"),
        "baselines": read_policies(run_dir / "baselines.csv"),
    }


def read_policies(path: Path) -> pd.DataFrame:
    """A table with a row per policy, indexed by it; one is named after the benchmark."""
    table = pd.read_csv(path, index_col="policy")
    table.index = restored(table.index)
    return table


def _read_wide(path: Path) -> pd.DataFrame:
    """A table whose first column is the date and whose others are numbers."""
    table = pd.read_csv(path, index_col=0)
    table.columns = restored(table.columns)
    return table.set_index(pd.DatetimeIndex(table.index, name="date"))


def _read_long(path: Path) -> pd.DataFrame:
    """A table with a symbol per row. Text stays text: a symbol may be ``NA``, ``TRUE`` or ``0005``."""
    text = ["symbol", "reason", "verdict", "why", "name", "asset_class", "sector", "region", "currency", "unit"]
    text += ["members", "picks", "runner_up", "closest_class", "method", "channel"]
    columns = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in columns if name not in text}
    table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=numbers)
    table = table.assign(**{name: restored(table[name]) for name in text if name in table})
    return table.assign(date=pd.to_datetime(table["date"])) if "date" in table else table
