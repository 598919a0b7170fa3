"""What a source hands to ``feeds.ingest``: bars as the vendor states them, nothing repaired or converted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from clusterfolio import ClusterfolioError

#: Columns a source may deliver; ``dividend``: quote currency per share held the evening before; ``split``: new shares
#: per old one (0, 1 and NaN = none).
RAW_COLUMNS = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split")

#: Verdicts on a symbol, as they stand in ``symbols.csv``; ``PASSED_OVER`` is for a file that is no price table,
#: ``RATE`` for a currency pair that was not asked for and converts the prices of others.
USED, REPAIRED, DROPPED, ABSENT, PASSED_OVER, RATE = (
    "used", "repaired", "dropped", "absent", "passed over", "exchange rate",
)  # fmt: skip


class DataError(ClusterfolioError, ValueError):
    """The data cannot carry a run: nothing usable, no benchmark, an exchange rate missing."""


#: What a remark amounts to: a plain fact, something undone, a guess, or a doubt that nothing settles.
NOTED, MENDED, GUESSED, DOUBTED = "noted", "mended", "guessed", "doubted"


@dataclass(frozen=True)
class Remark:
    """Something to be said about one symbol: on the console (grouped by ``kind``), in ``symbols.csv`` and the report.

    Attributes:
        symbol: whom it is about.
        kind: a few words, the same for every symbol with the same matter ("currency guessed from the ending").
        day: where it lies, or begins; None = nowhere in particular.
        factor: by which prices were off, or were multiplied; None = none.
        text: the rest of the sentence.
        nature: ``NOTED``, ``MENDED``, ``GUESSED`` or ``DOUBTED``.

    >>> str(Remark("VOD", "another unit undone", pd.Timestamp("2024-06-10"), 0.01, "pence stated as pounds"))
    'another unit undone 2024-06-10 x0.01: pence stated as pounds'
    """

    symbol: str
    kind: str
    day: pd.Timestamp | None = None
    factor: float | None = None
    text: str = ""
    nature: str = NOTED

    def __str__(self) -> str:
        where = "" if self.day is None else f" {self.day.date()}"
        by = "" if self.factor is None else f" x{self.factor:.6g}"
        return f"{self.kind}{where}{by}" + (f": {self.text}" if self.text else "")


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
        remarks: what the source repaired, guessed or doubted, symbol by symbol.
        readings: by symbol, where it was read and how (columns, order of dates, number signs), in words; a symbol of
            which there is nothing to tell is left out.
    """

    bars: dict[str, RawBars]
    assets: pd.DataFrame | None = None
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)
    simulated: bool = False
    remarks: list[Remark] = field(default_factory=list)
    readings: dict[str, str] = field(default_factory=dict)

    def remarks_on(self, symbol: str) -> tuple[Remark, ...]:
        """What the source has to say about one symbol, or about a file by its name."""
        return tuple(remark for remark in self.remarks if remark.symbol == symbol)
