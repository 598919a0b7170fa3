"""From the names picked to their weights: a method, then caps by name and class, and a word where one fell back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies import optimised
from clusterfolio.strategies.caps import capped
from clusterfolio.strategies.sharpe import sharpe_ratios

#: Fewest known returns of every name from which a covariance is taken.
FEWEST_RETURNS = 63

#: Cash that caps leave is worth a word from this part of the portfolio on.
LEFT_OVER = 0.005

#: A class that counts for no cap and no budget.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class AllocationConfig:
    """How the names picked are weighed; which method it is says `trading.allocate`.

    Attributes:
        sessions: trailing sessions over which volatilities and covariances are taken.
        temperature: of "softmax", in units of the Sharpe ratio: near 0 all goes to the best, a large one is equal.
        class_budgets: for "class_risk": share of the portfolio's variance by asset class, as "equity=0.5, etf=0.2";
            classes not named share what is left, the names of a class share theirs. Empty = every class the same.
        caps: "auto" = the caps hold for every method but "equal" and "inverse_volatility"; "on" = for all; "off".
        name_cap: largest fraction of the portfolio in one name.
        class_cap: largest fraction in one asset class; where all names are of one class, or of none that is known, it
            does not count. What no name may take stays cash.
        no_trade: relative risk aversion of an investor who leaves a weight alone near its target, and else trades
            to the edge of that band only (1 = logarithmic utility; less = a wider band); 0 = off, all is traded.
        membership: less weight where a cluster is doubtful: its weight times its stability (0 to 1, bootstrap) to this
            power; 0 = off.
        variance: less weight where the encoder is uncertain of a name's embedding: its weight times (median variance /
            its variance) to this power, at most 1; 0 = off. Needs an encoder that states a variance: vae.
        freed: what clusters that are left out and names that are doubtful free goes to the "rest", or to "cash".
    """

    sessions: int = SESSIONS_PER_YEAR
    temperature: float = 1.0
    class_budgets: tuple[str, ...] = ()
    caps: str = "auto"
    name_cap: float = 0.15
    class_cap: float = 0.6
    no_trade: float = 0.0
    membership: float = 0.0
    variance: float = 0.0
    freed: str = "rest"

    def __post_init__(self):
        if self.sessions < 2:
            raise ValueError(f"allocation.sessions: got {self.sessions}, expected at least 2")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"allocation.temperature: got {self.temperature}, expected a number above 0")
        if self.caps not in ("auto", "on", "off"):
            raise ValueError(f"allocation.caps: got {self.caps!r}, expected 'auto', 'on' or 'off'")
        for name in ("name_cap", "class_cap"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"allocation.{name}: got {getattr(self, name)}, expected 0 < {name} <= 1")
        for name in ("no_trade", "membership", "variance"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"allocation.{name}: got {getattr(self, name)}, expected 0 or more")
        if self.freed not in ("rest", "cash"):
            raise ValueError(f"allocation.freed: got {self.freed!r}, expected 'rest' or 'cash'")
        self.budgets()

    def budgets(self) -> dict[str, float]:
        """The class budgets as numbers.

        >>> AllocationConfig(class_budgets=("equity=0.5", "etf = 0.2")).budgets()
        {'equity': 0.5, 'etf': 0.2}
        """
        found = {}
        for text in self.class_budgets:
            name, _, share = (part.strip() for part in text.partition("="))
            try:
                found[name] = float(share)
            except ValueError:
                found[name] = np.nan
            if not found[name] > 0:
                raise ValueError(f"allocation.class_budgets: got {text!r}, expected class=share, such as equity=0.5")
        if sum(found.values()) > 1 + 1e-9:
            raise ValueError(f"allocation.class_budgets: they sum to {sum(found.values()):g}, expected at most 1")
        return found


@dataclass(frozen=True)
class Picks:
    """What an allocator is shown.

    Attributes:
        returns: simple daily returns up to now, ``(n_sessions, n_assets)``; columns at least ``selected``.
        selected: the names to hold.
        sharpe: what the selection ranked by, by symbol; None = the ratio of the last sessions is taken.
        classes: asset class by symbol; None = not known.
        labels: cluster by symbol; None = not known.
    """

    returns: pd.DataFrame
    selected: list[str]
    sharpe: pd.Series | None = None
    classes: pd.Series | None = None
    labels: pd.Series | None = None

    def kinds(self, names: list[str] | None = None) -> np.ndarray:
        """A number for the class of each name, -1 where none is known, ``(n_names,)``."""
        names = self.selected if names is None else names
        if self.classes is None:
            return np.full(len(names), -1)
        found = self.classes.reindex(names)
        codes, _ = pd.factorize(found.where(found != UNKNOWN))
        return codes


@dataclass(frozen=True)
class Allocated:
    """Weights by symbol, summing to at most 1, and what is to be said of them."""

    weights: pd.Series
    notes: tuple[str, ...] = ()


Method = Callable[[Picks, AllocationConfig], pd.Series]


def equal_weight(returns: pd.DataFrame, selected: list[str]) -> pd.Series:
    """The same weight for every name; an empty selection gives an empty series (all cash).

    Args:
        returns: simple daily returns up to now, ``(n_sessions, n_assets)``; not used here.
        selected: the names to hold.

    >>> equal_weight(pd.DataFrame(), ["SPY", "TLT"]).to_dict()
    {'SPY': 0.5, 'TLT': 0.5}
    """
    return pd.Series(1.0 / len(selected) if selected else 0.0, index=list(selected), dtype=float)


def inverse_volatility(returns: pd.DataFrame, selected: list[str], span: int = SESSIONS_PER_YEAR) -> pd.Series:
    """Weights proportional to 1 / volatility over the last ``span`` sessions, summing to 1.

    A name whose volatility is not known (listed yesterday), or is 0, counts as the one in the middle.

    >>> r = pd.DataFrame({"CALM": [0.01, -0.01, 0.01], "WILD": [0.02, -0.02, 0.02]})
    >>> inverse_volatility(r, ["CALM", "WILD"]).round(3).to_dict()
    {'CALM': 0.667, 'WILD': 0.333}
    """
    if not selected:
        return equal_weight(returns, selected)
    volatility = returns[selected].iloc[-span:].std()
    inverse = 1.0 / volatility.where(volatility > 0)
    inverse = inverse.fillna(inverse.median())
    return inverse / inverse.sum() if inverse.notna().all() else equal_weight(returns, selected)


def softmax(sharpe: pd.Series, temperature: float) -> pd.Series:
    """Weights proportional to ``exp(sharpe / temperature)``, summing to 1; a ratio that is not known counts as 0.

    >>> softmax(pd.Series({"A": 1.0, "B": 0.0}), 1.0).round(3).to_dict()
    {'A': 0.731, 'B': 0.269}
    """
    scaled = sharpe.fillna(0.0) / temperature
    grown = np.exp(scaled - scaled.max())
    return grown / grown.sum()


def class_shares(classes: pd.Series, budgets: dict[str, float]) -> pd.Series:
    """The share of the portfolio's variance that each name is to carry, summing to 1.

    >>> classes = pd.Series({"A": "equity", "B": "equity", "C": "bond", "D": "gold"})
    >>> class_shares(classes, {"equity": 0.5}).to_dict()
    {'A': 0.25, 'B': 0.25, 'C': 0.25, 'D': 0.25}
    """
    held = list(dict.fromkeys(classes))
    others = [name for name in held if name not in budgets]
    rest = max(1.0 - sum(budgets.get(name, 0.0) for name in held), 0.0)
    share = {name: budgets.get(name, rest / max(len(others), 1)) for name in held}
    found = classes.map(share) / classes.map(classes.value_counts())
    return found / found.sum()


def _equal(picks: Picks, config: AllocationConfig) -> pd.Series:
    return equal_weight(picks.returns, picks.selected)


def _inverse_volatility(picks: Picks, config: AllocationConfig) -> pd.Series:
    return inverse_volatility(picks.returns, picks.selected, config.sessions)


def _softmax(picks: Picks, config: AllocationConfig) -> pd.Series:
    sharpe = picks.sharpe
    if sharpe is None:
        sharpe = sharpe_ratios(picks.returns[picks.selected].iloc[-config.sessions :])
    return softmax(sharpe.reindex(picks.selected), config.temperature)


def _optimised(model: str, picks: Picks, config: AllocationConfig) -> pd.Series:
    return pd.Series(optimised.solve(model, known_returns(picks, config)), index=list(picks.selected))


def _class_risk(picks: Picks, config: AllocationConfig) -> pd.Series:
    classes = pd.Series(UNKNOWN, picks.selected) if picks.classes is None else picks.classes.reindex(picks.selected)
    budgets = class_shares(classes.fillna(UNKNOWN), config.budgets())
    if not (budgets > 0).all():
        raise ArithmeticError("the classes named in allocation.class_budgets take all risk, and others are held")
    weights = optimised.solve("equal_risk", known_returns(picks, config), budgets.to_numpy())
    return pd.Series(weights, index=list(picks.selected))


def known_returns(picks: Picks, config: AllocationConfig) -> np.ndarray:
    """The last returns of the names picked, 0 where one did not trade, ``(n_sessions, n_names)``.

    Raises:
        ArithmeticError: too little is known of a name, or it does not move.
    """
    span = picks.returns[picks.selected].iloc[-config.sessions :]
    known = span.count()
    if known.min() < FEWEST_RETURNS:
        raise ArithmeticError(f"{known.idxmin()} has {known.min()} returns, {FEWEST_RETURNS} needed")
    if not (span.std() > 0).all():
        raise ArithmeticError(f"{span.std().idxmin()} does not move")
    return span.fillna(0.0).to_numpy()


#: What ``trading.allocate`` may be. Where a name's part is in proportion to a figure of it alone, ``ALONE`` says so.
ALLOCATORS: dict[str, Method] = {
    "equal": _equal,
    "inverse_volatility": _inverse_volatility,
    "softmax": _softmax,
    **{model: partial(_optimised, model) for model in optimised.MODELS},
    "class_risk": _class_risk,
}
ALONE = ("equal", "inverse_volatility", "softmax")


@dataclass(frozen=True)
class Allocator:
    """A method with its settings; called with ``Picks`` it returns ``Allocated``.

    Attributes:
        method: a key of ``ALLOCATORS``, or a function of the same shape as its values.

    >>> returns = pd.DataFrame({"A": [0.01, -0.01, 0.01], "B": [0.02, -0.02, 0.02]})
    >>> Allocator("inverse_volatility")(Picks(returns, ["A", "B"])).weights.round(3).to_dict()
    {'A': 0.667, 'B': 0.333}
    """

    method: str | Method = "equal"
    config: AllocationConfig = field(default_factory=AllocationConfig)

    def __call__(self, picks: Picks) -> Allocated:
        """The weights of the names picked, in their order; what the caps took and nobody may take is cash."""
        if not picks.selected:
            return Allocated(equal_weight(picks.returns, []))
        notes: tuple[str, ...] = ()
        try:
            weights = self.uncapped(picks)
        except ArithmeticError as error:
            weights = inverse_volatility(picks.returns, picks.selected, self.config.sessions)
            day = f" on {picks.returns.index[-1]:%Y-%m-%d}" if isinstance(picks.returns.index, pd.DatetimeIndex) else ""
            notes = (f"allocation fell back to inverse volatility{day}: {self.name} found no weights: {error}",)
        capped = (
            self.cap(weights.to_numpy(dtype=float), picks.kinds()) if self.has_caps else weights.to_numpy(dtype=float)
        )
        found = pd.Series(capped, index=list(picks.selected))
        if found.sum() < 1 - LEFT_OVER:
            left = f"{1 - found.sum():.0%}".replace("%", " %")
            notes = (*notes, f"{left} stay in cash: no name or class may take more than its cap")
        return Allocated(found, notes)

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method if isinstance(self.method, str) else getattr(self.method, "__name__", str(self.method))

    @property
    def has_caps(self) -> bool:
        """Whether caps hold for this method."""
        usual = self.name not in ("equal", "inverse_volatility")
        return self.config.caps == "on" or (self.config.caps == "auto" and usual)

    def uncapped(self, picks: Picks) -> pd.Series:
        """The method's own weights, summing to 1.

        Raises:
            ArithmeticError: it found none.
        """
        method = ALLOCATORS[self.method] if isinstance(self.method, str) else self.method
        return method(picks, self.config).reindex(picks.selected)

    def cap(self, weights: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Weights under the caps, where they hold; see ``strategies.caps.capped``."""
        if not self.has_caps:
            return weights
        rows = np.atleast_2d(kinds)
        alike = (rows == rows[:, :1]).all(axis=1, keepdims=True)  # nothing to spread over
        rows = np.where(alike, -1, rows)
        return capped(weights, rows[0] if np.ndim(kinds) == 1 else rows, self.config.name_cap, self.config.class_cap)
