"""The instruments: who they are, in which currency they are quoted, and what trading them costs.

``universe.csv`` holds symbols, never prices. Its columns, which a user's own file may use too (``symbol`` is the only
one it must have):

``symbol``           as Yahoo spells it: ``AAPL``, ``SAP.DE``, ``EURUSD=X`` (dollars a euro), ``JPY=X`` (yen a dollar)
``name``             of the company, fund or pair
``asset_class``      one of ``ASSET_CLASSES``; a fund has the class of what it holds, ``etf`` where it holds shares
``sector``           GICS sector of a share or sector fund; kind of bond or commodity (``Treasury``, ``Energy`` ...)
``region``           country or area of the listing, or of what a fund holds
``currency``         of the quoted price; ``GBp`` is pence
``commission_bps``   commission and transaction taxes, basis points of the traded value, per side; a tax on purchases
                     or on sales only (London, Paris, Seoul ...) counts half on each side
``half_spread_bps``  half of a typical bid-ask spread, the same unit: about 1 for large US shares, funds and major
                     currencies, 3 to 8 for listings abroad, 5 to 15 for thin funds and emerging currencies
``lot``              shares of which only whole multiples are traded where shares are whole (``trading.fractional``
                     off): 100 in Tokyo, 0.0001 for a coin; empty = 1
``seed``             yes = among the 299 symbols of the published document
``from``, ``to``     spells of membership, several rows a symbol (``feeds.membership``); optional, your own file only
``active``           no = delisted, renamed, or no longer tradable for most; kept as the published list names it

The costs are orders of magnitude for a private client with a low-cost broker, not quotations.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clusterfolio.feeds.currency import pair_of, quote_currency, rate_symbols
from clusterfolio.feeds.membership import SPELLINGS
from clusterfolio.feeds.panel import ASSET_DEFAULTS
from clusterfolio.feeds.units import MINOR_UNITS, major

#: Commission and half spread in basis points by asset class, where a symbol has none of its own.
CLASS_COSTS = {
    "equity": (0.5, 1.0),
    "etf": (0.5, 1.0),
    "government_bond": (0.5, 1.0),
    "corporate_bond": (0.5, 1.5),
    "aggregate_bond": (0.5, 1.0),
    "commodity": (0.5, 3.0),
    "forex": (0.2, 1.0),
    "crypto": (10.0, 5.0),
    "unknown": (1.0, 5.0),
}
ASSET_CLASSES = tuple(CLASS_COSTS)

#: The same for shares listed outside the United States.
FOREIGN_SHARE_COSTS = (3.0, 5.0)

#: Region by the end of a symbol.
REGIONS = {
    ".AS": "Netherlands", ".AX": "Australia", ".BO": "India", ".BR": "Belgium", ".CO": "Denmark", ".DE": "Germany",
    ".F": "Germany", ".HE": "Finland", ".HK": "Hong Kong", ".IR": "Ireland", ".IS": "Turkey", ".JK": "Indonesia",
    ".JO": "South Africa", ".KL": "Malaysia", ".KQ": "South Korea", ".KS": "South Korea", ".L": "United Kingdom",
    ".LS": "Portugal", ".MC": "Spain", ".MI": "Italy", ".MX": "Mexico", ".NS": "India", ".NZ": "New Zealand",
    ".OL": "Norway", ".PA": "France", ".SA": "Brazil", ".SI": "Singapore", ".SS": "China", ".ST": "Sweden",
    ".SW": "Switzerland", ".SZ": "China", ".T": "Japan", ".TA": "Israel", ".TO": "Canada", ".TW": "Taiwan",
    ".VI": "Austria", ".WA": "Poland",
}  # fmt: skip

SHIPPED = Path(__file__).with_name("universe.csv")
COLUMNS = (*(name for name in ASSET_DEFAULTS if name != "tradable"), "seed", "active")
COSTS = ("commission_bps", "half_spread_bps")
NUMBERS = (*COSTS, "lot")
FLAGS = {"seed": False, "active": True}
YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def load_universe(which: str | Path = "default") -> pd.DataFrame:
    """The table of instruments, indexed by symbol, with ``COLUMNS``.

    Args:
        which: ``default`` (every shipped instrument that still trades), ``seed`` (the 299 of the published document,
            some long dead), ``all`` (every shipped row), or the path of a CSV file. A file's empty cells and missing
            columns are filled from the shipped list where it knows the symbol, else as ``describe`` guesses.
    """
    if which in ("default", "seed", "all"):
        shipped = _read(SHIPPED)
        return {"default": shipped[shipped["active"]], "seed": shipped[shipped["seed"]], "all": shipped}[which]
    path = Path(which)
    if not path.is_file():
        raise ValueError(f"universe: {str(which)!r} is no file; use default, seed, all or the path of a CSV file")
    return _read(path, known=_read(SHIPPED))


def describe(symbols: Sequence[str], universe: pd.DataFrame | None = None) -> pd.DataFrame:
    """What is known about ``symbols``, as a table to pass on as ``known`` (``feeds.panel.make_assets``).

    A symbol missing from ``universe`` (default: every shipped row) is judged by its form: ``=X`` is a currency pair,
    ``=F`` a future, ``-USD`` a coin; an exchange's ending gives currency and region. All else is of class ``unknown``
    and its currency is left empty.

    >>> describe(["AAPL", "CHFJPY=X", "BTC-USD", "VOW3.DE"])[["asset_class", "currency"]]
             asset_class currency
    AAPL          equity      USD
    CHFJPY=X       forex      JPY
    BTC-USD       crypto      USD
    VOW3.DE      unknown      EUR
    """
    universe = load_universe("all") if universe is None else universe
    columns = [name for name in COLUMNS if name not in FLAGS]
    rows = [universe.loc[s, columns].to_dict() if s in universe.index else _guess(s) for s in symbols]
    return pd.DataFrame(rows, index=pd.Index(symbols, dtype=object), columns=columns)


def filter_universe(
    universe: pd.DataFrame,
    asset_class: str | Sequence[str] | None = None,
    region: str | Sequence[str] | None = None,
    currency: str | Sequence[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> pd.DataFrame:
    """The rows that match every filter given, plus those of ``include``, minus those of ``exclude``.

    A filter is a value or several of which any will do; None or nothing filters nothing.
    ``include`` may name symbols that ``universe`` lacks; they are described (``describe``) and put at the end.
    """
    keep = pd.Series(True, index=universe.index)
    for column, wanted in (("asset_class", asset_class), ("region", region), ("currency", currency)):
        wanted = [wanted] if isinstance(wanted, str) else list(wanted or ())
        for value in wanted:
            if value not in set(universe[column]):
                raise ValueError(f"{column}: no instrument has {value!r}{_like(value, universe[column].unique())}")
        if wanted:
            keep &= universe[column].isin(wanted)
    for symbol in exclude:
        if symbol not in universe.index and symbol not in include:
            raise ValueError(f"exclude: {symbol!r} is not in the universe{_like(symbol, universe.index)}")
    chosen = universe[keep | universe.index.isin(include)]
    added = [symbol for symbol in dict.fromkeys(include) if symbol not in universe.index]
    if added:
        chosen = pd.concat([chosen, describe(added).assign(**FLAGS)]).rename_axis("symbol")
    return chosen[~chosen.index.isin(exclude)]


def rates_needed(universe: pd.DataFrame, account: str) -> list[str]:
    """Currency pairs to load beside these instruments so that their prices can be brought into ``account``.

    >>> rates_needed(describe(["AAPL", "SAP.DE", "7203.T", "SHEL.L", "CHF=X"]), "USD")
    ['EURUSD=X', 'JPY=X', 'GBPUSD=X']
    """
    priced = universe.loc[(universe["asset_class"] != "forex") & (universe["currency"] != ""), "currency"]
    codes = dict.fromkeys(major(code)[0] for code in priced)
    return [rate_symbols(code, account)[0] for code in codes if code != account]


def check_universe(universe: pd.DataFrame) -> list[str]:
    """What is wrong with a table, one sentence per problem naming symbol and column; empty = nothing."""
    problems = [f"{symbol}: listed more than once" for symbol in universe.index[universe.index.duplicated()].unique()]
    problems += [f"row {row}: symbol is empty" for row, symbol in enumerate(universe.index, 1) if not symbol]
    for symbol, row in zip(universe.index, universe.to_dict("records"), strict=True):
        if row["asset_class"] not in ASSET_CLASSES:
            known = ", ".join(ASSET_CLASSES)
            problems.append(f"{symbol}: asset_class is {row['asset_class']!r}; one of {known} is meant")
        if row["currency"] and row["currency"] not in MINOR_UNITS and not re.fullmatch("[A-Z]{3}", row["currency"]):
            problems.append(f"{symbol}: currency is {row['currency']!r}; a code like USD, or GBp for pence, is meant")
        if not 0 < row["lot"] < float("inf"):
            problems.append(f"{symbol}: lot is {row['lot']}; a number of shares above 0 is meant")
        for name in COSTS:
            if not 0 <= row[name] < 1000:
                problems.append(f"{symbol}: {name} is {row[name]}; basis points between 0 and 1000 are meant")
    return problems


def _like(word: str, known) -> str:
    close = difflib.get_close_matches(word, [str(name) for name in known], n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _guess(symbol: str) -> dict:
    """A row for a symbol nobody listed."""
    pair, currency = pair_of(symbol), quote_currency(symbol)
    region = REGIONS.get(symbol[symbol.rfind(".") :], "") if "." in symbol else ""
    asset_class = "unknown"
    if pair:
        asset_class, currency = "forex", pair[1]
    elif re.fullmatch(r"[A-Z0-9]+-(USD|EUR|GBP|JPY)", symbol):
        asset_class = "crypto"
    elif symbol.endswith("=F"):
        asset_class, currency = "commodity", "USD"
    costs = FOREIGN_SHARE_COSTS if region else CLASS_COSTS[asset_class]
    row = {"name": "", "asset_class": asset_class, "sector": "", "region": region, "currency": currency}
    return row | dict(zip(COSTS, costs, strict=True)) | {"lot": ASSET_DEFAULTS["lot"]}


def _read(path: Path, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """One CSV file, every cell read as text first so that ``0700.HK``, ``TRUE`` and ``NA`` stay what they are."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = ";" if ";" in header and "," not in header else ","
        text = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig").fillna("")
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as fault:
        raise ValueError(f"{path.name}: no CSV table in UTF-8: {fault}") from fault
    if not isinstance(text.index, pd.RangeIndex):
        raise ValueError(f"{path.name}: its rows have more cells than its header has names")
    text.columns = [str(name).strip().lower() for name in text.columns]
    spells = {name for names in (SPELLINGS["start"], SPELLINGS["end"]) for name in names} & set(text.columns)
    unknown = [name for name in text.columns if name not in ("symbol", *COLUMNS, *spells)]
    if unknown or "symbol" not in text.columns:
        found = f"unknown column {unknown[0]!r}" if unknown else "no column 'symbol'"
        raise ValueError(f"{path.name}: {found}; columns are symbol, {', '.join(COLUMNS)}, from, to")
    text = text.apply(lambda column: column.str.strip())
    if spells:  # a row per spell: what an asset is, its first row says
        text = text[~text["symbol"].duplicated()]
    guessed = describe(list(text["symbol"]), known) if known is not None else None
    table = pd.DataFrame(index=pd.Index(text["symbol"], dtype=object, name="symbol"))
    for name in COLUMNS:
        cells = list(text[name]) if name in text.columns else [""] * len(text)
        if guessed is not None and name in guessed.columns:
            fallback = list(guessed[name])
        else:
            fallback = [FLAGS.get(name, ASSET_DEFAULTS.get(name))] * len(text)
        table[name] = [
            _value(path, row, name, cell) if cell else spare
            for row, (cell, spare) in enumerate(zip(cells, fallback, strict=True), 2)
        ]
    problems = check_universe(table)
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise ValueError(f"{path.name}: {'; '.join(problems[:5])}{more}")
    return table


def _value(path: Path, row: int, name: str, cell: str) -> str | float | bool:
    """A cell in its column's type; ``row`` is the line in the file."""
    if name in NUMBERS:
        try:
            return float(cell)
        except ValueError:
            raise ValueError(f"{path.name}, row {row}: {name} is {cell!r}; a number is meant") from None
    if name in FLAGS:
        if cell.lower() not in YES_NO:
            raise ValueError(f"{path.name}, row {row}: {name} is {cell!r}; yes or no is meant")
        return YES_NO[cell.lower()]
    return cell
