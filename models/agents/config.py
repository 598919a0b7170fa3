"""What an agent optimises, how it acts, and how long it learns."""

from __future__ import annotations

from dataclasses import dataclass

REWARDS = ("sharpe", "log")


@dataclass(frozen=True)
class AgentConfig:
    """How an agent learns to trade on embeddings (policies "ppo" and "dqn").

    Attributes:
        reward: "sharpe" = the differential Sharpe ratio (Moody and Saffell 2001); "log" = the log return less
            risk_aversion / 2 times the square of the return. Both in excess of cash and net of costs.
        risk_aversion: of reward "log".
        adaptation: weight of the newest decision in the moments of the differential Sharpe ratio.
        components: strongest directions of the encoder's embedding that the agent is shown; 0 = all.
        temperature: what "ppo"'s outputs are multiplied with before they become weights (softmax beside cash).
        cap: largest part of the account in one slot; what a slot may not take stays cash. "dqn" holds the same part of
            the account, and no more than this, in every slot it is in.
        hidden: units in each of the two layers of its network, which all slots share.
        passes: how often it trades a batch of episodes and learns from them.
        environments: accounts traded side by side in a pass.
        copies: of these, how many begin on the same day: a reward counts as far as it beats theirs.
        horizon: decisions in an episode.
        days_apart: sessions from one day of the training span that an episode may decide on to the next.
        discount: of the reward, per decision.
        learning_rate: of Adam; it falls to 0 in a line.
    """

    reward: str = "sharpe"
    risk_aversion: float = 1.0
    adaptation: float = 0.1
    components: int = 8
    temperature: float = 10.0
    cap: float = 0.2
    hidden: int = 64
    passes: int = 60
    environments: int = 32
    copies: int = 4
    horizon: int = 12
    days_apart: int = 5
    discount: float = 0.9
    learning_rate: float = 1e-3

    def __post_init__(self):
        if self.reward not in REWARDS:
            raise ValueError(f"agent.reward: got {self.reward!r}, expected one of {', '.join(REWARDS)}")
        if self.environments % self.copies:
            raise ValueError(
                f"agent.copies: got {self.copies}, expected a number that divides agent.environments, "
                f"{self.environments}"
            )
