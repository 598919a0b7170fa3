"""What a source hands to ``feeds.ingest``: bars as the vendor states them, nothing repaired or converted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

#: Columns a source may deliver; ``dividend``: quote currency per share held the evening before; ``split``: new shares
#: per old one (0, 1 and NaN = none).
RAW_COLUMNS = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split")

#: Verdicts on a symbol, as they stand in ``symbols.csv``; the last one is for a file that is no price table.
USED, REPAIRED, DROPPED, ABSENT, PASSED_OVER = "used", "repaired", "dropped", "absent", "passed over"


class DataError(ValueError):
    """The data cannot carry a run: nothing usable, no benchmark, an exchange rate missing."""


@dataclass(frozen=True)
class RawBars:
    """One symbol's daily bars.

    Attributes:
        frame: naive daily ``DatetimeIndex`` as found (may be unsorted or hold a day twice); float64 columns, a subset
            of ``RAW_COLUMNS`` with at least ``close`` or ``adj_close``. Prices are split-adjusted as vendors state
            them, or unadjusted where a ``split`` column comes without ``adj_close``.
        currency: of the prices (``USD``, ``GBp`` ...); empty = unknown to the source.
    """

    frame: pd.DataFrame
    currency: str = ""

    def __post_init__(self):
        if not {"close", "adj_close"} & set(self.frame.columns):
            raise ValueError(f"frame: needs a column close or adj_close, got {list(self.frame.columns)}")


@dataclass(frozen=True)
class RawData:
    """Everything a source delivers in one reading.

    Attributes:
        bars: by symbol, in the source's order, which must not depend on sets or directory order.
        assets: what the source knows about its symbols, indexed by symbol; columns a subset of
            ``feeds.panel.ASSET_DEFAULTS``; None = nothing.
        verdicts: ``(verdict, why)`` by symbol asked for and not delivered, and by file passed over; for a symbol that
            is delivered, a remark in place of ``why``.
        simulated: True where the prices are made up.
    """

    bars: dict[str, RawBars]
    assets: pd.DataFrame | None = None
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)
    simulated: bool = False
