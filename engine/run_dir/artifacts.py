"""The run directory: every table of a run as a file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.folds.stored_policies import save_policy
from clusterfolio.engine.folds.walk_forward import Fold
from clusterfolio.engine.trading.backtest import BacktestResult
from clusterfolio.engine.trading.market_units import in_market_units
from clusterfolio.feeds.panel import FIELDS, MARKET, Panel
from clusterfolio.feeds.writing import write_table
from clusterfolio.strategies.passports.continuity import stability
from clusterfolio.strategies.policy import Decision, Policy, learns

#: The policy that decides last, and one folder for each fold's where there are several.
MODEL_DIR, FOLDS_DIR = "model", "folds"


@contextmanager
def new_run_dir(out: Path, draft: Path) -> Iterator[Path]:
    """A folder to write into; it takes ``out``'s place only when everything in it is complete.

    Args:
        draft: where it lies until then, on the same disk as ``out``; what an earlier attempt left there is removed.

    Raises:
        FileExistsError: ``out`` is there and not empty.
    """
    out = Path(out)
    check_free(out)
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    try:
        yield draft
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(out: Path) -> None:
    """Raises ``FileExistsError`` if a run written to ``out`` would overwrite something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"--out {out}: it exists and is not empty; name a new folder, or remove it")


def write_tables(
    folder: Path, result: BacktestResult, verdicts: pd.DataFrame, panel: Panel, fractional: bool = True
) -> None:
    """Write the tables of a backtest; floats in round-trip form, days as YYYY-MM-DD.

    Args:
        panel: what was traded on; the transactions are stated in the shares and prices of its market.
        fractional: as ``TradingConfig.fractional``.
    """
    write_table(folder / "returns.csv", result.returns)
    write_table(folder / "returns_gross.csv", result.gross.to_frame())
    write_table(folder / "weights.csv", result.weights)
    write_table(folder / "positions.csv", result.positions)
    write_table(folder / "transactions.csv", in_market_units(result.transactions, panel, fractional).set_index("date"))
    write_table(folder / "costs.csv", result.costs)
    write_table(folder / "payments.csv", result.payments.set_index("date"))
    write_table(folder / "clusters.csv", clusters_table(result.decisions).set_index("date"))
    write_table(folder / "symbols.csv", verdicts.drop(columns="remarks", errors="ignore").rename_axis("symbol"))
    last = last_with_clusters(result.decisions)
    rows = pd.DataFrame() if last is None else last.embeddings
    embeddings_table(rows, None if last is None else last.asof).to_parquet(folder / "embeddings.parquet", index=False)
    write_table(folder / "stability.csv", stability(result.decisions).set_index("date"))


def write_encoded(folder: Path, rows: pd.DataFrame, asof: pd.Timestamp) -> None:
    """Write the encoder's own embeddings of a decision whose clusters are drawn from others."""
    embeddings_table(rows, asof).to_parquet(folder / "encoded.parquet", index=False)


def write_passports(folder: Path, table: pd.DataFrame) -> None:
    """Write the clusters' passports (``strategies.passports.passport.passports``), a row per decision and cluster."""
    write_table(folder / "passports.csv", table.set_index("date"))


def write_promises(folder: Path, table: pd.DataFrame) -> None:
    """Write what decisions promised and what was kept of it (``engine.evidence.promises``), a row per decision."""
    write_table(folder / "promises.csv", table.set_index("date"))


def write_maps(folder: Path, table: pd.DataFrame) -> None:
    """Write where each decision's map puts the assets, and its tree (``engine.evidence.cluster_maps``)."""
    table.to_parquet(folder / "maps.parquet", index=False)


def write_importance(folder: Path, table: pd.DataFrame) -> None:
    """Write what the last decision's embeddings looked at (``strategies.passports.importance.importance_table``)."""
    write_table(folder / "importance.csv", table.set_index("method"))


def save_policies(folder: Path, planned: Sequence[Fold], policies: dict[int, Policy]) -> None:
    """Save what the policies of a run's folds learned, by number; the last one under ``MODEL_DIR`` too.

    One that does not learn leaves nothing: it is made anew from the configuration.
    """
    spans = {fold.number: (fold.train_start, fold.train_end) for fold in planned if learns(policies[fold.number])}
    if spans:
        save_policy(policies[max(spans)], folder / MODEL_DIR, spans[max(spans)])
    if len(spans) > 1:
        for number, span in spans.items():
            save_policy(policies[number], folder / FOLDS_DIR / f"{number:03d}", span)


def stored_policy(run_dir: Path, day: pd.Timestamp) -> tuple[Path, pd.Timestamp, pd.Timestamp]:
    """Which of a run's policies decides on ``day``: its folder, and first and last day of its training."""
    facts = read_run_json(run_dir)
    found, span = Path(run_dir) / MODEL_DIR, facts["training"]["span"]
    rows = facts.get("folds", [])
    if len(rows) > 1:
        # Before the first fold's time there is none; the caller sees that its training ends too late.
        row = ([rows[0]] + [row for row in rows if pd.Timestamp(row["decides_from"]) <= day])[-1]
        found, span = Path(run_dir) / FOLDS_DIR / f"{row['number']:03d}", (row["train_start"], row["train_end"])
    return found, *(pd.Timestamp(end) for end in span)


def clusters_table(decisions: list[Decision]) -> pd.DataFrame:
    """Columns date, symbol, cluster, sharpe, selected: a row per clustered asset and decision.

    ``uncertainty``, the mean variance of the asset's newest embedding, follows where the encoder states one; ``trust``,
    the part of its weight that a doubtful name keeps, and ``why`` where rules ask and have a word.
    """
    parts = [
        pd.DataFrame(
            {
                "date": d.asof,
                "symbol": d.labels.index,
                "cluster": d.labels.to_numpy(),
                "sharpe": d.sharpe.reindex(d.labels.index).to_numpy(),
                "selected": d.labels.index.isin(d.selected),
            }
            | _beside(d)
        )
        for d in decisions
        if len(d.labels)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["date", "symbol", "cluster", "sharpe", "selected"])
    )


def _beside(decision: Decision) -> dict[str, np.ndarray]:
    """What not every decision states of its names."""
    known = {"uncertainty": decision.uncertainty, "trust": decision.trust}
    names = decision.labels.index
    found = {name: values.reindex(names).to_numpy() for name, values in known.items() if values is not None}
    if decision.reasons:
        found["why"] = np.array([decision.reasons.get(name, "") for name in names], dtype=object)
    return found


def last_with_clusters(decisions: Sequence[Decision]) -> Decision | None:
    """The last decision that states clusters."""
    return next((decision for decision in reversed(decisions) if len(decision.labels)), None)


def embeddings_table(rows: pd.DataFrame, asof: pd.Timestamp | None) -> pd.DataFrame:
    """A decision's embeddings: columns date, symbol, e0, e1, ..., float32; no rows where there is no such decision."""
    if asof is None:
        return pd.DataFrame(columns=["date", "symbol"])
    values = rows.to_numpy(dtype=np.float32)
    table = pd.DataFrame(values, columns=[f"e{i}" for i in range(values.shape[1])])
    table.insert(0, "symbol", rows.index.astype(str))
    table.insert(0, "date", asof)
    return table


def read_own_run(run_dir: Path, purpose: str) -> dict:
    """A run directory's run.json, for what only a run that this program made can do.

    Raises:
        ValueError: the run was made elsewhere and judged here (``engine.jobs.judge``).
    """
    facts = read_run_json(run_dir)
    if "judged" in facts:
        raise ValueError(
            f"{run_dir}: a run made elsewhere and judged here; it can be assessed (significance) and drawn (report) "
            f"anew, but it has no policy and no source of prices to {purpose}"
        )
    return facts


def read_run_json(run_dir: Path) -> dict:
    """A run directory's run.json; a clear error where there is none."""
    path = Path(run_dir) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run_dir}: not a run directory (it has no run.json)")
    return json.loads(path.read_text(encoding="utf-8"))


def fingerprint(panel: Panel) -> str:
    """SHA-256 of the prices, dates and symbols of a panel, and of all that it carries beside them."""
    digest = hashlib.sha256()
    digest.update("\n".join(map(str, panel.symbols)).encode())
    digest.update(panel.dates.to_numpy().astype("datetime64[D]").astype(np.int64).tobytes())
    for name in FIELDS:
        digest.update(np.ascontiguousarray(getattr(panel, name).to_numpy(dtype=float)).tobytes())
    if panel.exog is not None:
        digest.update("\n".join(panel.exog.columns).encode())
        digest.update(np.ascontiguousarray(panel.exog.to_numpy(dtype=float)).tobytes())
    if panel.member is not None:
        digest.update(np.packbits(panel.member.to_numpy(dtype=bool)).tobytes())
    for name in MARKET:  # whole shares are sized by them
        if getattr(panel, name) is not None:
            digest.update(np.ascontiguousarray(getattr(panel, name).to_numpy(dtype=float)).tobytes())
    return digest.hexdigest()
