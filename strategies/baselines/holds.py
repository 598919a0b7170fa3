"""What each of the policies to beat holds, in a few words for tables."""

#: By the name in ``rules.RULES`` or ``fitted.FITTED``, every one of them.
HOLDS = {
    "1/N": "every eligible asset, equally",
    "inverse volatility": "every eligible asset, calm ones more",
    "minimum variance": "the least risk that past covariances allow",
    "hierarchical risk parity": "risk spread along a tree of correlations",
    "best Sharpe of all": "as many best Sharpe ratios, no clusters",
    "momentum 12-1": "as many best returns over a year, last month left out",
    "asset classes": "best Sharpe ratio of each asset class and sector",
    "correlation clusters": "best Sharpe ratio of each cluster of correlations",
    "PCA clusters": "best Sharpe ratio of each cluster of principal components",
    "SVD clusters": "the same without taking the market off",
    "random clusters": "best Sharpe ratio of each of as many random groups",
    "random asset per cluster": "one asset by lot from each of the strategy's clusters",
    "window PCA clusters": "best Sharpe ratio of each cluster of the windows' principal components",
    "untrained encoder": "best Sharpe ratio of each cluster that the encoder draws before its training",
    "best of each cluster": "the published policy: best Sharpe ratio of each cluster that the trained encoder draws",
}
