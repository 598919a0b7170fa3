"""A Cerebro that moves one shared clock instead of every feed."""

from __future__ import annotations

import backtrader as bt


class ClockCerebro(bt.Cerebro):
    """``bt.Cerebro`` with the same parameters, methods and results.

    Attributes:
        clock_used: whether the last ``run`` was served by the shared clock.
        fallback_reason: why it was not, or None.
    """

    clock_used = False
    fallback_reason = None
