"""The made-up market beside the real one: is it as hard, and which clusters find what was planted?

    python -m tests.benchmarks.demo --seeds 10-14 --methods classical search learned
    python -m tests.benchmarks.demo --seeds 10-11 --methods untrained trained
    python -m tests.benchmarks.demo --path FOLDER --likeness

For each seed a made-up market of the default settings is drawn; clusters are drawn on two of its years as
``tests.benchmarks.embedding`` draws them, and judged on the third: (a), (b) and effective bets as there, and the
adjusted Rand index with the clusters planted on the last of the two years' days ("planted") and with what a user is
told of the assets, class and sector ("told").

With --likeness the figures that the market's structure was chosen by, and nothing else: those of real prices of the
published universe (two-year spans before the test years given), and those of the seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.sources.simulated import BENCHMARK, SimulatedConfig, planted_on, simulate, truth
from clusterfolio.strategies.classical import class_labels
from clusterfolio.strategies.diversification import correlations, log_returns
from tests.benchmarks.embedding import EXCLUDED, FAMILIES, GROUPS, Trial, load, make_trial, parse_years, row_of

#: Files of real prices that hold the published universe, and the test years whose two years before are looked at.
FILES = ["us_stocks.parquet", "us_etfs.parquet", "us_gap_mixed.parquet", "fx.parquet"]
YEARS = (2014, 2016, 2018, 2019, 2021, 2023, 2025)
YEAR = 2025

#: Columns of the table by figure.
FIGURES = {"planted": "ARI planted", "told": "ARI told", "gap": "(a)", "between": "(b)", "member_bets": "bets",
           "largest": "largest"}  # fmt: skip

#: Mean correlation of two classes, by name.
PAIRS = {
    "shares and bonds": ("equity", "government_bond"),
    "shares and commodities": ("equity", "commodity"),
    "shares and funds": ("equity", "etf"),
    "funds": ("etf", "etf"),
    "government bonds": ("government_bond", "government_bond"),
    "commodities": ("commodity", "commodity"),
    "currencies": ("forex", "forex"),
}


def made_up(seed: int, **changes) -> tuple[Trial, pd.DataFrame]:
    """The trial of a made-up market's last year, and what was planted in it."""
    config = SimulatedConfig(seed=seed, **changes)
    raw = simulate(config)
    panel, _ = build_panel(raw, benchmark=BENCHMARK, known=raw.assets)
    panel = with_features(panel)
    return make_trial(panel, log_returns(panel), YEAR), truth(config)


def found(trial: Trial, planted: pd.DataFrame, families: list[str], seed: int = 0) -> list[dict]:
    """A row per method: ``FIGURES``."""
    home = planted_on(planted, trial.train.index[-1])[trial.names]
    told = class_labels(trial.panel.assets.loc[trial.names])
    rows = []
    for family in families:
        for method, labels in zip(FAMILIES[family].names, FAMILIES[family].labels(trial, seed), strict=True):
            row = row_of(method, trial, seed, labels)
            row["planted"] = adjusted_rand_score(home, labels[trial.names])
            row["told"] = adjusted_rand_score(told, labels[told.index])
            rows.append({"method": method} | {name: row[name] for name in FIGURES})
    return rows


def likeness(trial: Trial) -> dict[str, float]:
    """Figures of the two years of training by which a made-up market is compared with a real one."""
    assets = trial.panel.assets.loc[trial.names]
    returns = trial.train.fillna(0.0)
    known, later = (np.nan_to_num(correlations(part.fillna(0.0).to_numpy())) for part in (trial.train, trial.test))
    first, second = np.triu_indices(len(known), 1)
    pairs = known[first, second]
    kind, sector = assets["asset_class"].to_numpy(), assets["sector"].to_numpy()
    shares = (kind == "equity") & (sector != "")
    both, same = shares[first] & shares[second], sector[first] == sector[second]
    values = np.sort(np.linalg.eigvalsh(known))[::-1]
    part = values.cumsum() / values.sum()
    figures = {"mean correlation": pairs.mean(), "its deviation": pairs.std(), "negative": (pairs < 0).mean()}
    figures |= {f"variance of {n} eigenvectors": part[n - 1] for n in (1, 2, 5, 10, 20)}
    figures |= {"shares of a sector": pairs[both & same].mean(), "of two sectors": pairs[both & ~same].mean()}
    for name, (one, other) in PAIRS.items():
        here, there = kind == one, kind == other
        figures[name] = pairs[(here[first] & there[second]) | (there[first] & here[second])].mean()
    figures["kurtosis, median"] = returns.kurt().median()
    figures["kurtosis, 9th decile"] = returns.kurt().quantile(0.9)
    figures["size of returns, day after day"] = returns.abs().apply(pd.Series.autocorr).mean()
    figures["pairs, with the next year's"] = float(np.corrcoef(pairs, later[first, second])[0, 1])
    labels = {
        name: FAMILIES[name].labels(trial, 0)[0] for name in ("correlation", "pca20", "returns-attended", "search")
    }
    for name, its in labels.items():
        figures[f"largest cluster, {name}"] = its.value_counts(normalize=True).iloc[0]
    figures["pca20 and search agree"] = adjusted_rand_score(labels["pca20"], labels["search"])
    return figures


def markdown(table: pd.DataFrame, head: list[str]) -> str:
    """A Markdown table of texts, the index its first column."""
    lines = [[table.index.name or "", *head], ["---"] * (len(head) + 1)]
    lines += [[name, *row] for name, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=parse_years, default=parse_years("10-14"), help="of the markets: 10-14")
    parser.add_argument("--methods", nargs="+", default=["classical"], choices=[*GROUPS, *FAMILIES], metavar="NAME")
    parser.add_argument("--likeness", action="store_true", help="the figures that the structure was chosen by")
    parser.add_argument("--path", type=Path, nargs="+", help="with --likeness: folders of real prices")
    args = parser.parse_args()
    if args.likeness:
        trials = {f"seed {seed}": made_up(seed, foreign=0.0)[0] for seed in args.seeds}
        columns = {"made up": pd.DataFrame({name: likeness(trial) for name, trial in trials.items()})}
        if args.path:
            panel = load(args.path, FILES, "seed", EXCLUDED, "SPY")
            returns = log_returns(panel)
            columns |= {"real": pd.DataFrame({year: likeness(make_trial(panel, returns, year)) for year in YEARS})}
        texts = {
            name: [f"{row.mean():.3f} ({row.min():.3f} to {row.max():.3f})" for _, row in table.iterrows()]
            for name, table in columns.items()
        }
        print(markdown(pd.DataFrame(texts, index=columns["made up"].index), list(texts)))
        return
    families = list(dict.fromkeys(name for chosen in args.methods for name in GROUPS.get(chosen, (chosen,))))
    rows = []
    for seed in args.seeds:
        rows += found(*made_up(seed), families)
        print(f"seed {seed}", file=sys.stderr, flush=True)
    by_method = pd.DataFrame(rows).groupby("method", sort=False)
    mean, spread = by_method.mean(), by_method.std()
    texts = {name: [f"{m:.3f} ±{s:.3f}" for m, s in zip(mean[name], spread[name], strict=True)] for name in FIGURES}
    print(markdown(pd.DataFrame(texts, index=mean.index), list(FIGURES.values())))


if __name__ == "__main__":
    main()
