"""What ran: settings, versions, trainings and how long it took."""

from __future__ import annotations

from pathlib import Path

from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.layout.text import money
from clusterfolio.engine.run_dir.tables import ReportInputs, asked_for


def build(inputs: ReportInputs) -> dict:
    """What the template shows."""
    return {
        "facts": facts(inputs),
        "stages": stages(inputs.run),
        "folds": inputs.run.get("folds") or [],
        "settings": inputs.config,
    }


def facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What ran, line by line; what the run did not record is left out."""
    run, held = inputs.run, inputs.positions.drop(columns="cash")
    training = run.get("training") or {}
    lines = [
        ("Prices", "simulated" if run["simulated"] else inputs.config.get("data", {}).get("source")),
        ("Symbols asked for", f"{int(asked_for(inputs.symbols).sum()):,}"),
        ("Clustered at the last decision", f"{len(inputs.last_clusters()):,}" if len(inputs.clusters) else None),
        ("Ever held", f"{int((held != 0).any().sum()):,}"),
        ("Benchmark", run["benchmark"]),
        ("Account", f"{run['currency']} {money(run['capital'])}"),
        ("Device", run.get("device")),
        ("Threads", run.get("threads")),
        ("Seed", run.get("seed")),
        ("Trained on", " to ".join(training.get("span") or []) or None),
        ("Windows", f"{windows:,}" if (windows := training.get("windows")) else None),
        ("Cash", cash_line(inputs)),
        ("Inputs beside prices", "; ".join(f"{row['name']} ({row['lag']})" for row in run.get("inputs") or []) or None),
        ("Fingerprints", _listed({of: text[:16] for of, text in (run.get("fingerprint") or {}).items() if text})),
        ("Versions", _listed(run.get("versions") or {})),
    ]
    return [(label, str(value)) for label, value in lines if value is not None]


def cash_line(inputs: ReportInputs) -> str | None:
    """What cash in the account earned, and what ratios are taken over."""
    rate = inputs.run.get("cash")
    if rate is None:
        return None
    if inputs.config.get("trading", {}).get("cash_interest"):
        total = inputs.metrics["strategy"]["interest"]["total"]
        return f"earned {inputs.run['currency']} {money(total)} in the account, at {rate}; ratios over cash are over it"
    if "judged" in inputs.run:
        return f"ratios over cash are over {rate}"
    return f"earned nothing in the account; ratios over cash are over {rate}"


def stages(run: dict) -> list[tuple[str, float, float | None]]:
    """Seconds by stage and the process's peak memory (MiB) at its end; their sum and maximum last."""
    seconds, peaks = run.get("seconds") or {}, run.get("peak_memory_mb") or {}
    rows = [(name, value, peaks.get(name)) for name, value in seconds.items()]
    return [*rows, ("all stages", sum(seconds.values()), max(peaks.values(), default=None))] if rows else []


def _listed(values: dict) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or None


SECTION = Section("run", "What ran", Path(__file__).with_suffix(".html"), build)
