"""Currencies and the units in which exchanges quote, and what vendors write for them."""

from __future__ import annotations

import re

from clusterfolio.feeds.raw import DataError

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG
QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD
TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL ATS BEF DEM ESP FIM FRF GRD IEP ITL NLG
PTE
"""

#: Codes of ISO 4217, with the offshore yuan and those that the euro replaced.
CURRENCIES = frozenset(_CODES.split())


#: Coins in which others are quoted; their rate is that of the coin itself, if some file has it.
COINS = frozenset(("BTC", "ETH", "BNB"))

#: Endings of coins that name a quote currency (``BTC-EUR``); the rest of ISO's codes are as often a share class.
COIN_QUOTES = frozenset((
    "USD", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "CNY", "HKD", "INR", "KRW", "BRL", "TRY",
    "NZD", "SGD", "ZAR", "RUB", "BTC", "ETH", "BNB",
))  # fmt: skip

#: Currency units in which exchanges quote, as a fraction of the currency; and three letters, the last one small
#: (``USd``, ``ZAr``): a hundredth.
MINOR_UNITS = {"GBp": ("GBP", 0.01), "GBX": ("GBP", 0.01), "ZAc": ("ZAR", 0.01), "ZAX": ("ZAR", 0.01),
               "ZAC": ("ZAR", 0.01), "ILA": ("ILS", 0.01), "ILX": ("ILS", 0.01), "USX": ("USD", 0.01),
               "EUX": ("EUR", 0.01), "AUX": ("AUD", 0.01), "KWF": ("KWD", 0.001), "KWd": ("KWD", 0.001),
               "BHd": ("BHD", 0.001), "JOd": ("JOD", 0.001), "OMr": ("OMR", 0.001), "TNd": ("TND", 0.001)}  # fmt: skip

#: How vendors write units, in small letters without blanks and dots.
WRITTEN_UNITS = {
    "us$": "USD", "usdollar": "USD", "usdollars": "USD", "unitedstatesdollar": "USD", "dollarus": "USD", "$us": "USD",
    "euro": "EUR", "euros": "EUR", "\u20ac": "EUR",
    "pence": "GBp", "penny": "GBp", "p": "GBp", "gbx": "GBp", "pencesterling": "GBp", "gbpence": "GBp", "gbpp": "GBp",
    "\u00a3": "GBP", "pound": "GBP", "pounds": "GBP", "poundsterling": "GBP", "sterling": "GBP", "britishpound": "GBP",
    "stg": "GBP", "uscents": "USX", "uscent": "USX", "usc": "USX", "\u00a2": "USX", "usx": "USX",
    "yen": "JPY", "japaneseyen": "JPY", "rmb": "CNY", "yuan": "CNY", "renminbi": "CNY",
    "hk$": "HKD", "c$": "CAD", "ca$": "CAD", "can$": "CAD", "cdn": "CAD", "cdn$": "CAD", "a$": "AUD", "au$": "AUD",
    "nz$": "NZD", "s$": "SGD", "sg$": "SGD", "nt$": "TWD", "ntd": "TWD", "r$": "BRL", "won": "KRW", "\u20a9": "KRW",
    "\u20b9": "INR", "rupee": "INR", "rupees": "INR", "rs": "INR", "sfr": "CHF", "swissfranc": "CHF", "\u20ba": "TRY",
    "z\u0142": "PLN", "ils": "ILS", "nis": "ILS", "\u20aa": "ILS", "agorot": "ILA", "agora": "ILA", "ila": "ILA",
    "zac": "ZAc", "zax": "ZAc", "rand": "ZAR",
}  # fmt: skip

#: Where no currency is stated.
NOT_STATED = {"", "-", "--", "n/a", "#n/a", "na", "nan", "none", "null", "nil", "unknown", "?", "undefined"}


def unit_of(text: str) -> str:
    """The unit that a vendor's text means, as ``major`` takes it; empty = none is stated.

    Raises:
        DataError: a text that is no currency.

    >>> [unit_of(text) for text in ("US$", "Pence", "Euro", "eur", "ZAr", "N/A")]
    ['USD', 'GBp', 'EUR', 'EUR', 'ZAr', '']
    """
    text = text.strip()
    plain = re.sub(r"[\s._]", "", text).lower()
    if plain in NOT_STATED:
        return ""
    if text in MINOR_UNITS or _hundredth(text):
        return text
    unit = WRITTEN_UNITS.get(plain, plain.upper())
    major(unit)
    return unit


def _hundredth(unit: str) -> bool:
    return re.fullmatch(r"[A-Z]{2}[a-z]", unit) is not None and unit.upper() in CURRENCIES


def major(currency: str) -> tuple[str, float]:
    """The ISO currency of a quote unit and the unit's size in it: ``GBp`` -> ``("GBP", 0.01)``."""
    if currency in MINOR_UNITS:
        return MINOR_UNITS[currency]
    if _hundredth(currency):
        return currency.upper(), 0.01
    if currency.upper() not in CURRENCIES | COINS:
        raise DataError(
            f"currency must be a three-letter code such as USD, or one of {', '.join(MINOR_UNITS)}; got {currency!r}"
        )
    return currency.upper(), 1.0
