"""Figures as words: lengths of time, chances, shares with their sign."""

from __future__ import annotations


def rival(row: dict) -> str:
    """Who a further claim is against, in words."""
    return row["claim"] if row["rival"] == row["claim"] else f"{row['claim']} ({row['rival']})"


def span(years: float) -> str:
    """A length of time in words.

    >>> span(1.25), span(0.5)
    ('1.2 years', '6 months')
    """
    return f"{round(12 * years)} months" if years < 1 else f"{years:.1f} years"


def often(p: float) -> str:
    """How often, in words that need no statistics.

    >>> often(0.34), often(0.06), often(0.999)
    ('in about 1 case in 3', 'in about 1 case in 17', 'nearly always')
    """
    if p > 0.95:
        return "nearly always"
    if p > 0.6:
        return f"in about {round(10 * p)} cases of 10"
    return f"in about 1 case in {max(2, round(1 / p))}"


def p_value(p: float) -> str:
    """A chance as a number; small ones as "under".

    >>> p_value(0.034), p_value(0.00004)
    ('0.034', 'under 0.001')
    """
    return "under 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def number(value: float) -> str:
    """Two decimals, with a true minus sign.

    >>> number(-0.5)
    '−0.50'
    """
    return f"{value:.2f}".replace("-", "−")


def signed(value: float) -> str:
    """A share as a percentage with its sign.

    >>> signed(0.0312), signed(-0.2)
    ('+3.1 %', '−20.0 %')
    """
    return f"{value * 100:+.1f} %".replace("-", "−")


def capital(text: str) -> str:
    """The first letter a capital one, the others as they are."""
    return text[0].upper() + text[1:]


def most(probability: float) -> str:
    """A probability as a percentage, none so sure as 100.

    >>> most(0.934), most(0.9999)
    ('93 %', 'over 99 %')
    """
    return "over 99 %" if probability > 0.99 else "under 1 %" if probability < 0.01 else f"{probability * 100:.0f} %"
