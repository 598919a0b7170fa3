"""The page a run ends with: everything in a run directory, in one self-contained HTML file."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path

import empyrical as ep
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clusterfolio.engine.evidence.verdict import covered
from clusterfolio.engine.report import plots
from clusterfolio.engine.report.importance import importance_page, plot_importance
from clusterfolio.engine.report.passport import passport_page
from clusterfolio.engine.report.tear_sheets import Sheet, tear_sheets
from clusterfolio.engine.report.verdict import verdict_page
from clusterfolio.engine.run_dir.tables import ReportInputs, read_run

logger = logging.getLogger(__name__)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Rows of ``weights.csv`` drawn by group fall back to names where there is one group only; so many are told apart.
TOP_NAMES = 9


def write_report(run_dir: Path, inputs: ReportInputs | None = None) -> Path:
    """Write ``report.html`` and its pictures (PNG) into ``run_dir``; returns the page's path.

    Args:
        inputs: what to show; read from ``run_dir`` where not given.
    """
    run_dir = Path(run_dir)
    inputs = read_run(run_dir) if inputs is None else inputs
    pictures = make_pictures(inputs)
    sheets = tear_sheets(
        inputs.returns,
        inputs.positions,
        inputs.transactions,
        _groups(inputs)[0],
        inputs.run["currency"],
        bool(inputs.run["simulated"]),
    )
    for name, png in pictures.items():
        _write(run_dir / f"{name}.png", png)
    for sheet in sheets:
        if sheet.png:
            _write(run_dir / f"tearsheet_{sheet.name}.png", sheet.png)
    path = run_dir / "report.html"
    _write(path, render(inputs, pictures, sheets).encode("utf-8"))
    logger.info("report written: %s", path)
    return path


def make_pictures(inputs: ReportInputs) -> dict[str, bytes]:
    """The page's own pictures as PNG, by name; one that has nothing to show is left out."""
    groups, kind = _groups(inputs)
    run, weights, simulated = inputs.run, inputs.weights, bool(inputs.run["simulated"])
    start = min(weights.index[0], inputs.returns.index[0] - pd.Timedelta(days=1))
    drawn = {
        "equity": plots.plot_equity(
            inputs.returns, inputs.gross, run["capital"], start, run["currency"], run["benchmark"]
        ),
        "drawdowns": plots.plot_drawdowns(inputs.returns, run["benchmark"]),
        "allocation": plots.plot_allocation(inputs.positions, groups, kind),
    }
    if len(weights) > 1 and (weights.drop(columns="CASH") > 0).any(axis=None):
        drawn["target_weights"] = plots.plot_target_weights(weights)
    if inputs.stability is not None and len(inputs.stability) > 1:
        refits = [pd.Timestamp(fold["decides_from"]) for fold in run.get("folds", [])[1:]]
        drawn["stability"] = plots.plot_stability(inputs.stability, refits)
    if inputs.luck is not None and len(inputs.luck):
        drawn["luck"] = plots.plot_luck(inputs.luck, inputs.evidence["luck"])
    embeddings, last = last_embeddings(inputs), last_decision(inputs)
    if len(embeddings) > 1:
        labels, selected = last["cluster"].reindex(embeddings.index), list(last.index[last["selected"].astype(bool)])
        drawn["clusters"] = plots.plot_clusters(embeddings, labels, selected)
        drawn["dendrogram"] = plots.plot_dendrogram(embeddings, labels, selected)
    if inputs.importance is not None and len(inputs.importance):
        drawn["importance"] = plot_importance(inputs.importance)
    return {name: plots.to_png(ax, simulated) for name, ax in drawn.items()}


def render(inputs: ReportInputs, pictures: dict[str, bytes], sheets: list[Sheet]) -> str:
    """The page's HTML, everything inside it."""
    environment = Environment(
        loader=PackageLoader("clusterfolio.engine.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "number": number, "money": money, "picture": _data_uri}
    environment.globals["css"] = Markup(environment.loader.get_source(environment, "report.css")[0])
    return environment.get_template("report.html").render(
        inputs=inputs,
        run=inputs.run,
        metrics=inputs.metrics,
        period=period(inputs),
        facts=facts(inputs),
        stages=stages(inputs.run),
        notes=list(dict.fromkeys(inputs.run.get("notes", []))),
        headline=headline(inputs.metrics),
        years=calendar_table(inputs.returns),
        picks=picks(inputs),
        lasting=lasting(inputs),
        verdict=verdict_page(inputs.evidence, inputs.baselines),
        passports=passport_page(inputs.passports, inputs.config),
        importance=importance_page(inputs.importance),
        trades=transaction_summary(inputs.transactions),
        verdicts=inputs.symbols["verdict"].value_counts().to_dict(),
        questioned=inputs.symbols[inputs.symbols["verdict"] != "used"],
        caveats=caveats(inputs),
        pictures=pictures,
        sheets=sheets,
        months=MONTHS,
    )


def period(inputs: ReportInputs) -> dict:
    """First and last session and their number."""
    sessions = inputs.returns.index
    return {"first": sessions[0].date(), "last": sessions[-1].date(), "sessions": len(sessions)}


def facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What ran, line by line; what the run did not record is left out."""
    run, held = inputs.run, inputs.positions.drop(columns="cash")
    lines = [
        ("Prices", "simulated" if run["simulated"] else inputs.config.get("data", {}).get("source")),
        ("Symbols asked for", f"{len(inputs.symbols):,}"),
        ("Clustered at the last decision", f"{len(last_decision(inputs)):,}"),
        ("Ever held", f"{int((held != 0).any().sum()):,}"),
        ("Benchmark", run["benchmark"]),
        ("Account", f"{run['currency']} {money(run['capital'])}"),
        ("Device", run.get("device")),
        ("Threads", run.get("threads")),
        ("Seed", run.get("seed")),
        ("Trained on", " to ".join(run.get("training", {}).get("span", [])) or None),
        ("Windows", f"{windows:,}" if (windows := run.get("training", {}).get("windows")) else None),
        ("Cash earns", run.get("cash")),
        ("Inputs beside prices", "; ".join(f"{row['name']} ({row['lag']})" for row in run.get("inputs", [])) or None),
        ("Fingerprints", _listed({of: text[:16] for of, text in run.get("fingerprint", {}).items()})),
        ("Versions", _listed(run.get("versions", {}))),
    ]
    return [(label, str(value)) for label, value in lines if value is not None]


def stages(run: dict) -> list[tuple[str, float, float | None]]:
    """Seconds by stage and the process's peak memory (MiB) at its end; their sum and maximum last."""
    seconds, peaks = run.get("seconds", {}), run.get("peak_memory_mb", {})
    rows = [(name, value, peaks.get(name)) for name, value in seconds.items()]
    return [*rows, ("all stages", sum(seconds.values()), max(peaks.values(), default=None))] if rows else []


REVISED = (
    "The economic series count from the day they were published, but with the values as revised since: on that day "
    "another figure was read."
)

SCORED = (
    "A text counts from the first close after it. Texts are often collected and corrected later, and a language model "
    "may have been trained on what followed."
)

SURVIVORSHIP = (
    "The list of instruments was drawn up with today's knowledge. Names that failed or were delisted before are "
    "missing from it, so past returns look better than they could have been."
)

#: Rows of the headline table: label, key in ``metrics.json``, how it is written.
HEADLINE = (
    ("Total return", "total_return", "percent"),
    ("Return per year (CAGR)", "cagr", "percent"),
    ("Volatility per year", "volatility", "percent"),
    ("Sharpe ratio, over cash", "sharpe", "number"),
    ("Sortino ratio, over cash", "sortino", "number"),
    ("Deepest drawdown", "max_drawdown", "percent"),
    ("Its length, sessions", "max_drawdown_days", "count"),
    ("Calmar ratio", "calmar", "number"),
    ("Turnover per year, one way", "turnover", "percent"),
)


def headline(metrics: dict) -> list[tuple[str, str, str]]:
    """Rows ``(label, strategy, benchmark)`` of the headline table, as text."""
    write = {"percent": percent, "number": number, "count": lambda value: "–" if value is None else f"{value:,d}"}
    return [
        (label, write[form](metrics["strategy"].get(key)), write[form](metrics["benchmark"].get(key)))
        for label, key, form in HEADLINE
    ]


def calendar_table(returns: pd.DataFrame) -> list[dict]:
    """One row per year: the returns of both by month and over the year, None where the run has no session."""
    monthly = {name: ep.aggregate_returns(returns[name], "monthly") for name in ("strategy", "benchmark")}
    yearly = {name: ep.aggregate_returns(returns[name], "yearly") for name in ("strategy", "benchmark")}
    rows = []
    for year in yearly["strategy"].index:
        row = {"year": int(year)}
        for name in ("strategy", "benchmark"):
            row[name] = [monthly[name].get((year, month)) for month in range(1, 13)]
            row[f"{name}_year"] = yearly[name][year]
        rows.append(row)
    return rows


def last_decision(inputs: ReportInputs) -> pd.DataFrame:
    """Rows of ``clusters`` at the last decision, by symbol."""
    clusters = inputs.clusters
    return clusters[clusters["date"] == clusters["date"].max()].set_index("symbol")


def last_embeddings(inputs: ReportInputs) -> pd.DataFrame:
    """The embedding at the last decision that has one, symbol × dimensions; only clustered assets."""
    table = inputs.embeddings
    if table.empty:
        return pd.DataFrame()
    table = table[table["date"] == table["date"].max()].set_index("symbol").drop(columns="date")
    return table[table.index.isin(last_decision(inputs).index)]


def picks(inputs: ReportInputs) -> list[dict]:
    """The names selected at the last decision, by cluster: what they are and what they weigh."""
    last = last_decision(inputs)
    chosen = last[last["selected"].astype(bool)].sort_values("cluster", kind="stable")
    weights, n_clusters = inputs.weights.iloc[-1], last["cluster"].max() + 1 if len(last) else 0
    members = last["cluster"].value_counts()
    return [
        {
            "symbol": symbol,
            "cluster": row["cluster"],
            "members": members[row["cluster"]],
            "color": plots.cluster_color(row["cluster"], n_clusters),
            "sharpe": row["sharpe"],
            "weight": weights.get(symbol, 0.0),
            "name": _known(inputs, symbol, "name"),
            "asset_class": _known(inputs, symbol, "asset_class"),
            "sector": _known(inputs, symbol, "sector"),
        }
        for symbol, row in chosen.iterrows()
    ]


def lasting(inputs: ReportInputs) -> dict | None:
    """How clusters last over the run: decisions compared, mean adjusted Rand index, share of members that moved."""
    table = inputs.stability
    if table is None or not table["common"].sum():
        return None
    moved = table["moved"].sum() / table["common"].sum()
    return {"compared": len(table), "adjusted_rand": table["adjusted_rand"].mean(), "moved": moved}


def transaction_summary(transactions: pd.DataFrame) -> list[dict]:
    """Number, value and costs of the trades by reason and side."""
    side = (transactions["amount"] > 0).map({True: "buy", False: "sell"})
    rows = []
    for (reason, way), trades in transactions.groupby(["reason", side]):
        rows.append(
            {
                "reason": reason,
                "side": way,
                "trades": len(trades),
                "value": trades["value"].abs().sum(),
                "commission": trades["commission"].sum(),
                "spread": trades["spread"].sum(),
            }
        )
    return rows


def caveats(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What a reader must know before believing the figures: ``(heading, text)``."""
    run, symbols, metrics = inputs.run, inputs.symbols, inputs.metrics
    currencies = sorted(set(symbols.get("currency", pd.Series(dtype=str)).dropna()) - {"", run["currency"]})
    known = [
        (
            "Currency",
            f"Every figure is in {run['currency']} and unhedged."
            + (f" Prices quoted in {', '.join(currencies)} were converted daily." if currencies else ""),
        ),
        ("Taxes", "Taxes on gains, dividends and transactions are not deducted. Dividends count as reinvested."),
        ("Fills", "Orders are decided after a close and filled at the next open, without moving the price."),
        ("One history", "One path of one market is one sample. A Sharpe ratio over few years has a wide error."),
    ]
    if "asset_class" in symbols and symbols["asset_class"].str.lower().isin({"forex", "fx", "currency"}).any():
        known.insert(
            2, ("No carry", "Forex positions earn the change of the rate only: no interest is paid on either leg.")
        )
    if inputs.config.get("inputs", {}).get("macro"):
        known.append(("Revised values", REVISED))
    if inputs.config.get("inputs", {}).get("sentiment"):
        known.append(("Scored texts", SCORED))
    if not metrics["strategy"]["costs"]["total"]:
        known.insert(0, ("No costs", "This run charged neither commission nor spread; a real account would pay both."))
    if run["simulated"]:
        known.insert(0, ("Simulated prices", "The market in this run is made up: it says nothing about real ones."))
    else:
        members = run.get("membership")
        known.insert(0, ("Survivorship", covered(members) if members else SURVIVORSHIP))
    return known


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; a dash where it is not defined."""
    return "–" if value is None or pd.isna(value) else f"{value:,.{digits}%}".replace("-", "−")


def number(value: float | None, digits: int = 2) -> str:
    """A plain figure with separators; a dash where it is not defined."""
    return "–" if value is None or pd.isna(value) else f"{value:,.{digits}f}".replace("-", "−")


def money(value: float | None) -> str:
    """An amount of the account's currency without cents."""
    return number(value, 0)


def _groups(inputs: ReportInputs) -> tuple[pd.Series, str]:
    """The group of every held symbol and what the groups are: the first of class and sector that tells them apart."""
    held = inputs.positions.columns.drop("cash")
    held = held[(inputs.positions[held] != 0).any()]
    for column, kind in (("asset_class", "asset class"), ("sector", "sector")):
        if column in inputs.symbols:
            groups = inputs.symbols[column].reindex(held).replace("", "other").fillna("other")
            if len(groups.unique()) > 1:
                return groups, kind
    largest = inputs.positions[held].mean().nlargest(TOP_NAMES).index
    return pd.Series([name if name in largest else "other names" for name in held], held, dtype=object), "name"


def _listed(values: dict) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or None


def _known(inputs: ReportInputs, symbol: str, column: str) -> str:
    known = inputs.symbols.get(column, pd.Series(dtype=object)).get(symbol, "")
    return "" if pd.isna(known) else str(known)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _write(path: Path, content: bytes) -> None:
    """Write whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
