"""From what a network says of each slot to weights, and what each slot brought: the two ways to act.

Weights are fractions of what is invested, ``(n_accounts, n_slots)``; a slot that is not there has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """What the slots of some accounts did from one decision to the next.

    Attributes:
        present: bool ``(n_accounts, n_slots)``.
        gain: return of each slot's asset from the next open to the next decision, in excess of cash.
        gain_held: the same of what is held in the slot, weighted.
        rate: cost per unit of value traded of the slot's asset.
        held: part of the account in each slot's assets; ``held_pick``: in the asset that it would hold.
    """

    present: np.ndarray
    gain: np.ndarray
    gain_held: np.ndarray
    rate: np.ndarray
    held: np.ndarray
    held_pick: np.ndarray


@dataclass(frozen=True)
class SoftmaxHead:
    """Real numbers times a temperature through a softmax in which cash is a slot with the number 0.

    With numbers between -1 and 1 and no temperature no slot of twenty could get more than about a quarter of the
    account, whatever is known of it.

    Attributes:
        temperature: what the numbers are multiplied with.
        cap: largest weight of a slot; what it may not take stays cash.
    """

    temperature: float = 10.0
    cap: float = 1.0
    n_actions = 0

    def weights(self, actions: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Target weights; the rest is cash.

        >>> head = SoftmaxHead(cap=0.5)
        >>> head.weights(np.array([[1.0, -1.0, 0.0]]), np.ones((1, 3), bool)).round(4)
        array([[0.5, 0. , 0. ]])
        """
        return np.minimum(_softmax(self.temperature * actions, present), self.cap)

    def keeps(self, actions: np.ndarray) -> np.ndarray:
        """Slots whose assets stay as they are: none."""
        return np.zeros(actions.shape, dtype=bool)

    def brought(self, actions: np.ndarray, span: Span, invested: float) -> np.ndarray:
        """What the account's return would lack had the slot not been there and the others shared its part.

        Nothing in that alternative depends on the slot's own number, so its gradient is that of the whole return, and
        none of the noise of the other slots is in it (Wolpert and Tumer 2001: difference rewards).

        Args:
            invested: part of the account that is not kept in cash.
        """
        n_slots = actions.shape[1]
        scaled = self.temperature * actions
        alone = span.present[:, None, :] & ~np.eye(n_slots, dtype=bool)
        without = np.minimum(_softmax(np.broadcast_to(scaled[:, None], alone.shape), alone), self.cap)
        own = self._earned(self.weights(actions, span.present)[:, None], span, invested)
        return np.where(span.present, own - self._earned(without, span, invested), 0.0)

    @staticmethod
    def _earned(weights: np.ndarray, span: Span, invested: float) -> np.ndarray:
        held = invested * weights
        moved = np.abs(held - span.held_pick[:, None]) * span.rate[:, None]
        return (held * span.gain[:, None] - moved).sum(axis=2)


@dataclass(frozen=True)
class ThreeWayHead:
    """Out, keep or in: each slot for itself, with the same part of the account in every slot that is in.

    Joint choices of twenty slots are 3^20; choices that do not touch one another are 3, twenty times.

    Attributes:
        cap: largest weight of a slot.
    """

    cap: float = 1.0
    n_actions = 3

    OUT, KEEP, IN = 0, 1, 2

    def part(self, present: np.ndarray) -> np.ndarray:
        """Of the account in a slot that is in, ``(n_accounts, 1)``."""
        return np.minimum(self.cap, 1.0 / np.maximum(present.sum(axis=1, keepdims=True), 1))

    def weights(self, actions: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Target weights of the slots' assets, beside what is kept."""
        return np.where(present & (actions == self.IN), self.part(present), 0.0)

    def keeps(self, actions: np.ndarray) -> np.ndarray:
        """Slots whose assets stay as they are."""
        return actions == self.KEEP

    def brought(self, actions: np.ndarray, span: Span, invested: float) -> np.ndarray:
        """What the slot earned, less what it cost: the account's return is the sum over its slots."""
        wanted = invested * self.weights(actions, span.present)
        others = span.held - span.held_pick
        kept = self.keeps(actions)
        moved = np.where(kept, 0.0, np.abs(wanted - span.held_pick) + others)
        gained = np.where(kept, span.gain_held, wanted * span.gain)
        return np.where(span.present, gained - moved * span.rate, 0.0)


def _softmax(numbers: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Over the last axis, beside a number 0 that is cash; 0 where not present."""
    numbers = np.where(present, numbers, -np.inf)
    top = np.maximum(numbers.max(axis=-1, keepdims=True), 0.0)
    parts = np.exp(numbers - top)
    return parts / (parts.sum(axis=-1, keepdims=True) + np.exp(-top))
