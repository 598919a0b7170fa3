"""The policies to beat that are trained: ``ClusterPolicy`` with another encoder in it, fitted as its own is."""

from __future__ import annotations

from clusterfolio.models.reference import WindowPCA, untrained
from clusterfolio.models.windows import Windows
from clusterfolio.strategies.cluster_policy import ClusterPolicy


class WindowPCAPolicy(ClusterPolicy):
    """``ClusterPolicy`` with a linear encoder of the same windows: what is the network's nonlinearity worth?"""

    def learn(self, windows: Windows, **how) -> None:
        """Fit the components on the training windows; it takes one pass, so ``how`` is not used."""
        n_components = getattr(self.encoder.config, "embed_dim", 64)
        n_components = min(n_components, self.encoder.lookback * windows.values.shape[1])
        self.encoder = WindowPCA(n_components, self.encoder.lookback, self.encoder.clip).fit(windows)


class UntrainedPolicy(ClusterPolicy):
    """``ClusterPolicy`` with its encoder as it is before the first step of training: what is the training worth?"""

    def learn(self, windows: Windows, **how) -> None:
        """Fit the scaler only; ``how`` is not used."""
        self.encoder = untrained(self.encoder, windows)


#: The published policy, beside an agent that decides in its place.
HEURISTIC = "best of each cluster"

#: Baselines that are fitted on a training span, by the name they have in tables.
FITTED: dict[str, type[ClusterPolicy]] = {
    "window PCA clusters": WindowPCAPolicy,
    "untrained encoder": UntrainedPolicy,
    HEURISTIC: ClusterPolicy,
}
