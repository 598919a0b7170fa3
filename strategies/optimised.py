"""Weights from a covariance, by skfolio; the extra ``risk`` installs it, and it is imported when first asked.

Every covariance is that of Ledoit and Wolf (2004), shrunk towards a multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

#: A weight that a solver left below this is no position.
SMALLEST = 1e-5

#: What to install where skfolio is missing.
EXTRA = "pip install 'clusterfolio[risk]'"


def available() -> bool:
    """Whether skfolio is installed."""
    return find_spec("skfolio") is not None


def _prior() -> Any:
    from skfolio.moments import LedoitWolf
    from skfolio.prior import EmpiricalPrior

    return EmpiricalPrior(covariance_estimator=LedoitWolf())


def _hrp(optimization: Any) -> Any:
    return optimization.HierarchicalRiskParity(prior_estimator=_prior())


def _herc(optimization: Any) -> Any:
    return optimization.HierarchicalEqualRiskContribution(prior_estimator=_prior())


def _nco(optimization: Any) -> Any:
    inner, outer = (optimization.MeanRisk(prior_estimator=_prior()) for _ in range(2))
    return optimization.NestedClustersOptimization(inner_estimator=inner, outer_estimator=outer)


def _schur(optimization: Any) -> Any:
    return optimization.SchurComplementary(prior_estimator=_prior())


def _erc(optimization: Any) -> Any:
    return optimization.RiskBudgeting(prior_estimator=_prior())


def _minimum_variance(optimization: Any) -> Any:
    return optimization.MeanRisk(prior_estimator=_prior())


def _maximum_diversification(optimization: Any) -> Any:
    return optimization.MaximumDiversification(prior_estimator=_prior())


#: By name; what each is, and its source, stands in docs/risk.md.
MODELS: dict[str, Callable[[Any], Any]] = {
    "hrp": _hrp,
    "herc": _herc,
    "nco": _nco,
    "schur": _schur,
    "equal_risk": _erc,
    "minimum_variance": _minimum_variance,
    "maximum_diversification": _maximum_diversification,
}

#: Those that form a tree of the names, for which two are too few.
OF_A_TREE = ("hrp", "herc", "nco", "schur")


def solve(model: str, returns: np.ndarray, budgets: np.ndarray | None = None) -> np.ndarray:
    """Long-only weights that sum to 1, ``(n_names,)``; what is below ``SMALLEST`` is 0.

    Args:
        model: one of ``MODELS``.
        returns: simple daily returns, finite, ``(n_sessions, n_names)``.
        budgets: share of the portfolio's variance that each name is to carry, ``(n_names,)``, summing to 1; for
            "equal_risk" only. None = the same for all.

    Raises:
        ModuleNotFoundError: skfolio is not installed.
        ArithmeticError: the solver found no answer; the message has its words.
    """
    if not available():
        raise ModuleNotFoundError(f"allocator {model!r} needs skfolio, which is not installed; {EXTRA}")
    if returns.shape[1] == 1:
        return np.ones(1)
    from skfolio import optimization
    from skfolio.exceptions import OptimizationError, SolverError

    fitted = MODELS[model](optimization)
    if budgets is not None:
        fitted.set_params(risk_budget=budgets)
    try:
        weights = np.asarray(fitted.fit(returns).weights_, dtype=float)
    except (OptimizationError, SolverError, ValueError, np.linalg.LinAlgError) as error:
        raise ArithmeticError(str(error).splitlines()[0]) from error
    if not np.isfinite(weights).all():
        raise ArithmeticError("the solver's weights are no numbers")
    weights = np.where(weights > SMALLEST, weights, 0.0)
    return weights / weights.sum()
