"""How figures are written on the page."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; a dash where it is not defined."""
    return "–" if value is None or pd.isna(value) else f"{value:,.{digits}%}".replace("-", "−")


def number(value: float | None, digits: int = 2) -> str:
    """A plain figure with separators; a dash where it is not defined."""
    return "–" if value is None or pd.isna(value) else f"{value:,.{digits}f}".replace("-", "−")


def money(value: float | None) -> str:
    """An amount of the account's currency without cents."""
    return number(value, 0)


def signed(value: float | None, digits: int = 1) -> Markup:
    """A cell of a table with a fraction as percent, marked where it is below 0."""
    below = value is not None and value < 0
    return Markup("<td{}>{}</td>").format(Markup(' class="negative"') if below else "", percent(value, digits))


def shade(value: float | None, most: float) -> Markup:
    """A cell of a heat map: a fraction as percent, the deeper the further from 0; ``most`` = the deepest."""
    if value is None or pd.isna(value):
        return Markup('<td class="heat">–</td>')
    depth = min(1.0, abs(value) / most) if most else 0.0
    tone = "bad" if value < 0 else "good"
    return Markup('<td class="heat {}" style="--depth:{}%">{}</td>').format(tone, round(36 * depth), percent(value))
