"""The run directory: every table of a run as a file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.trading.backtest import BacktestResult
from clusterfolio.feeds.panel import FIELDS, Panel
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.passports.continuity import stability
from clusterfolio.strategies.policy import Decision

#: The encoder that decides last, and one folder for each fold's where there are several.
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


def write_tables(folder: Path, result: BacktestResult, verdicts: pd.DataFrame) -> None:
    """Write the tables of a backtest; floats in round-trip form, days as YYYY-MM-DD."""
    _csv(result.returns, folder / "returns.csv")
    _csv(result.gross.to_frame(), folder / "returns_gross.csv")
    _csv(result.weights, folder / "weights.csv")
    _csv(result.positions, folder / "positions.csv")
    _csv(result.transactions.set_index("date"), folder / "transactions.csv")
    _csv(clusters_table(result.decisions).set_index("date"), folder / "clusters.csv")
    _csv(verdicts.drop(columns="remarks", errors="ignore").rename_axis("symbol"), folder / "symbols.csv")
    embeddings_table(result.decisions).to_parquet(folder / "embeddings.parquet", index=False)
    _csv(stability(result.decisions).set_index("date"), folder / "stability.csv")


def write_passports(folder: Path, table: pd.DataFrame) -> None:
    """Write the clusters' passports (``strategies.passports.passport.passports``), a row per decision and cluster."""
    _csv(table.set_index("date"), folder / "passports.csv")


def write_importance(folder: Path, table: pd.DataFrame) -> None:
    """Write what the last decision's embeddings looked at (``strategies.passports.importance.importance_table``)."""
    _csv(table.set_index("method"), folder / "importance.csv")


def save_encoders(folder: Path, encoders: dict[int, Encoder]) -> None:
    """Save the encoders of a run's folds, by number; the last one under ``MODEL_DIR`` too."""
    encoders[max(encoders)].save(folder / MODEL_DIR)
    if len(encoders) > 1:
        for number, encoder in encoders.items():
            encoder.save(folder / FOLDS_DIR / f"{number:03d}")


def stored_encoder(run_dir: Path, day: pd.Timestamp) -> tuple[Path, pd.Timestamp, pd.Timestamp]:
    """Which of a run's encoders decides on ``day``: its folder, and first and last day of its training."""
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

    ``uncertainty``, the mean variance of the asset's newest embedding, follows where the encoder states one.
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
            | _uncertainty(d)
        )
        for d in decisions
        if len(d.labels)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["date", "symbol", "cluster", "sharpe", "selected"])
    )


def _uncertainty(decision: Decision) -> dict[str, np.ndarray]:
    found = decision.diagnostics.get("uncertainty")
    return {} if found is None else {"uncertainty": found.reindex(decision.labels.index).to_numpy()}


def embeddings_table(decisions: list[Decision]) -> pd.DataFrame:
    """The last decision's embeddings: columns date, symbol, e0, e1, ..., float32, unit length."""
    last = next((d for d in reversed(decisions) if len(d.labels)), None)
    if last is None:
        return pd.DataFrame(columns=["date", "symbol"])
    values = last.embeddings.to_numpy(dtype=np.float32)
    table = pd.DataFrame(values, columns=[f"e{i}" for i in range(values.shape[1])])
    table.insert(0, "symbol", last.embeddings.index.astype(str))
    table.insert(0, "date", last.asof)
    return table


def write_json(path: Path, content: dict) -> None:
    """JSON with a stable order; a number that is not finite becomes null."""
    path.write_text(json.dumps(_finite(content), indent=2, default=str) + "\n", encoding="utf-8")


def read_run_json(run_dir: Path) -> dict:
    """A run directory's run.json; a clear error where there is none."""
    path = Path(run_dir) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run_dir}: not a run directory (it has no run.json)")
    return json.loads(path.read_text(encoding="utf-8"))


def fingerprint(panel: Panel) -> str:
    """SHA-256 of the prices, dates and symbols of a panel, and of the series and members it carries beside them."""
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
    return digest.hexdigest()


def _csv(table: pd.DataFrame, path: Path) -> None:
    # pandas writes floats with repr(), the shortest form that reads back to the same bits.
    table.to_csv(path, date_format="%Y-%m-%d", lineterminator="\n")


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
