"""Numbers out of the ways files write them: decimal sign, thousands, currency and magnitude in the cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.feeds.raw import DataError
from clusterfolio.feeds.units import unit_of

#: Written where there is no number.
BLANKS = {"", "-", "--", "\u2014", "nan", "na", "n/a", "#n/a", "#n/a n/a", "null", "none", ".", "nil", "x", "*"}

#: Signs between thousands that are no decimal sign: blanks of any width, apostrophes.
SPACERS = "[ \\t\u00a0\u2009\u202f'\u2019\u2018]"

MAGNITUDES = {"K": 1e3, "M": 1e6, "B": 1e9}

#: Currencies' signs that several currencies share: they state none.
SHARED_SIGNS = {"$", "\u00a5", "kr", "kr."}

#: Thousands in threes, or as India writes them; the decimals.
GROUPED = r"[+-]?(?:\d{1,3}(?:T\d{3})+|\d{1,2}(?:T\d{2})*T\d{3}|\d+)?(?:D\d*)?(?:[eE][+-]?\d+)?"


#: What proves a decimal comma, and a decimal point.
COMMA = r"^[^,]*\.[^,]*,\d*$|^[+-]?0?,\d|,\d{1,2}$|,\d{4,}$|\.\d{3}\.|\d{4},"
POINT = r"^[^.]*,[^.]*\.\d*$|^[+-]?0?\.\d|\.\d{1,2}$|\.\d{4,}$|,\d{3},|,\d\d,|\d{4}\."

#: Rows that are looked at first.
SAMPLE = 200


class Ambiguous(DataError):
    """Numbers of a table that cannot be read with certainty; the text says why."""


@dataclass(frozen=True)
class Signs:
    """The decimal sign of a table's prices, and what is to be said about it."""

    decimal: str = "."
    remark: str = ""


def is_number(column: pd.Series) -> bool:
    """Whether a column is one of numbers already."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def signs_of(columns: Sequence[pd.Series], separator: str = ",", groups: np.ndarray | None = None) -> Signs:
    """The decimal sign of columns of prices, told by all of their cells.

    ``1.234,5``, ``0,99``, ``1,23`` prove a comma, ``1,234.5`` a point. Where every sign stands before three digits,
    ``1,002`` beside ``998`` is a thousand if only that keeps the level; else the table's separator tells, a guess.

    Args:
        groups: the asset of each row, as a number.

    Raises:
        Ambiguous: cells prove the one, others the other.
    """
    cells = [column.astype(str) for column in columns if not is_number(column)]
    if not any(text.str.contains(",", regex=False).any() for text in cells) and any(
        text.head(SAMPLE).str.contains(POINT, regex=True).any() for text in cells
    ):
        return Signs()
    texts = [_bare(text) for text in cells]
    written = [text[text.str.contains("[.,]", regex=True)] for text in texts]
    written = pd.Series(pd.concat(written).unique() if written else [], dtype=str)
    comma, point = written.str.contains(COMMA, regex=True), written.str.contains(POINT, regex=True)
    n_comma, n_point = int(comma.sum()), int(point.sum())
    if n_comma and n_point:
        if min(n_comma, n_point) > 0.01 * max(n_comma, n_point):
            raise Ambiguous(
                f"numbers with both decimal signs: {written[comma].iloc[0]!r} beside {written[point].iloc[0]!r}"
            )
        return Signs("," if n_comma > n_point else ".")
    if n_comma or n_point:
        return Signs("," if n_comma else ".")
    for sign, other in ((",", "."), (".", ",")):
        if written.str.contains(sign, regex=False).any():
            return _of_threes(texts, sign, other, separator, groups)
    return Signs()


def _of_threes(texts: Sequence[pd.Series], sign: str, other: str, separator: str, groups: np.ndarray | None) -> Signs:
    """Whether ``sign``, always before three digits, is the decimal one: prices do not jump by a thousand."""
    as_decimal = sum(_roughness(text, sign, groups) for text in texts)
    as_thousands = sum(_roughness(text, other, groups) for text in texts)
    if abs(as_decimal - as_thousands) > 3:
        return Signs(sign if as_decimal < as_thousands else other)
    usual = "," if sign == "," and separator != "," else "."
    example = next(iter(pd.concat(texts)[lambda text: text.str.contains(sign, regex=False)]))
    return Signs(
        usual, f"{example!r} read with {'a comma' if usual == ',' else 'a point'} before the decimals, a guess"
    )


def _roughness(text: pd.Series, decimal: str, groups: np.ndarray | None) -> float:
    """The sum of the absolute log moves from row to row of each asset."""
    values = _plain_numbers(text, decimal)
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        values, groups = values[order], groups[order]
    moves = np.abs(np.diff(np.log(np.where(values > 0, values, np.nan))))
    return float(np.nansum(moves if groups is None else moves[np.diff(groups) == 0]))


def _bare(texts: pd.Series) -> pd.Series:
    """Digits and their signs alone."""
    texts = texts.str.replace(SPACERS, "", regex=True)
    return texts.str.extract(r"([+-]?[\d.,]*\d[\d.,]*)", expand=False).fillna("")


def _plain_numbers(texts: pd.Series, decimal: str) -> np.ndarray:
    """float64 of texts in digits and signs; NaN where thousands do not stand in their places."""
    thousands = "," if decimal == "." else "."
    if not texts.str.contains(",", regex=False).any() and decimal == ".":
        return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float, copy=True)
    form = GROUPED.replace("T", re.escape(thousands)).replace("D", re.escape(decimal))
    texts = texts.where(texts.str.fullmatch(form), "")
    texts = texts.str.replace(thousands, "", regex=False).str.replace(decimal, ".", regex=False)
    return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float, copy=True)


def to_numbers(cells: pd.Series, decimal: str = ".") -> tuple[np.ndarray, int, set[str]]:
    """float64 values, NaN where nothing or no number is written; how many are no number; the currencies in the cells.

    >>> to_numbers(pd.Series(["1,234.5", "$ 7", "n/a", "2.5M", "12.50 EUR", "high"]))
    (array([1.2345e+03, 7.0000e+00,        nan, 2.5000e+06, 1.2500e+01,
                  nan]), 1, {'EUR'})
    """
    if is_number(cells):
        return cells.to_numpy(dtype=float, na_value=np.nan), 0, set()
    texts = cells.astype(str).str.strip()
    values = _plain_numbers(texts, decimal)
    left = np.isnan(values) & ~texts.str.lower().isin(BLANKS).to_numpy(dtype=bool)
    if not left.any():
        return values, 0, set()
    rest = texts[left].str.replace(SPACERS, "", regex=True)
    parts = rest.str.extract(r"^([^\d+.,-]*)([+-]?[\d.,]+(?:[eE][+-]?\d+)?)([^\d]*)$").fillna("")
    numbers = _plain_numbers(parts[1], decimal)
    factors, currencies = {}, set()
    for text in {*parts[0].unique(), *parts[2].unique()}:
        factors[text], currency = _meaning(text)
        currencies |= {currency} - {""}
    values[left] = numbers * parts[0].map(factors).to_numpy(float) * parts[2].map(factors).to_numpy(float)
    return values, int(np.isnan(values[left]).sum()), currencies


def _meaning(text: str) -> tuple[float, str]:
    """What stands beside a number: by what it is multiplied (NaN = no number after all), and its currency."""
    if text.upper() in MAGNITUDES:
        return MAGNITUDES[text.upper()], ""
    if not text or text in SHARED_SIGNS:
        return 1.0, ""
    try:
        return 1.0, unit_of(text)
    except DataError:
        return np.nan, ""


def to_ratios(cells: pd.Series, decimal: str = ".") -> tuple[np.ndarray, int]:
    """New shares per old one, where splits may be written as two numbers; and how many cells are none.

    >>> to_ratios(pd.Series(["10:1", "1/20", "3 for 2", "4", ""]))
    (array([10.  ,  0.05,  1.5 ,  4.  ,   nan]), 0)
    """
    if is_number(cells):
        return cells.to_numpy(dtype=float, na_value=np.nan), 0
    texts = cells.astype(str).str.strip()
    two = texts.str.extract(r"^(\d+(?:\.\d+)?)\s*(?::|/|-?\s?for\s?-?)\s*(\d+(?:\.\d+)?)$")
    ratio = two[0].astype(float) / two[1].astype(float).replace(0, np.nan)
    values, strange, _ = to_numbers(texts.where(ratio.isna(), ""), decimal)
    return np.where(ratio.notna(), ratio, values), strange
