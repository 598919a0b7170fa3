"""The instruments: who they are, in which currency they are quoted, and what trading them costs."""

from __future__ import annotations

#: Commission and half of the bid-ask spread by asset class, in basis points of the traded value, per side.
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

#: The same for shares listed outside the United States.
FOREIGN_SHARE_COSTS = (3.0, 5.0)
