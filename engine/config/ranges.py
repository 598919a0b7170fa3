"""The range of every number in the configuration, in one place: what lies outside is a slip of the keyboard.

Ranges say what can be carried out at all, and are wide; what a number must be beside others its own section checks.
"""

from __future__ import annotations

import math
import re
from typing import Any

#: By section and key, as intervals are written: ``[`` and ``]`` include the end, ``(`` and ``)`` do not.
RANGES = {
    "dates": {"history_days": "[0, 36525]"},
    "simulated": {
        "n_assets": "[1, 100000]", "n_clusters": "[1, 100000]", "within": "[0, 1]", "between": "[0, 1]",
        "sharpe": "[-10, 10]", "skill": "[0, 10]", "cash_rate": "[-0.5, 1]", "n_bills": "[0, 100]",
        "foreign": "[0, 0.5]", "turnover": "[0, 0.5]", "seed": "[0, 4294967295]",
    },
    "quality": {
        "jump_sigmas": "(0, 1000]", "jump_floor": "(0, 10]", "quiet_sigmas": "(0, 1000]", "quiet_floor": "(0, 10]",
        "pair_sigmas": "(0, 1000]", "pair_floor": "(0, 10]", "pair_cap": "(0, 100]", "volume_vouches": "[0, 1000000]",
        "jump_cap": "(0, 100]", "break_beyond": "(1, 1000]", "window": "[2, 10000]", "warm_up": "[2, 10000]",
        "confirmations": "[1, 1000]", "quiet_confirmations": "[1, 1000]", "settled_after": "[1, 1000]",
        "stale_after": "[0, 10000]", "min_assets": "[1, 100000]",
    },
    "features": {
        "rsi_window": "[1, 5000]", "macd_fast": "[1, 5000]", "macd_slow": "[1, 5000]", "macd_signal": "[1, 5000]",
        "volatility_window": "[2, 5000]", "clip_return": "(0, 1000]", "clip_volume": "(0, 1000]",
    },
    "encoder": {"lookback": "[1, 5000]", "stride": "[1, 10000]", "clip": "(0, 1000000]"},
    "train": {
        "epochs": "[1, 100000]", "windows_per_epoch": "[0, 1000000000]", "batch_size": "[1, 1000000]",
        "learning_rate": "(0, 1e30]", "weight_decay": "[0, 1000]", "clip_norm": "(0, 1000000000]", "holdout": "[0, 1)",
        "holdout_windows": "[0, 1000000000]", "patience": "[1, 100000]", "threads": "[0, 4096]",
    },
    "walk_forward": {
        "refit": "[1, 1200]", "train_months": "[1, 1200]", "embargo_sessions": "[0, 5000]",
        "warm_epochs": "[1, 100000]", "warm_windows": "[0, 1000000000]", "warm_learning_rate": "(0, 1e30]",
    },
    "embedding": {
        "span": "[1, 10000]", "step": "[1, 10000]", "attention_layers": "[0, 100]", "attention_spread": "(0, 1]",
        "attention_least": "[0, 100000]", "components": "[0, 100000]", "max_gap": "[0, 1]",
    },
    "clustering": {"n_clusters": "[1, 100000]"},
    "selection": {
        "per_cluster": "[1, 100000]", "names": "[0, 100000]", "apart": "[0, 1000000]", "apart_sessions": "[21, 10000]",
        "head_start": "[0, 1000000]", "sharpe_sessions": "[1, 10000]", "min_sessions": "[1, 10000]",
        "max_stale_sessions": "[0, 10000]", "volatility_floor": "[0, 10]", "volatility_sessions": "[1, 10000]",
        "liquidity_floor": "[0, 1e15]", "liquidity_sessions": "[1, 10000]", "hysteresis": "[0, 10000]",
        "skip_confidence": "[0, 1)",
    },
    "cash": {"rate": "[-0.5, 1]"},
    "allocation": {
        "sessions": "[2, 10000]", "temperature": "(0, 1000000]", "name_cap": "(0, 1]", "class_cap": "(0, 1]",
        "no_trade": "[0, 1000000]", "membership": "[0, 1000]", "variance": "[0, 1000]",
    },
    "risk": {
        "stop": "[0, 1)", "trailing_stop": "[0, 1)", "atr_stop": "[0, 1000]", "atr_sessions": "[1, 10000]",
        "take_profit": "[0, 1000]", "embedding_stop": "[0, 1)", "centre_stop": "[0, 1)", "stop_every": "[1, 10000]",
        "cool_down": "[0, 10000]",
        "volatility_target": "[0, 10]", "half_life": "[1, 10000]", "slow_half_life": "[0, 10000]",
        "feedback": "[0, 1000]", "persistence": "[0, 1)",
        "max_exposure": "(0, 10]", "exposure_band": "[0, 1]", "volatility_every": "[1, 10000]",
        "name_volatility": "[0, 100]", "max_drawdown": "[0, 1)", "drawdown_exposure": "[0, 1)",
        "drawdown_sessions": "[1, 10000]",
    },
    "agent": {
        "risk_aversion": "[0, 1000]", "adaptation": "(0, 1]", "components": "[0, 65536]", "temperature": "(0, 1000000]",
        "cap": "(0, 1]", "hidden": "[1, 65536]", "passes": "[1, 1000000]", "environments": "[1, 100000]",
        "copies": "[1, 1000]",
        "horizon": "[1, 10000]", "days_apart": "[1, 10000]", "discount": "[0, 1)", "learning_rate": "(0, 1000]",
    },
    "trading": {
        "rebalance": "[1, 10000]", "capital": "(0, 1e15]", "cash_buffer": "[0, 1)", "cost_multiplier": "[0, 1000]",
        "financing_spread": "[0, 1]", "spread_scaling": "[0, 4]", "impact": "[0, 100]", "volume_cap": "[0, 100]",
    },
    "engine": {"seed": "[0, 4294967295]", "workers": "[0, 4096]"},
    "significance": {"portfolios": "[100, 1000000]"},
    "model": {
        "embed_dim": "[1, 65536]", "n_layers": "[1, 1000]", "n_heads": "[1, 1024]", "feed_forward": "[1, 1000000]",
        "hidden": "[1, 1000000]", "dropout": "[0, 1)", "patch": "[1, 1000]", "masked": "[0, 1)", "beta": "[0, 1000000]",
        "anneal_steps": "[1, 1000000000]",
    },
}  # fmt: skip

INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


def check_range(section: str, key: str, value: Any, ours: bool = True) -> None:
    """Refuse a number outside its range; one that has none must be finite.

    Args:
        ours: the section's class is this program's; the keys of others have no ranges here.

    Raises:
        ValueError: the message names the key, the value and what would be right.

    >>> check_range("train", "holdout", 1.0)
    Traceback (most recent call last):
        ...
    ValueError: train.holdout: got 1.0, expected a number from 0 to less than 1
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    stated = RANGES.get(section, {}).get(key) if ours else None
    if stated is None:
        if not math.isfinite(value):
            raise ValueError(f"{section}.{key}: got {value!r}, expected a finite number")
        return
    opens, low, high, closes = INTERVAL.fullmatch(stated).groups()
    above = value >= float(low) if opens == "[" else value > float(low)
    below = value <= float(high) if closes == "]" else value < float(high)
    if not (above and below):
        kind = "a whole number" if isinstance(value, int) else "a number"
        least = f"from {_written(low)}" if opens == "[" else f"above {_written(low)}"
        most = f"to {_written(high)}" if closes == "]" else f"to less than {_written(high)}"
        raise ValueError(f"{section}.{key}: got {value!r}, expected {kind} {least} {most}")


def _written(end: str) -> str:
    return f"{int(end):,}" if end.lstrip("-").isdigit() else end
