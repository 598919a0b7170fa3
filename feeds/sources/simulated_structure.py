"""How the assets of a made-up market move together: as hard to tell apart as real ones, with the answer planted.

Every asset belongs to one group, its home, and every group to one asset class. What it does on a day is a weighted sum
of factors and of what is its own:

- the market, one for all shares and funds of them, and in small part for most others; the first group is a block, a
  quarter of all assets, of shares that have little else in common but for three kinds of them nested in it;
- rates for bonds, the dollar for currencies and commodities, two styles that run across all groups of shares;
- families, in which a class's groups are nested, and the groups themselves, some of them strong and some hardly there;
- for funds and some shares a second group beside their home.

What part of its variance is whose differs from asset to asset and drifts from quarter to quarter, and a few assets a
year move to another group of their class. Factors and own parts have heavy tails, and in a crisis factors swing more
than what is own, so that correlations rise. The news of a day are spread over it: an exchange that closes earlier
answers to the rest of them on the next day. The figures below were chosen so that the market looks like real ones
(``tests.benchmarks.demo --likeness``, docs/clusters.md), not by what any way of clustering finds in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

#: Share of an asset's variance that is each factor's, by class; below zero: it moves against the factor.
SHARES = {
    "equity": {"market": 0.36, "rates": -0.01, "style": 0.06, "family": 0.07, "group": 0.23, "second": 0.05},
    "etf": {"market": 0.80, "style": 0.01, "family": 0.02, "group": 0.06, "second": 0.05},
    "government_bond": {"rates": 0.58, "group": 0.12},
    "corporate_bond": {"market": 0.10, "rates": 0.40, "group": 0.20},
    "commodity": {"market": 0.06, "dollar": 0.05, "family": 0.16, "group": 0.22},
    "forex": {"market": 0.03, "dollar": 0.25, "group": 0.05},
}
NAMED = ("market", "rates", "dollar")
N_STYLES = 2

#: Part of all assets that is in the first group; sizes of the others, in turn.
BLOCK, SIZES = 0.24, (1.0, 1.5, 0.8, 0.6, 1.2, 1.8, 0.9)

#: How much a share's group is felt, and how much the market is: in the block, and in the others in turn. Groups that
#: move most with the market have little of their own.
IN_BLOCK, STRENGTHS = 0.25, (2.4, 0.3, 1.3, 0.15, 1.0, 1.7, 0.6)
MARKET_IN_BLOCK, MARKET = 1.4, (0.5, 1.2, 0.8, 1.3, 0.7, 0.5, 1.0)

#: Kinds of shares nested in the block.
N_KINDS = 3

#: Groups of a family, part of the shares with a second group, part of all assets that changes its group in a year, and
#: part of the shares whose told sector says nothing.
FAMILY, WITH_SECOND, MOVES, MISTOLD = 3, 0.35, 0.05, 0.2

#: Standard deviation of the log of a share of variance from asset to asset, and of a factor's from quarter to quarter
#: (an autoregression of this persistence); days of a quarter; no asset is explained by more than this.
SPREAD, DRIFT, PERSISTENCE, QUARTER, MOST = 0.35, 0.25, 0.8, 63, 0.95

#: Degrees of freedom of the tails: of factors, and the range of those of what is own.
FACTOR_TAIL, OWN_TAILS = 5.0, (2.8, 6.0)

#: Swings in a crisis, in multiples of those of other days.
CRISIS = {"market": 3.0, "factor": 2.4, "own": 1.8}

#: Part of a day's news known when an exchange closes: Tokyo, then Frankfurt and London; New York knows all.
KNOWN_BY = {"XTKS": 0.35, "XETR": 0.7, "XLON": 0.7}


@dataclass(frozen=True)
class Homes:
    """Where each asset belongs.

    Attributes:
        first: group at the start, ``(n_assets,)``.
        day: row from which on it is another, beyond the last where it never is.
        later: that group.
    """

    first: np.ndarray
    day: np.ndarray
    later: np.ndarray

    def on(self, row: int) -> np.ndarray:
        """The groups on a day, ``(n_assets,)``."""
        return np.where(row < self.day, self.first, self.later)


def group_sizes(n_assets: int, n_groups: int) -> np.ndarray:
    """Members of each group at the start, one or more.

    >>> group_sizes(320, 20).tolist()
    [77, 17, 9, 7, 14, 20, 10, 11, 17, 9, 7, 14, 20, 10, 11, 17, 9, 7, 14, 20]
    """
    weights = np.resize(SIZES, n_groups)
    if n_groups > 1:
        weights[0] = BLOCK / (1 - BLOCK) * weights[1:].sum()
    wanted = weights / weights.sum() * n_assets
    sizes = np.maximum(np.floor(wanted), 1).astype(int)
    while (missing := n_assets - sizes.sum()) != 0:
        at = (wanted - sizes).argmax() if missing > 0 else np.where(sizes > 1, wanted - sizes, np.inf).argmin()
        sizes[at] += np.sign(missing)
    return sizes


def homes(groups: np.ndarray, classes: Sequence[str], n_days: int, rng: np.random.Generator) -> Homes:
    """Some assets move, on the first day of a quarter, to another group of their class.

    Args:
        groups: at the start.
        classes: of the groups.
    """
    day, later = np.full(len(groups), n_days), groups.copy()
    quarters = np.arange(QUARTER, n_days, QUARTER)
    moving = rng.random(len(groups)) < 1 - (1 - MOVES) ** (n_days / (4 * QUARTER))
    for asset in np.flatnonzero(moving) if len(quarters) else []:
        home = groups[asset]
        others = [group for group, name in enumerate(classes) if name == classes[home] and group != home]
        if others:
            day[asset], later[asset] = rng.choice(quarters), rng.choice(others)
    return Homes(groups, day, later)


def families(classes: Sequence[str]) -> np.ndarray:
    """The family of each group: three groups of a class each; funds have those of shares, the block its own kinds.

    >>> families(["equity"] * 5 + ["commodity", "etf", "commodity", "etf", "etf"]).tolist()
    [0, 3, 3, 3, 4, 5, 3, 5, 4, 3]
    """
    found, n_found = np.zeros(len(classes), dtype=int), N_KINDS
    of_class = {name: [group for group, its in enumerate(classes) if its == name and group] for name in classes}
    shares = of_class.get("equity", [])
    for name, groups in of_class.items():
        if name == "etf" and shares:
            continue
        found[groups] = n_found + np.arange(len(groups)) // FAMILY
        n_found = int(found.max()) + 1
    if shares and "etf" in of_class:
        funds = of_class["etf"]
        found[funds] = np.resize(np.unique(found[shares]), len(funds))
    return found


def kinds_in_block(n_assets: int) -> np.ndarray:
    """Which of the block's kinds an asset is of as long as it belongs to it, in turn."""
    return np.arange(n_assets) % N_KINDS


class Loadings:
    """What each asset has of each factor.

    Args:
        classes: of the groups.
    """

    def __init__(self, homes: Homes, classes: Sequence[str], rng: np.random.Generator):
        n = len(homes.first)
        kinds = np.array([classes[group] for group in homes.first])
        self.homes, self.family, self.kind = homes, families(classes), kinds_in_block(n)
        self.share = {
            name: np.array([SHARES[kind].get(name, 0.0) for kind in kinds])
            * np.exp(rng.normal(-(SPREAD**2) / 2, SPREAD, n))
            for name in (*NAMED, "style", "family", "group", "second")
        }
        self.styles = rng.standard_normal((n, N_STYLES)) / np.sqrt(N_STYLES)
        self.first_family = len(NAMED) + N_STYLES
        self.first_group = self.first_family + max(N_KINDS, int(self.family.max()) + 1)
        self.n_factors = self.first_group + len(classes)
        of_shares = np.array(classes) == "equity"
        self.felt = np.where(of_shares, [IN_BLOCK, *np.resize(STRENGTHS, len(classes) - 1)], 1.0)
        self.market_felt = np.where(of_shares, [MARKET_IN_BLOCK, *np.resize(MARKET, len(classes) - 1)], 1.0)
        trades = np.flatnonzero((np.array(classes) == "equity") & (np.arange(len(classes)) > 0))
        has = (kinds == "etf") | ((kinds == "equity") & (rng.random(n) < WITH_SECOND))
        drawn = rng.choice(trades, n) if len(trades) else np.full(n, -1)
        self.second = np.where(has, drawn, -1)

    def on(self, row: int, strength: np.ndarray) -> np.ndarray:
        """Loadings on a day, ``(n_assets, n_factors)``; their squares sum to less than 1.

        Args:
            strength: of each factor's share of variance on that day.
        """
        home, rows = self.homes.on(row), np.arange(len(self.homes.first))
        found = np.zeros((len(rows), self.n_factors))
        for column, name in enumerate(NAMED):
            found[:, column] = np.sign(self.share[name]) * np.sqrt(np.abs(self.share[name]))
        found[:, 0] *= np.sqrt(self.market_felt[home])
        found[:, len(NAMED) : self.first_family] = self.styles * np.sqrt(self.share["style"])[:, None]
        found[rows, self.first_family + np.where(home == 0, self.kind, self.family[home])] = np.sqrt(
            self.share["family"]
        )
        found[rows, self.first_group + home] = np.sqrt(self.share["group"] * self.felt[home])
        twice = (self.second >= 0) & (self.second != home)
        found[rows[twice], self.first_group + self.second[twice]] = np.sqrt(self.share["second"][twice])
        found *= np.sqrt(strength)
        explained = np.square(found).sum(axis=1, keepdims=True)
        return found * np.sqrt(MOST / np.maximum(explained, MOST))


def drifting(n_factors: int, n_days: int, rng: np.random.Generator) -> Iterator[tuple[int, int, np.ndarray]]:
    """First row, row after the last and strength of each factor, quarter by quarter; the mean strength is 1."""
    state = rng.normal(0.0, DRIFT, n_factors)
    for first in range(0, n_days, QUARTER):
        yield first, min(first + QUARTER, n_days), np.exp(state - DRIFT**2 / 2)
        state = PERSISTENCE * state + np.sqrt(1 - PERSISTENCE**2) * rng.normal(0.0, DRIFT, n_factors)


def shocks(loadings: Loadings, calendars: np.ndarray, crises: np.ndarray | None, rng: np.random.Generator,
           n_days: int) -> np.ndarray:  # fmt: skip
    """What the assets do, in multiples of their volatility, ``(n_days, n_assets)``; its variance is 1 over the span.

    Args:
        calendars: of the assets.
        crises: bool ``(n_days,)``; None = neither crises nor heavy tails.
    """
    n_assets, n_factors = len(calendars), loadings.n_factors
    bounds = sorted({*KNOWN_BY.values(), 1.0})
    parts = np.sqrt(np.diff([0.0, *bounds]))
    news = rng.standard_normal((len(bounds), n_days + 1, n_factors)) * parts[:, None, None]
    own = rng.standard_normal((n_days, n_assets))
    if crises is not None:
        news *= tailed(FACTOR_TAIL, (n_days + 1, n_factors), rng)
        news[:, 1:, :1] *= swings(crises, CRISIS["market"])
        news[:, 1:, 1:] *= swings(crises, CRISIS["factor"])
        own *= tailed(rng.uniform(*OWN_TAILS, n_assets), own.shape, rng) * swings(crises, CRISIS["own"])
    known = np.array([bounds.index(KNOWN_BY.get(name, 1.0)) for name in calendars])
    today, before = news[:, 1:].cumsum(axis=0), news[::-1, :-1].cumsum(axis=0)[::-1]
    found = np.empty((n_days, n_assets))
    for first, last, strength in drifting(n_factors, n_days, rng):
        weights = loadings.on(first, strength)
        for close in np.unique(known):
            at = np.flatnonzero(known == close)
            seen = today[close, first:last]
            if close < len(bounds) - 1:
                seen = seen + before[close + 1, first:last]
            found[first:last, at] = seen @ weights[at].T
        found[first:last] += np.sqrt(1 - np.square(weights).sum(axis=1)) * own[first:last]
    return found


def tailed(freedom: np.ndarray | float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What makes normal draws Student's t of variance 1."""
    return np.sqrt((np.asarray(freedom) - 2) / rng.chisquare(freedom, shape))


def swings(crises: np.ndarray, multiple: float) -> np.ndarray:
    """Multiplier of a volatility by day, ``(n_days, 1)``, with a mean square of 1."""
    found = np.where(crises, multiple, 1.0)
    return (found / np.sqrt(np.mean(found**2)))[:, None]
