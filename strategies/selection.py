"""Which assets may be held, and which of them are picked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.sharpe import sharpe_ratios

#: Share of the days that say nothing about whether an asset is cash-like.
WILDEST = 0.02


@dataclass(frozen=True)
class SelectionConfig:
    """Who is eligible at a decision and who wins a cluster.

    Attributes:
        per_cluster: assets picked from each cluster, the best Sharpe ratios first.
        by: "sharpe" = the best Sharpe ratio of each cluster; "joint" = one of each chosen together, so that the picks
            have a good ratio, shrunk as James and Stein do, and little in common (`strategies/joint.py`).
        names: "joint" picks so many in all: of more clusters than that the picks that add least are left out; 0 = one
            of each cluster.
        apart: what "joint" takes off for each pair of picks: so many points of the Sharpe ratio times their squared
            correlation.
        apart_sessions: trailing sessions of that correlation.
        head_start: points that a name which is held is ahead by in "joint".
        sharpe_span: "trailing" = over the last `sharpe_sessions`; "training" = over the encoder's training span.
        sharpe_sessions: sessions of the trailing Sharpe ratio.
        excess_of_cash: subtract the cash rate before the Sharpe ratio is taken; false = raw returns.
        min_sessions: sessions since its first bar that an asset needs to be eligible.
        max_stale_sessions: an asset without a bar for more sessions than this is not eligible.
        volatility_floor: annualised volatility, the wildest days left out, under which an asset counts as cash-like and
            may not be held; 0 = off.
        volatility_sessions: trailing sessions over which that volatility is measured.
        liquidity_floor: value traded a day on average, in the account's currency, under which an asset may not be held;
            one of which no volume was ever stated (forex) is not judged by it; 0 = off.
        liquidity_sessions: trailing sessions of that average.
        hysteresis: sessions for which a pick is expected to stay: a name that is held stays its cluster's pick unless
            another's edge, shrunk as James and Stein do, is worth more over so many sessions than the exchange costs;
            0 = off, the best wins.
        skip_confidence: a cluster is left out unless the Sharpe ratio of its pick, so shrunk, is above 0 with this
            one-sided confidence (0.9); 0 = off, else at least 0.5.
    """

    per_cluster: int = 1
    by: str = "sharpe"
    names: int = 0
    apart: float = 4.0
    apart_sessions: int = 504
    head_start: float = 0.0
    sharpe_span: str = "trailing"
    sharpe_sessions: int = SESSIONS_PER_YEAR
    excess_of_cash: bool = True
    min_sessions: int = SESSIONS_PER_YEAR
    max_stale_sessions: int = 5
    volatility_floor: float = 0.03
    volatility_sessions: int = SESSIONS_PER_YEAR
    liquidity_floor: float = 0.0
    liquidity_sessions: int = 63
    hysteresis: int = 0
    skip_confidence: float = 0.0

    def __post_init__(self):
        if self.sharpe_span not in ("trailing", "training"):
            raise ValueError(f"selection.sharpe_span: got {self.sharpe_span!r}, expected 'trailing' or 'training'")
        if self.by not in ("sharpe", "joint"):
            raise ValueError(f"selection.by: got {self.by!r}, expected 'sharpe' or 'joint'")
        for name, off in (("per_cluster", 1), ("hysteresis", 0)) if self.by == "joint" else ():
            if getattr(self, name) != off:
                raise ValueError(f"selection.{name}: got {getattr(self, name)}, expected {off} with by = 'joint'")
        for name, off in (("names", 0), ("head_start", 0.0)) if self.by == "sharpe" else ():
            if getattr(self, name) != off:
                raise ValueError(f"selection.{name}: got {getattr(self, name)}, which needs selection.by = 'joint'")
        for name in (
            "per_cluster",
            "sharpe_sessions",
            "min_sessions",
            "volatility_sessions",
            "liquidity_sessions",
            "apart_sessions",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"selection.{name}: got {getattr(self, name)}, expected at least 1")
        for name in ("liquidity_floor", "hysteresis", "names", "apart", "head_start"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"selection.{name}: got {getattr(self, name)}, expected 0 or more")
        if self.skip_confidence and not 0.5 <= self.skip_confidence < 1:
            raise ValueError(
                f"selection.skip_confidence: got {self.skip_confidence}, expected 0, or 0.5 to less than 1"
            )


def ranking_sharpe(
    returns: pd.DataFrame,
    config: SelectionConfig,
    cash: pd.Series | None = None,
    train_span: tuple[pd.Timestamp, pd.Timestamp] | None = None,
) -> pd.Series:
    """The Sharpe ratios that a cluster's winner is chosen by, shape ``(n_assets,)``.

    Args:
        returns: simple daily returns at the sessions up to now, ``(n_sessions, n_assets)``.
        cash: daily return of cash by day; the last one known counts. None = 0.
        train_span: first and last day of the encoder's training, for ``sharpe_span = "training"``.
    """
    span = ranking_span(returns, config, train_span)
    if not config.excess_of_cash or cash is None:
        return sharpe_ratios(span)
    return sharpe_ratios(span, cash.reindex(span.index, method="ffill").fillna(0.0))


def ranking_span(
    returns: pd.DataFrame, config: SelectionConfig, train_span: tuple[pd.Timestamp, pd.Timestamp] | None = None
) -> pd.DataFrame:
    """The sessions of which those Sharpe ratios are taken; see ``ranking_sharpe``."""
    if config.sharpe_span != "training":
        return returns.iloc[-config.sharpe_sessions :]
    if train_span is None:
        raise ValueError("train_span: got None, needed for selection.sharpe_span = 'training'")
    return returns.loc[train_span[0] : train_span[1]]


def annual_volatility(returns: pd.DataFrame) -> pd.Series:
    """Annualised standard deviation of daily returns by column, shape ``(n_assets,)``.

    >>> annual_volatility(pd.DataFrame({"A": [0.01, -0.01, 0.01, -0.01]})).round(3).to_dict()
    {'A': 0.183}
    """
    return returns.std(ddof=1) * np.sqrt(SESSIONS_PER_YEAR)


def steady_volatility(returns: pd.DataFrame) -> pd.Series:
    """``annual_volatility`` without the largest 2 % of the moves: what a bad tick or two cannot raise.

    >>> bills = pd.DataFrame({"BILL": [0.0001, 0.0002] * 125 + [0.037, -0.036]})
    >>> annual_volatility(bills).round(3).to_dict(), steady_volatility(bills).round(3).to_dict()
    ({'BILL': 0.052}, {'BILL': 0.001})
    """
    size = returns.abs()
    return annual_volatility(returns.where(size <= size.quantile(1 - WILDEST, interpolation="higher")))


def top_sharpe_per_cluster(sharpe: pd.Series, labels: pd.Series, k: int = 1) -> list[str]:
    """Names of the ``k`` assets with the highest Sharpe ratio in each cluster, clusters in label order.

    Args:
        sharpe: annualised Sharpe ratio by asset, shape ``(n_assets,)``; NaN is never selected.
        labels: cluster label by asset, shape ``(n_assets,)``. Equal ratios: the name first in the alphabet.

    >>> sharpe = pd.Series({"AAPL": 1.2, "MSFT": 0.9, "XOM": 0.4})
    >>> labels = pd.Series({"AAPL": 0, "MSFT": 0, "XOM": 1})
    >>> top_sharpe_per_cluster(sharpe, labels)
    ['AAPL', 'XOM']
    """
    known = labels.dropna()
    names = known.index.to_numpy()
    best = best_of_clusters(sharpe.reindex(known.index).to_numpy(dtype=float), known.to_numpy(), names.astype(str), k)
    return names[best].tolist()


def best_of_clusters(sharpe: np.ndarray, labels: np.ndarray, names: np.ndarray, k: int = 1) -> np.ndarray:
    """Positions of the ``k`` highest ratios of each label, labels ascending; of equal ratios the first name.

    Args:
        sharpe: shape ``(n,)``; NaN is never picked.
        labels, names: same shape.

    >>> best_of_clusters(np.array([1.0, 2.0, np.nan, 2.0]), np.array([1, 1, 0, 1]), np.array(["A", "C", "D", "B"]))
    array([3])
    """
    order = np.lexsort((names, -sharpe, labels))
    order = order[~np.isnan(sharpe[order])]
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels)
    return order[np.arange(len(order)) - first < k]


def ineligible(
    returns: pd.DataFrame,
    bars_since_last: pd.Series,
    has_window: pd.Series,
    config: SelectionConfig,
    member: pd.Series | None = None,
    traded: pd.Series | None = None,
) -> dict[str, str]:
    """Assets that may not be held now, with the reason.

    Args:
        returns: simple daily returns at the sessions up to now, ``(n_sessions, n_assets)``; NaN before the first bar.
        bars_since_last: sessions since each asset's last bar, NaN = no bar yet.
        has_window: True where the asset has a full window of indicators to embed.
        member: True where the asset is in the universe now (``Panel.members``); None = all are.
        traded: value traded a day (``strategies.liquidity.traded_a_day``); NaN = not judged; None = none is.

    >>> config = SelectionConfig(min_sessions=2, volatility_floor=0.03)
    >>> returns = pd.DataFrame({"BILL": [0.0001, 0.0002], "GONE": [0.01, -0.01], "GOOD": [0.01, -0.01]})
    >>> ineligible(returns, pd.Series({"BILL": 0, "GONE": 9, "GOOD": 0}), returns.columns.to_series().notna(), config)
    {'BILL': 'cash-like: volatility 0.1 % a year is under 3.0 %', 'GONE': 'no bar for 9 sessions'}
    """
    history = returns.count()
    volatility = steady_volatility(returns.iloc[-config.volatility_sessions :])
    reasons = {}
    for name in returns.columns:
        if member is not None and not member[name]:
            reasons[name] = "no member of the universe on this day"
        elif history[name] < config.min_sessions:
            reasons[name] = f"history of {history[name]} sessions, {config.min_sessions} needed"
        elif bars_since_last[name] > config.max_stale_sessions:
            reasons[name] = f"no bar for {bars_since_last[name]:.0f} sessions"
        elif not has_window[name]:
            reasons[name] = "no full window of indicators"
        elif not volatility[name] >= config.volatility_floor:
            reasons[name] = (
                f"cash-like: volatility {volatility[name]:.1%} a year is under {config.volatility_floor:.1%}".replace(
                    "%", " %"
                )
            )
        elif traded is not None and traded[name] < config.liquidity_floor:
            reasons[name] = f"traded for {traded[name]:,.0f} a day, {config.liquidity_floor:,.0f} needed"
    return reasons
