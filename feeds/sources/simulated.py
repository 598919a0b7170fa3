"""A made-up market whose truth is known: planted clusters, Sharpe ratios, listings and flaws.

Every asset's daily return, converted into US dollars, is

    drift + volatility * shock_t

``drift`` is the cash rate plus the asset's true Sharpe ratio times its volatility. How the shocks of different assets
move together is the structure: "market", as hard to tell apart as real assets (``simulated_structure``), or "blocks",
the textbook's, where a regime multiplies market_t + cluster_t + own_t, weighted so that two assets of one cluster
correlate ``within`` and two of different clusters ``between``. Prices are stated as a vendor without adjustments would:
in the quote currency, with dividends and splits beside them, on the sessions of the asset's own exchange. ``truth``
tells what was planted; nothing that uses the market should read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.feeds.calendar import sessions
from clusterfolio.feeds.raw import RawBars, RawData
from clusterfolio.feeds.sources.simulated_bars import FLAWS, WEEKDAYS_PER_YEAR, make_bars, with_flaw
from clusterfolio.feeds.sources.simulated_structure import (
    MISTOLD,
    Homes,
    Loadings,
    group_sizes,
    homes,
    kinds_in_block,
    shocks,
    swings,
)
from clusterfolio.feeds.universe import CLASS_COSTS, FOREIGN_SHARE_COSTS

BENCHMARK = "SIM.MKT"

#: Class of cluster k is entry k modulo the length.
CLASS_OF_CLUSTER = (
    "equity", "government_bond", "commodity", "corporate_bond", "etf", "forex",
    "equity", "equity", "equity", "etf", "equity", "government_bond", "commodity",
    "equity", "equity", "corporate_bond", "equity", "etf", "equity", "equity",
)  # fmt: skip

#: Per asset class: letters in the symbol and annual volatility.
CLASS_TRAITS = {
    "equity": ("EQ", 0.25),
    "etf": ("ETF", 0.17),
    "government_bond": ("GOV", 0.05),
    "corporate_bond": ("CRP", 0.06),
    "commodity": ("CMD", 0.20),
    "forex": ("FX", 0.08),
}

#: Per asset class: how ``make_bars`` states its prices.
HABITS = {
    "equity": {"annual_yield": 0.02, "payments": 4, "may_split": True},
    "etf": {"annual_yield": 0.015, "payments": 4},
    "government_bond": {"annual_yield": 0.03, "payments": 12},
    "corporate_bond": {"annual_yield": 0.04, "payments": 12},
    "commodity": {},
    "forex": {"reports_volume": False},
}

#: Forex assets in order of appearance, with a plausible first rate; the first three serve the foreign listings.
FOREX = {
    "EURUSD=X": 1.2, "GBPUSD=X": 1.35, "JPY=X": 105.0, "CHF=X": 0.9, "AUDUSD=X": 0.77, "CAD=X": 1.27,
    "NZDUSD=X": 0.72, "SEK=X": 8.2, "NOK=X": 8.5, "SGD=X": 1.32, "MXN=X": 20.0, "ZAR=X": 14.7,
    "PLN=X": 3.7, "HUF=X": 295.0, "BRL=X": 5.2, "TRY=X": 7.4, "INR=X": 73.0, "THB=X": 30.0,
    "IDR=X": 14000.0, "PHP=X": 48.0, "MYR=X": 4.0, "HKD=X": 7.75, "DKK=X": 6.1, "CNY=X": 6.5,
}  # fmt: skip

#: Quote currency of a foreign listing: its rate, units of it per unit of the rate's currency, its calendar, its region.
LISTINGS = {
    "EUR": ("EURUSD=X", 1.0, "XETR", "Europe"),
    "GBp": ("GBPUSD=X", 100.0, "XLON", "United Kingdom"),
    "JPY": ("JPY=X", 1.0, "XTKS", "Japan"),
}

EXCHANGES = ("XNYS", *(calendar for _, _, calendar, _ in LISTINGS.values()))

SECTORS = ("Technology", "Health Care", "Financials", "Energy", "Industrials", "Utilities", "Materials", "Real Estate")

#: Sectors of the kinds of shares in the block of a "market".
SECTORS_OF_BLOCK = ("Consumer Discretionary", "Communication Services", "Consumer Staples")

STRUCTURES = ("market", "blocks")

BILL_VOLATILITY = 0.003
TAIL_DF = 5
CRISIS = {"begins": 1 / 250, "ends": 1 / 60, "volatility": 2.0}


@dataclass(frozen=True)
class SimulatedConfig:
    """What to make up.

    Attributes:
        n_assets: assets beside the benchmark.
        start: first day.
        end: last day, inclusive.
        structure: how assets move together. "market": as hard to tell apart as real ones, with a large block of shares,
            nested and overlapping groups, members that change, closes at other hours. "blocks": clusters of equal size
            within one asset, every pair of which correlates `within` inside and `between` across.
        n_clusters: planted clusters; each holds one asset class.
        asset_classes: classes to draw from; empty = all of ``CLASS_TRAITS``.
        within: correlation of daily US dollar returns inside a cluster; of "blocks" only.
        between: the same across clusters; of "blocks" only.
        sharpe: mean true Sharpe ratio in excess of cash, annualised.
        skill: standard deviation of the true Sharpe ratios inside a cluster: what there is to find. 0 = all are equal,
            past performance tells nothing; 0.5 is already more than any real market holds.
        cash_rate: annual return of cash; bill funds earn about this.
        n_bills: bill funds of hardly any volatility among the government bonds.
        regimes: spells of crisis and heavy tails; False: Gaussian returns of constant volatility.
        foreign: share of the equities quoted in EUR, GBp or JPY on calendars of their own (0 without forex assets).
        turnover: share of the assets listed after the start, and share delisted before the end.
        flaws: plant bad data (``FLAWS``), one kind per symbol, on about one asset in twelve.
        seed: of everything random.
    """

    n_assets: int = 320
    start: str = "2021-01-04"
    end: str = "2025-12-31"
    structure: str = "market"
    n_clusters: int = 20
    asset_classes: tuple[str, ...] = ()
    within: float = 0.5
    between: float = 0.1
    sharpe: float = 0.25
    skill: float = 0.3
    cash_rate: float = 0.03
    n_bills: int = 3
    regimes: bool = True
    foreign: float = 0.2
    turnover: float = 0.05
    flaws: bool = True
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.n_clusters <= self.n_assets:
            raise ValueError(f"n_clusters must be between 1 and n_assets={self.n_assets}, got {self.n_clusters}")
        if self.structure not in STRUCTURES:
            raise ValueError(f"structure: got {self.structure!r}, expected one of {', '.join(STRUCTURES)}")
        if not 0 <= self.between <= self.within <= 1:
            raise ValueError(f"need 0 <= between <= within <= 1, got between={self.between}, within={self.within}")
        if self.structure == "market" and (self.within, self.between) != (type(self).within, type(self).between):
            raise ValueError(
                f"within, between: got {self.within} and {self.between}; expected them with structure = 'blocks' only"
            )
        if self.skill < 0:
            raise ValueError(f"skill must not be negative, got {self.skill}")
        for name in ("foreign", "turnover"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} must be between 0 and 0.5, got {getattr(self, name)}")
        unknown = set(self.asset_classes) - set(CLASS_TRAITS)
        if unknown:
            raise ValueError(f"asset_classes: unknown {sorted(unknown)}; available: {', '.join(CLASS_TRAITS)}")
        if len(pd.bdate_range(self.start, self.end)) < 60:
            raise ValueError(f"start and end must be at least 60 weekdays apart, got {self.start} and {self.end}")


def truth(config: SimulatedConfig) -> pd.DataFrame:
    """What is planted, by symbol (the benchmark is not among them).

    Columns: ``asset_class``, ``planted_cluster`` (int), ``moves`` (day from which on the asset belongs to another one,
    NaT = never) and ``later_cluster`` (that one; see ``planted_on``), ``sharpe`` (true, annualised, in excess of cash),
    ``volatility`` (annual), ``currency``, ``calendar``, ``listed`` and ``delisted`` (first and last possible day),
    ``flaw`` (a name in ``FLAWS`` or empty), ``sector``, ``region``.
    """
    rng = np.random.default_rng([config.seed, 0])
    classes, days = _classes(config), pd.bdate_range(config.start, config.end)
    if config.structure == "market":
        cluster = np.repeat(np.arange(config.n_clusters), group_sizes(config.n_assets, config.n_clusters))
    else:
        cluster = np.sort(np.arange(config.n_assets) % config.n_clusters)
    table = pd.DataFrame({"asset_class": [classes[k] for k in cluster], "planted_cluster": cluster})
    own = np.random.default_rng([config.seed, 4])
    moved = Homes(cluster, np.full(len(cluster), len(days)), cluster)
    if config.structure == "market":
        moved = homes(cluster, classes, len(days), own)
    table["moves"] = days.append(pd.DatetimeIndex([pd.NaT]))[moved.day]
    table["later_cluster"] = moved.later

    deviation = pd.Series(rng.standard_normal(len(table))).groupby(table["planted_cluster"]).transform(_standardised)
    typical = table["asset_class"].map({name: traits[1] for name, traits in CLASS_TRAITS.items()})
    table["sharpe"] = config.sharpe + config.skill * deviation
    table["volatility"] = typical * np.exp(rng.normal(0, 0.2, len(table)))
    bills = table.index[table["asset_class"] == "government_bond"][: config.n_bills]
    table.loc[bills, "volatility"] = BILL_VOLATILITY
    table.index = pd.Index(_symbols(table["asset_class"], bills), dtype=object)

    shares = table.index[table["asset_class"] == "equity"]
    table["currency"] = [_quote_currency(symbol) for symbol in table.index]
    table["calendar"] = np.where(table["asset_class"] == "forex", "weekdays", "XNYS")
    table["sector"] = _sectors(table, classes, config, own)
    table["region"] = np.where(table["asset_class"] == "forex", "Global", "United States")
    if all(rate in table.index for rate, *_ in LISTINGS.values()):
        abroad = rng.choice(shares, round(config.foreign * len(shares)), replace=False)
        for currency, (_, _, calendar, region) in LISTINGS.items():
            listed_there = abroad[list(LISTINGS).index(currency) :: len(LISTINGS)]
            table.loc[listed_there, ["currency", "calendar", "region"]] = [currency, calendar, region]

    table["listed"], table["delisted"] = pd.Timestamp(config.start), pd.Timestamp(config.end)
    table["flaw"] = ""
    free = rng.permutation([symbol for symbol in table.index if symbol not in FOREX])
    n_moved = round(config.turnover * len(table))
    late, early, flawed = free[:n_moved], free[n_moved : 2 * n_moved], free[2 * n_moved :]
    table.loc[late, "listed"] = days[(rng.uniform(0.1, 0.8, len(late)) * len(days)).astype(int)]
    table.loc[early, "delisted"] = days[(rng.uniform(0.4, 0.9, len(early)) * len(days)).astype(int)]
    if config.flaws:
        flawed = flawed[: max(len(FLAWS), len(table) // 12)]
        table.loc[flawed, "flaw"] = np.resize(FLAWS, len(flawed))
    return table


def planted_on(planted: pd.DataFrame, day: pd.Timestamp | str) -> pd.Series:
    """The planted cluster of every asset on a day, by symbol.

    Args:
        planted: as ``truth`` tells it.
    """
    return planted["planted_cluster"].where(~(planted["moves"] <= pd.Timestamp(day)), planted["later_cluster"])


def simulate(config: SimulatedConfig | None = None) -> RawData:
    """The market as a source would deliver it; the same ``config`` (default: as it comes) gives the same bars."""
    config = SimulatedConfig() if config is None else config
    planted = truth(config)
    days = pd.bdate_range(config.start, config.end)
    dollars = _dollar_log_returns(planted, len(days), config)
    levels = pd.DataFrame(dollars.cumsum(axis=0), index=days, columns=planted.index)
    sessions_of = {name: sessions(name, days[0], days[-1]) for name in EXCHANGES} | {"weekdays": days}
    bars = {}
    for number, (symbol, asset) in enumerate(planted.iterrows()):
        rng = np.random.default_rng([config.seed, 2, number])
        listed = sessions_of[asset["calendar"]]
        listed = listed[(listed >= asset["listed"]) & (listed <= asset["delisted"])]
        local = levels[symbol]
        if symbol in FOREX:
            local = (local if symbol.endswith("USD=X") else -local) + np.log(FOREX[symbol])
        else:
            local = local + np.log(rng.lognormal(4.0, 0.5))
            if asset["currency"] in LISTINGS:
                local = local - _log_dollars_per_unit(levels, asset["currency"])
        frame = make_bars(local.loc[listed], asset["volatility"], rng, **HABITS[asset["asset_class"]])
        bars[symbol] = RawBars(with_flaw(frame, asset["flaw"], rng), asset["currency"])
    shares = planted["asset_class"] == "equity" if (planted["asset_class"] == "equity").any() else slice(None)
    market = np.log1p(np.expm1(dollars[:, shares]).mean(axis=1)).cumsum() + np.log(400.0)
    market = pd.Series(market, days).loc[sessions_of["XNYS"]]
    volatility = market.diff().std() * np.sqrt(WEEKDAYS_PER_YEAR)
    bars[BENCHMARK] = RawBars(make_bars(market, volatility, np.random.default_rng([config.seed, 3])), "USD")
    return RawData(bars, _assets(planted), {}, simulated=True)


def _classes(config: SimulatedConfig) -> list[str]:
    """The asset class of each cluster."""
    allowed = config.asset_classes or tuple(CLASS_TRAITS)
    pattern = [name for name in CLASS_OF_CLUSTER if name in allowed]
    return [pattern[k % len(pattern)] for k in range(config.n_clusters)]


def _sectors(
    planted: pd.DataFrame, classes: list[str], config: SimulatedConfig, rng: np.random.Generator
) -> np.ndarray:
    """What a user is told of shares; in a "market" some of it says nothing of how they move."""
    shares, cluster = (planted["asset_class"] == "equity").to_numpy(), planted["planted_cluster"].to_numpy()
    if config.structure == "blocks":
        return np.where(shares, np.array(SECTORS)[cluster % len(SECTORS)], "")
    every = np.array((*SECTORS, *SECTORS_OF_BLOCK))
    rank = np.cumsum([name == "equity" for name in classes]) - 2  # the block is the first
    told = np.where(cluster == 0, len(SECTORS) + kinds_in_block(len(planted)), rank[cluster] % len(SECTORS))
    told = np.where(rng.random(len(planted)) < MISTOLD, rng.integers(len(every), size=len(planted)), told)
    return np.where(shares, every[told], "")


def _standardised(values: pd.Series) -> pd.Series:
    """Mean 0 and (population) standard deviation 1; a cluster of one has nothing to spread."""
    return (values - values.mean()) / values.std(ddof=0) if len(values) > 1 else values * 0.0


def _symbols(asset_class: pd.Series, bills: pd.Index) -> list[str]:
    counts: dict[str, int] = {}
    symbols, pairs = [], iter(FOREX)
    for row, name in asset_class.items():
        letters = "BIL" if row in bills else CLASS_TRAITS[name][0]
        counts[letters] = counts.get(letters, 0) + 1
        made_up = f"SIM.{letters}{counts[letters]:03d}"
        symbols.append(next(pairs, made_up) if name == "forex" else made_up)
    return symbols


def _quote_currency(symbol: str) -> str:
    """``JPY`` of ``JPY=X`` (yen per dollar); dollars for everything else until it is listed abroad."""
    return symbol[:3] if symbol in FOREX and not symbol.endswith("USD=X") else "USD"


def _dollar_log_returns(planted: pd.DataFrame, n_days: int, config: SimulatedConfig) -> np.ndarray:
    """Log returns in US dollars on every weekday, shape ``(n_days, n_assets)``."""
    daily = planted["volatility"].to_numpy() / np.sqrt(WEEKDAYS_PER_YEAR)
    drift = (config.cash_rate + planted["sharpe"] * planted["volatility"]).to_numpy() / WEEKDAYS_PER_YEAR
    if config.structure == "market":
        return drift - daily**2 / 2 + daily * _of_a_market(planted, n_days, config)
    streams = np.random.default_rng([config.seed, 1]).spawn(4)
    cluster = planted["planted_cluster"].to_numpy()

    def draw(stream, n_series):
        if not config.regimes:
            return stream.standard_normal((n_days, n_series))
        return stream.standard_t(TAIL_DF, (n_days, n_series)) * np.sqrt((TAIL_DF - 2) / TAIL_DF)

    found = np.sqrt(config.between) * draw(streams[0], 1)
    found = found + np.sqrt(config.within - config.between) * draw(streams[1], config.n_clusters)[:, cluster]
    found = found + np.sqrt(1 - config.within) * draw(streams[2], len(planted))
    daily = daily * (swings(_crises(streams[3], n_days), CRISIS["volatility"]) if config.regimes else 1.0)
    return drift - daily**2 / 2 + daily * found


def _of_a_market(planted: pd.DataFrame, n_days: int, config: SimulatedConfig) -> np.ndarray:
    """The shocks of structure "market", ``(n_days, n_assets)``."""
    of_crises, of_loadings, of_shocks = np.random.default_rng([config.seed, 5]).spawn(3)
    days = pd.bdate_range(config.start, config.end)
    day = np.where(planted["moves"].isna(), n_days, days.searchsorted(planted["moves"]))
    belong = Homes(planted["planted_cluster"].to_numpy(), day, planted["later_cluster"].to_numpy())
    loadings = Loadings(belong, _classes(config), of_loadings)
    crises = _crises(of_crises, n_days) if config.regimes else None
    return shocks(loadings, planted["calendar"].to_numpy(), crises, of_shocks, n_days)


def _crises(rng: np.random.Generator, n_days: int) -> np.ndarray:
    """Which days are of a crisis, bool ``(n_days,)``."""
    crisis, states = False, np.empty(n_days, dtype=bool)
    for day, draw in enumerate(rng.random(n_days)):
        crisis = draw >= CRISIS["ends"] if crisis else draw < CRISIS["begins"]
        states[day] = crisis
    return states


def _log_dollars_per_unit(levels: pd.DataFrame, currency: str) -> pd.Series:
    """Log value in US dollars of one unit of a quote currency, by weekday."""
    rate, units, _, _ = LISTINGS[currency]
    first = np.log(FOREX[rate])
    return levels[rate] + (first if rate.endswith("USD=X") else -first) - np.log(units)


def _assets(planted: pd.DataFrame) -> pd.DataFrame:
    """What a user would be told about the symbols: nothing of the truth."""
    table = planted[["asset_class", "sector", "region", "currency"]].copy()
    words = table["asset_class"].str.replace("_", " ")
    table.insert(0, "name", [f"Simulated {word} {symbol}" for word, symbol in zip(words, table.index, strict=True)])
    costs = [
        FOREIGN_SHARE_COSTS if asset["currency"] in LISTINGS else CLASS_COSTS[asset["asset_class"]]
        for _, asset in table.iterrows()
    ]
    table["commission_bps"], table["half_spread_bps"] = np.array(costs).T
    table["tradable"] = True
    table.loc[BENCHMARK] = ["Simulated market index", "etf", "", "United States", "USD", 0.0, 0.0, False]
    return table
