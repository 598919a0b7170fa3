"""How a table was read, in words: for whoever looks before a run."""

from __future__ import annotations

from collections.abc import Mapping

from clusterfolio.feeds.sources.files.days import Days

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def reading(columns: Mapping[str, str], days: Days, separator: str, decimal: str) -> str:
    """Columns, separator, decimal sign, dates and zone.

    Args:
        columns: the table's name for each role; a role of the same name is not worth two words.
        separator: of a text's cells; empty = the table is none of text, its numbers and days are what they are.

    >>> import pandas as pd
    >>> reading({"date": "Datum", "close": "close"}, Days(pd.DatetimeIndex([]), {".": True}), ";", ",")
    "Datum is date, close; cells between semicolons, decimal sign ','; day before month; times as written, no zone"
    """
    said = [", ".join(role if name.strip().lower() == role else f"{name} is {role}" for role, name in columns.items())]
    if separator:
        said.append(f"cells between {SEPARATORS.get(separator, repr(separator))}, decimal sign {decimal!r}")
    orders = {True: "day before month", False: "month before day", None: "nothing in it tells day from month"}
    said += [orders[told] for told in dict.fromkeys(days.day_first.values())]
    return "; ".join([*said, "times as written, no zone"])
