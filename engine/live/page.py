"""One page of paper trading: the account beside the model, day by day, and what sets them apart; no script, no picture
from elsewhere.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from clusterfolio.engine.live.books import CAUSES

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
svg { width: 100%; height: 14em; background: #fafafa }
"""

#: Days in the table; the file of all of them is beside the page.
SHOWN = 60


def write_page(path: Path, title: str, days: Sequence[tuple[dt.date, Mapping[str, Any]]], halted: str) -> None:
    """Write the page; ``days`` are the journal's lines, oldest first."""
    last = days[-1][1]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        f"<p><b>Halted:</b> {escape(halted)}</p>" if halted else "",
        f"<p>{escape(last['day'])}: the account is worth {last['account']:,.2f}, the model {last['model']:,.2f}, "
        f"{last['drift']:+,.2f} apart. The model is the backtest's account: everything filled at the market's open, "
        "without costs, dividends re-invested (in whole shares: paid), interest on cash.</p>",
        _lines([line["account"] for _, line in days], [line["model"] for _, line in days]),
        "<h2>What sets them apart, in money, since the beginning</h2>",
        _table(["cause", "amount"], [[cause, f"{amount:+,.2f}"] for cause, amount in last["so_far"].items()]),
        *_quantities(last),
        "<h2>Day by day</h2>",
        _table(
            ["day", "account", "model", "apart", "today", *CAUSES],
            [
                [line["day"], *(f"{line[key]:,.2f}" for key in ("account", "model", "drift", "change")),
                 *(f"{line['causes'][cause]:+,.2f}" for cause in CAUSES)]
                for _, line in reversed(days[-SHOWN:])
            ],
        ),
        "<p>All days are in days.csv.</p>",
    ]  # fmt: skip
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")


def _quantities(line: Mapping[str, Any]) -> list[str]:
    """What the account's shares differ from the model's by, at the last closes."""
    rows = [
        [symbol, f"{sum(by.values()):+,.2f}", ", ".join(f"{cause} {worth:+,.2f}" for cause, worth in by.items())]
        for symbol, by in line["quantities"].items()
    ]
    return ["<h2>Shares held otherwise than by the model, in money</h2>", _table(["symbol", "apart", "by"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return "<table><tr>" + "".join(f"<th>{escape(name)}" for name in head) + cells + "</table>"


def _lines(account: Sequence[float], model: Sequence[float]) -> str:
    """Both values over time; the account's in full, the model's dashed."""
    low, high = min(*account, *model), max(*account, *model)
    scale = (high - low) or 1.0

    def points(values: Sequence[float]) -> str:
        step = 1000 / max(1, len(values) - 1)
        return " ".join(f"{n * step:.1f},{195 - 190 * (value - low) / scale:.1f}" for n, value in enumerate(values))

    return (
        '<svg viewBox="0 0 1000 200" preserveAspectRatio="none" role="img" aria-label="account and model">'
        f'<polyline fill="none" stroke="#888" stroke-width="2" stroke-dasharray="6 4" points="{points(model)}"/>'
        f'<polyline fill="none" stroke="#0a5" stroke-width="2" points="{points(account)}"/></svg>'
        f"<p>{low:,.0f} to {high:,.0f}; full: account, dashed: model.</p>"
    )
