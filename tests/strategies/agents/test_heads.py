"""Actions into weights: one slot can have all, and what a slot is told it brought pulls the way the account gains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.strategies.agents.heads import SoftmaxHead, Span, ThreeWayHead


def span_of(rng, n_envs, n_slots, absent=0.2):
    present = rng.random((n_envs, n_slots)) > absent
    held_pick = np.where(present, rng.dirichlet(np.ones(n_slots), n_envs) * 0.8, 0.0)
    others = np.where(present, 0.1 * rng.random((n_envs, n_slots)) / n_slots, 0.0)
    gain = 0.05 * rng.standard_normal((n_envs, n_slots))
    return Span(present, gain, (held_pick + others) * gain, np.full(gain.shape, 0.002), held_pick + others, held_pick)


@pytest.mark.parametrize("cap", [1.0, 0.3])
def test_one_slot_of_twenty_reaches_its_cap_with_the_temperature_and_about_a_quarter_without(cap):
    actions, present = np.full((1, 20), -1.0), np.ones((1, 20), dtype=bool)
    actions[0, 7] = 1.0
    assert SoftmaxHead(10.0, cap).weights(actions, present)[0, 7] == pytest.approx(cap, abs=1e-3)
    assert SoftmaxHead(1.0, 1.0).weights(actions, present)[0, 7] < 0.26
    assert SoftmaxHead(10.0, cap).weights(-np.ones((1, 20)), present).sum() < 0.01  # all in cash


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 20.0), st.floats(0.05, 1.0))
def test_weights_are_within_the_cap_and_sum_to_1_at_most(seed, temperature, cap):
    rng = np.random.default_rng(seed)
    span = span_of(rng, 3, 6, absent=0.5)
    for head, actions in (
        (SoftmaxHead(temperature, cap), rng.uniform(-1, 1, (3, 6))),
        (ThreeWayHead(cap), rng.integers(3, size=(3, 6))),
    ):
        weights = head.weights(actions, span.present)
        assert (weights >= 0).all() and (weights <= cap + 1e-12).all() and (weights.sum(axis=1) <= 1 + 1e-9).all()
        assert (weights[~span.present] == 0).all()
        assert (head.brought(actions, span, 0.98)[~span.present] == 0).all()


def test_what_a_slot_is_told_it_brought_has_the_gradient_of_the_whole_return():
    rng = np.random.default_rng(4)
    head, invested = SoftmaxHead(10.0, 1.0), 0.98
    span = span_of(rng, 5, 7)
    actions = 0.3 * rng.standard_normal((5, 7))

    def whole(actions):
        held = invested * head.weights(actions, span.present)
        return (held * span.gain - span.rate * np.abs(held - span.held_pick)).sum(axis=1)

    step = 1e-6
    for slot in range(7):
        more, less = actions.copy(), actions.copy()
        more[:, slot] += step
        less[:, slot] -= step
        of_whole = (whole(more) - whole(less)) / (2 * step)
        own = (head.brought(more, span, invested) - head.brought(less, span, invested))[:, slot] / (2 * step)
        np.testing.assert_allclose(own, of_whole, atol=1e-7)
        assert not np.allclose(of_whole[span.present[:, slot]], 0.0, atol=1e-5)


def test_what_the_slots_of_three_choices_brought_sums_to_the_accounts_return():
    rng = np.random.default_rng(5)
    head, span = ThreeWayHead(), span_of(rng, 6, 5, absent=0.0)
    actions = rng.integers(3, size=(6, 5))
    part = 0.98 / 5
    expected = np.zeros(6)
    for account, slot in np.ndindex(actions.shape):
        held, pick = span.held[account, slot], span.held_pick[account, slot]
        gain = span.gain[account, slot]
        if actions[account, slot] == head.OUT:
            expected[account] -= 0.002 * held
        elif actions[account, slot] == head.KEEP:
            expected[account] += held * gain
        else:
            expected[account] += part * gain - 0.002 * (abs(part - pick) + held - pick)
    np.testing.assert_allclose(head.brought(actions, span, 0.98).sum(axis=1), expected, atol=1e-12)
