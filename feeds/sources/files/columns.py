"""Which column of a table is what: roles by their names, in the spellings of vendors and languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from clusterfolio.feeds.raw import RAW_COLUMNS, DataError
from clusterfolio.feeds.units import unit_of

#: Spellings, in small letters without accents, blanks, digits and punctuation, in order of preference.
SPELLINGS = {
    "date": (
        *("date", "datetime", "timestamp", "day", "tradedate", "tradingdate", "exchangedate", "pricedate", "quotedate"),
        *("businessdate", "sessiondate", "asofdate", "asof", "caldt", "datadate", "traddt", "bizdt", "gmttime"),
        "utctime",
        *("dateutc", "datetimeutc", "timestamputc", "datetimeet", "localtime", "opentime", "openingtime"),
        "windowstart",
        *("candletime", "barstart", "begins", "unix", "unixtime", "unixtimestamp", "epoch", "time", "t"),
        *("datum", "fecha", "data", "dato", "tarih", "pvm", "дата", "日期", "交易日期", "日付", "날짜", "일자"),
    ),
    "clock": ("time", "timeofday", "tradetime", "hour"),
    "symbol": (
        *("symbol", "ticker", "sym", "code", "instrument", "secid", "stock", "asset", "tic", "tickersymbol"),
        *("stocksymbol", "stockcode", "securitycode", "symbolcode", "tscode", "ric", "actsymbol", "tckrsymb"),
        "tradingsymbol",
        *("instrumentcode", "sccode", "scripcode", "scrip", "localcode", "isucd", "종목코드"),
        *("代码", "股票代码", "证券代码"),
    ),
    "currency": ("currency", "ccy", "curr", "quotecurrency", "currencycode", "tradingcurrency", "wahrung", "devise"),
    "interval": ("per", "period", "interval", "frequency", "freq", "timeframe", "barsize", "resolution"),
    "open": (
        *("open", "openprice", "priceopen", "openingprice", "pxopen", "opnpric", "openbid", "bidopen", "o"),
        *("eroffnung", "eroffn", "eroffnungskurs", "erster", "apertura", "abertura", "ouverture", "ouv", "otwarcie"),
        *("acilis", "开盘", "开盘价", "始値", "시가"),
    ),
    "high": (
        *("high", "highprice", "pricehigh", "pxhigh", "hghpric", "bidhigh", "max", "h", "hoch", "tageshoch"),
        *("maximo", "maxima", "massimo", "plushaut", "haut", "najwyzszy", "yuksek", "最高", "最高价", "高値", "고가"),
    ),
    "low": (
        *("low", "lowprice", "pricelow", "pxlow", "lwpric", "bidlow", "min", "l", "tief", "tagestief"),
        *("minimo", "minima", "plusbas", "bas", "najnizszy", "dusuk", "最低", "最低价", "安値", "저가"),
    ),
    "close": (
        *("close", "closeprice", "priceclose", "closelast", "closingprice", "clspric", "bidclose", "last", "pxlast"),
        *("lastprice", "lastclose", "price", "settle", "settleprice", "settlementprice", "settlement", "nav"),
        *("netassetvalue", "navpershare", "unitprice", "lasttradedprice", "ltp", "c"),
        *("schlusskurs", "schluss", "zuletzt", "cierre", "ultimo", "cloture", "dernier", "chiusura", "fechamento"),
        *("zamkniecie", "kapanis", "simdi", "收盘", "收盘价", "終値", "종가"),
    ),
    "adj_close": (
        *("adjclose", "adjustedclose", "adjcloseprice", "closeadj", "closeadjusted", "adjclosingprice", "adjusted"),
        *("adjustedcloseprice", "adjprice"),
    ),
    "volume": (
        *("volume", "vol", "iexvolume", "totalvolume", "tradevolume", "sharevolume", "ttltradgvol", "tottrdqty"),
        *("ttltrdqnty", "noofshares", "tickvol", "tickvolume", "volumeusd", "v", "volumen", "stuck", "wolumen"),
        *("hacim", "成交量", "出来高", "거래량"),
    ),
    "dividend": (
        *("dividend", "dividends", "divcash", "dividendamount", "exdividend", "cashdividend", "dividendcash", "div"),
    ),
    "split": (
        *("split", "splits", "stocksplits", "splitfactor", "splitcoefficient", "splitratio", "stocksplit"),
    ),
}  # fmt: skip

#: Names that identify an asset where no column of ``symbol``'s spellings does.
IDENTIFIERS = (
    *("name", "isin", "permno", "cusip", "sedol", "figi", "bbgid", "gvkey", "permaticker", "index", "security"),
    *("company", "product", "underlying", "pair", "fund", "contract", "securityname", "wkn", "id", "名称", "股票名称"),
)  # fmt: skip

#: Columns beside prices that are none of them, and no symbols.
BESIDE = frozenset(
    (
        *("vwap", "vw", "n", "trades", "transactions", "count", "oi", "openint", "openinterest", "turnover", "amount"),
        *(
            "change",
            "chg",
            "changepercent",
            "pctchg",
            "pctchange",
            "percent",
            "ret",
            "return",
            "returns",
            "avg",
            "average",
        ),
        *("mean", "median", "typical", "hlc", "ohlc", "rsi", "macd", "sma", "ema", "atr", "factor", "adjfactor"),
        *(
            "adjopen",
            "adjhigh",
            "adjlow",
            "adjvolume",
            "unadjustedclose",
            "closeunadj",
            "bid",
            "ask",
            "spread",
            "repaired",
        ),
        *(
            "capitalgains",
            "marketcap",
            "mktcap",
            "cap",
            "shares",
            "sharesout",
            "preclose",
            "prevclose",
            "previousclose",
        ),
        *("weekday", "month", "year", "week", "quarter", "closetime", "quotevolume", "quoteassetvolume", "realvolume"),
        *("numberoftrades", "takerbuybasevolume", "takerbuyquotevolume", "ignore", "lastupdated", "id", "index", "sno"),
    )
)

#: What an index without a name is called in a file.
NAMELESS = ("", "unnamed", "index", "indexlevel")

#: Roles whose names are symbols too where they stand in capitals: C and LOW are shares.
SYMBOLS_TOO = frozenset(
    (
        *("C", "O", "H", "L", "V", "T", "LOW", "OPEN", "LAST", "MIN", "MAX", "SYM", "HIGH", "NAV", "BAS", "DIV", "VOL"),
        *("PER", "TIME", "DAY", "CODE", "PRICE", "NAME", "DATE"),
    )
)

#: Beside a price without a range, these make a table one of trades.
TRADES = {
    *("quantity", "qty", "side", "buysell", "orderid", "tradeid", "commission", "fee", "fees", "pnl", "shares"),
    *("action", "transactiontype", "ordertype", "fillprice", "account"),
}


class NotPrices(DataError):
    """The file is no table of daily prices; the text says why."""


def plain(name: object) -> str:
    """A column's name without case, accents, blanks, digits, punctuation and what stands in brackets.

    >>> plain("4. Close "), plain("Eröffn."), plain("Price (EUR)"), plain("收盘价")
    ('close', 'eroffn', 'price', '收盘价')
    """
    text = re.sub(r"\(.*\)|\[.*\]", "", str(name)) or str(name)
    text = unicodedata.normalize("NFKD", text.lower().replace("ł", "l"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return re.sub(r"[\W\d_]", "", unicodedata.normalize("NFC", text))


def role_of(name: object) -> str | None:
    """The price role of a column by its name alone; Yahoo's page explains its names in the name."""
    text = plain(name)
    text = "adjclose" if text.startswith("adjcloseadjusted") else text
    text = "close" if text.startswith("closeclose") else text
    return next((role for role in RAW_COLUMNS if text in SPELLINGS[role]), None)


def date_columns(names: Sequence[str]) -> list[int]:
    """Where the dates may stand: the best names for them first, then columns without a name."""
    spelt = [plain(name) for name in names]
    if "T" in names and "t" in names:  # Polygon's: ticker and time
        return [names.index("t")]
    found = [at for spelling in SPELLINGS["date"] for at, text in enumerate(spelt) if text == spelling]
    return [*found, *(at for at, text in enumerate(spelt) if text in NAMELESS)]


def roles_of(names: Sequence[str], date_at: int | None = None, dated: bool = False) -> dict[str, int]:
    """The position of the column that plays each role.

    Args:
        date_at: where the dates stand; None = by the names.
        dated: the date is known from elsewhere.

    Raises:
        NotPrices: no column of dates or of closing prices, or a table of trades.

    >>> roles_of(["Date", "tic", "Close", "VWAP"])
    {'date': 0, 'symbol': 1, 'close': 2}
    """
    spelt = [plain(name) for name in names]
    prices = [role_of(name) for name in names]
    roles: dict[str, int] = {}
    for role, spellings in SPELLINGS.items():
        found = [at for spelling in spellings for at, text in enumerate(spelt) if text == spelling and at != date_at]
        found = found or [i for i, price in enumerate(prices) if price == role]
        if found:
            roles[role] = found[0]
    if "T" in names and "t" in names:
        roles["symbol"] = names.index("T")
    at = next(iter(date_columns(names)), None) if date_at is None else date_at
    roles = ({} if at is None else {"date": at}) | {role: place for role, place in roles.items() if role != "date"}
    if "clock" in roles and roles["clock"] == roles.get("date"):
        del roles["clock"]
    missing = [] if "date" in roles or dated else ["a date"]
    missing += [] if {"close", "adj_close"} & set(roles) else ["a closing price"]
    if missing:
        raise NotPrices(f"no price table: no column for {' or '.join(missing)} among {shown(names)}")
    for role in ("close", "adj_close"):
        if role in roles and spelt.count(spelt[roles[role]]) > 1:
            raise NotPrices(f"several columns {names[roles[role]]!r}: whose prices they are is not told")
    log = sorted(TRADES & set(spelt))
    if log and not {"high", "low"} & set(roles):
        column = names[spelt.index(log[0])]
        raise NotPrices(f"a table of trades rather than of prices: column {column!r}")
    return roles


def unit_in(name: str) -> str:
    """The currency that a column's name states in brackets, as a vendor writes it; empty = none.

    >>> unit_in("Close (GBX)"), unit_in("Close (last)"), unit_in("Close")
    ('GBX', '', '')
    """
    for text in re.findall(r"[(\[]\s*([^)\]]{1,6}?)\s*[)\]]", name):
        try:
            return text if unit_of(text) else ""
        except DataError:
            continue
    return ""


def shown(names: Sequence[object]) -> str:
    """The first names, for a message."""
    return ", ".join(map(str, names[:8])) + (" ..." if len(names) > 8 else "")
