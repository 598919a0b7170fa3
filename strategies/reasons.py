"""Why a name is held, kept or left at a decision, in a line each: what stands beside its trades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clusterfolio.feeds.panel import SESSIONS_PER_YEAR
from clusterfolio.strategies.selection import SelectionConfig

if TYPE_CHECKING:
    from clusterfolio.strategies.holding import Chosen, Group, Outlook

#: Weights closer than this are the same, and a trust above 1 less this is none worth a word.
SAME, TRUSTED = 1e-9, 0.995


def why_held(
    outlook: Outlook, config: SelectionConfig, groups: Sequence[Group], found: Chosen, held: np.ndarray
) -> dict[str, str]:
    """Why, by symbol, for every name about which a rule has a word, of one account.

    Args:
        found: what it is to hold.
        held: fraction of its value by name of the outlook, ``(n_names,)``.
    """
    said: dict[int, list[str]] = {}
    picks = found.picks[0]
    for number, (members, scores) in enumerate(groups):
        in_group = _Group(outlook, members[0], scores[0], set(picks.tolist()), held)
        if found.skipped[0, number]:
            bound = float(outlook.belief.bound(scores[0].max(), config.skip_confidence))
            best = members[0][int(scores[0].argmax())]
            for at in {best, *members[0][held[members[0]] > 0]}:
                said.setdefault(int(at), []).append(
                    f"skip: its cluster's best Sharpe ratio is above {bound:.2f} only, at {config.skip_confidence:.0%}"
                )
        elif outlook.alike is not None:
            for at, words in in_group.beside_the_others(outlook.alike).items():
                said.setdefault(at, []).append(f"joint: {words}")
        elif config.hysteresis:
            for at, words in in_group.exchanged(config.hysteresis).items():
                said.setdefault(at, []).append(f"hysteresis: {words}")
    for at, weight, target in zip(picks, found.weights[0], found.targets[0], strict=True):
        if abs(weight - target) > SAME:
            said.setdefault(int(at), []).append(f"no-trade band: {weight:.1%} of the value, target {target:.1%}")
        if outlook.trust[at] < TRUSTED:
            said.setdefault(int(at), []).append(f"doubt: weight times {outlook.trust[at]:.2f}")
    return {outlook.names[at]: "; ".join(words).replace("%", " %") for at, words in said.items()}


@dataclass(frozen=True)
class _Group:
    """A cluster of one account: positions and scores of its members, which names are picked, and what is held."""

    outlook: Outlook
    members: np.ndarray
    scores: np.ndarray
    picks: set[int]
    held: np.ndarray

    def exchanged(self, sessions: int) -> dict[int, str]:
        """Who was exchanged for whom, or kept although another is better, by position."""
        order = [int(at) for at in self.members[np.argsort(-self.scores, kind="stable")]]
        score = dict(zip(self.members.tolist(), self.scores.tolist(), strict=True))
        stays = [at for at in order if at in self.picks and self.held[at] > 0]
        comes = [at for at in order if at in self.picks and not self.held[at] > 0]
        goes = [at for at in order if at not in self.picks and self.held[at] > 0]
        waits = [at for at in order if at not in self.picks and not self.held[at] > 0]
        found = {}
        for out, new in zip(goes, comes, strict=False):
            edge = self._edge(score[new] - score[out], out, new, sessions)
            found[new] = f"replaces {self._name(out)}, {edge}"
            found[out] = f"left for {self._name(new)}, {edge}"
        for out in goes[len(comes) :]:
            found[out] = f"{self._name((stays + comes)[0])}, of the same cluster now, has the better Sharpe ratio"
        for at in stays:
            better = [other for other in waits if score[other] > score[at]]
            if better:
                edge = self._edge(score[better[0]] - score[at], at, better[0], sessions)
                found[at] = f"kept {self._name(at)}, {self._name(better[0])}'s {edge}"
        return found

    def beside_the_others(self, alike: np.ndarray) -> dict[int, str]:
        """Why not its best Sharpe ratio was picked, and what was sold of it, by position."""
        best = int(self.members[self.scores.argmax()])
        picked = [at for at in self.members.tolist() if at in self.picks]
        if not picked:
            return {at: "its cluster adds least" for at in self.members[self.held[self.members] > 0].tolist()}
        (pick,) = picked
        found = {}
        if pick != best:
            others = np.array(sorted(self.picks - {pick, -1}), dtype=np.int64)
            shared = [float(alike[at, others].sum()) for at in (pick, best)]
            found[pick] = (
                f"of {self._name(best)}'s cluster, squared correlations with the other picks "
                f"{shared[0]:.2f} against {shared[1]:.2f}"
            )
        gone = [at for at in self.members.tolist() if self.held[at] > 0 and at != pick]
        return found | {at: f"{self._name(pick)} of its cluster adds more" for at in gone}

    def _edge(self, apart: float, out: int, new: int, sessions: int) -> str:
        worth = self.outlook.belief.kept * float(self.outlook.volatility[self.members].mean())
        edge = worth * sessions / SESSIONS_PER_YEAR * apart
        cost = float(self.outlook.cost[out] + self.outlook.cost[new])
        return f"edge {edge:.2%} {'>' if edge > cost else '<'} cost {cost:.2%}"

    def _name(self, at: int) -> str:
        return self.outlook.names[at]
