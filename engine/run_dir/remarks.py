"""What was said about the symbols, grouped by kind: for the console, ``run.json`` and the report."""

from __future__ import annotations

import pandas as pd

from clusterfolio.feeds.levels import BREAK
from clusterfolio.feeds.raw import DOUBTED, GUESSED, MENDED, NOTED, Remark

#: Natures of a remark, those first that ask for a look.
NATURES = (DOUBTED, GUESSED, MENDED, NOTED)

#: Symbols named in a line.
SHOWN = 5


def grouped(verdicts: pd.DataFrame) -> list[dict]:
    """The remarks in a table of verdicts, a group per nature and kind, doubts first, then by the number of symbols.

    Returns:
        Groups of ``nature``, ``kind``, ``symbols`` (all of them, in order), ``times`` and ``example`` (a symbol with
        its day, factor and words; empty where there is nothing but the kind).
    """
    found: dict[tuple[str, str], list] = {}
    for said in verdicts["remarks"]:
        for remark in said:
            found.setdefault((remark.nature, remark.kind), []).append(remark)
    groups = [
        {
            "nature": nature,
            "kind": kind,
            "symbols": sorted({remark.symbol for remark in remarks}),
            "times": len(remarks),
            "example": _example(remarks),
        }
        for (nature, kind), remarks in found.items()
    ]
    return sorted(groups, key=lambda one: (NATURES.index(one["nature"]), -len(one["symbols"]), one["kind"]))


def _example(remarks: list[Remark]) -> str:
    for remark in remarks:
        words = str(remark).removeprefix(remark.kind)
        if words:
            return f"{remark.symbol}{words}"
    return ""


def line(group: dict) -> str:
    """A group in a line.

    >>> group = {"nature": "mended", "kind": "split undone", "symbols": ["AAA", "BBB"], "times": 3}
    >>> line(group | {"example": "AAA 2024-06-10 x0.1"})
    'mended: split undone: 2 symbols, 3 times (AAA, BBB); AAA 2024-06-10 x0.1'
    """
    names, times = group["symbols"], group["times"]
    if len(names) == times == 1:
        return f"{group['nature']}: {group['kind']}: {group['example'] or names[0]}"
    shown = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    counted = f"{len(names)} symbol{'s' if len(names) > 1 else ''}" + (f", {times} times" if times > len(names) else "")
    return f"{group['nature']}: {group['kind']}: {counted} ({shown})" + (
        f"; {group['example']}" if group["example"] else ""
    )


def broken_positions(verdicts: pd.DataFrame, positions: pd.DataFrame) -> list[str]:
    """What was held over a price level that nothing explains, and the account had it been worth nothing.

    Args:
        positions: value by symbol and ``cash`` at each session's close (``engine.trading.backtest.Result.positions``).
    """
    found, value = [], positions.sum(axis=1)
    for symbol, said in verdicts["remarks"].items():
        for remark in said:
            before = positions.index.searchsorted(remark.day, side="left") - 1 if remark.kind == BREAK else -1
            if symbol not in positions.columns or before < 0 or not positions[symbol].iloc[before] > 0:
                continue
            held, account = positions[symbol].iloc[before], value.iloc[before]
            left = value.iloc[-1] * (1 - held / account)
            found.append(
                f"{symbol}: held at {held:,.0f} ({held / account:.1%} of the account) on {value.index[before].date()}; "
                f"its prices then break (x{remark.factor:.4g} on {remark.day.date()}) and it leaves at the last "
                "believed close. Had it been worth nothing, the account would end at "
                f"{left:,.0f}, not {value.iloc[-1]:,.0f}."
            )
    return found
