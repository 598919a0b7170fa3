"""Do clusters drawn on two years stay apart in the next? Every embedding beside the classical ones, year by year.

    python -m tests.benchmarks.embedding --path ../shared/data --years 2014-2025 --methods classical
    python -m tests.benchmarks.embedding --path ../shared/data --years 2014-2025 --seeds 2 --cache FOLDER --json
    python -m tests.benchmarks.embedding --path ../shared/data --sample 50 --seeds 20 --methods svd20 search learned

For each test year, everything is fitted on the two years before it, the assets are put into 20 clusters (Ward on the
unit sphere unless the method's name says otherwise), and ``strategies.diversification`` measures the test year. An
asset counts in a year if it trades on 98 % of the sessions of both spans. Picks are the product's: of each cluster the
best Sharpe ratio of the last 252 sessions of training (cash at 0) among assets of at least 3 % volatility. Settings are
chosen on the years to 2019; those after are shown apart and decide nothing.

With --cache, what was made for a (method, year, seed) is kept in a small file, in a folder named by the data and the
settings, so that an interrupted run goes on. That name knows nothing of the program: after a change of code, use
another --cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from clusterfolio.engine.run_dir.artifacts import fingerprint
from clusterfolio.feeds.features import with_features
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.panel import Panel
from clusterfolio.feeds.sources.files.reader import read_files
from clusterfolio.feeds.universe import describe, load_universe
from clusterfolio.models.clustering import Ward, unit_sphere
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.reference import WindowPCA, untrained
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import Windows, make_windows
from clusterfolio.strategies import classical
from clusterfolio.strategies.cluster_policy import EncoderConfig
from clusterfolio.strategies.diversification import label_stability, log_returns, measurable, measure
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from clusterfolio.strategies.selection import SelectionConfig, annual_volatility, top_sharpe_per_cluster
from clusterfolio.strategies.sharpe import sharpe_ratios

#: Of a folder that has them, the files that are read unless --files says otherwise.
FILES = ("us_stocks.parquet", "us_etfs.parquet")

#: Leveraged, inverse and coin futures funds, left out unless --exclude says otherwise.
EXCLUDED = [
    *("SQQQ", "TQQQ", "TMF", "TNA", "SOXL", "FAS", "LABU", "UPRO"),
    *("SPXL", "SSO", "QLD", "SH", "BITX", "BITU", "ETHU", "USD"),
]

#: Last test year on which anything may be chosen.
CHOSEN_TO = 2019

TRAIN_YEARS = 2
N_CLUSTERS = 20

COLUMNS = {
    "gap": "(a) gap",
    "between": "(b) betw.",
    "worst_gap": "(a) worst",
    "worst_between": "(b) worst",
    "pick_correlation": "(c) corr.",
    "pick_bets": "(c) bets",
    "worst_pick_correlation": "(c) worst",
    "stability": "(d) stab.",
    "even_gap": "(a) even",
    "squared": "(b) squared",
    "member_bets": "bets, any",
    "member_volatility": "vol., any",
    "member_ratio": "ratio, any",
    "pick_volatility": "(c) vol.",
    "pick_ratio": "(c) ratio",
    "largest": "largest",
    "small": "small",
}

#: (a) and (b) of the years 2014-2025 as first measured outside this program, on FILES without EXCLUDED.
KNOWN = {
    "random labels": (0.0, None),
    "correlation rows, raw": (0.195, 0.234),
    "correlation rows": (0.221, 0.141),
    "PCA-20": (0.251, 0.302),
    "SVD-20 uncentred": (0.253, 0.245),
    "hindsight PCA-20": (0.272, 0.304),
}


@dataclass(frozen=True)
class Trial:
    """What one test year gives to a method; nothing but ``test`` (and the choice of names) is later than ``asof``.

    Attributes:
        panel: all assets with their features, up to ``asof``, the last session of training.
        first: the panel row on which training begins.
        train, test: log returns of the assets measured, ``(n_sessions, n_names)``, NaN where unknown.
        market: the benchmark's log returns over the test year.
        sharpe: by name, what the picks are chosen by, known at ``asof``.
    """

    year: int
    panel: Panel
    first: int
    train: pd.DataFrame
    test: pd.DataFrame
    market: pd.Series
    sharpe: pd.Series

    @property
    def names(self) -> list[str]:
        return list(self.train.columns)

    def known_returns(self) -> np.ndarray:
        return self.train.fillna(0.0).to_numpy()

    def windows(self) -> Windows:
        """The training windows of every asset, as the product draws them."""
        features, encoder = self.panel.features, EncoderConfig()
        return make_windows(features.values, features.observed, encoder.lookback, encoder.stride, self.first)


def make_trial(panel: Panel, returns: pd.DataFrame, year: int) -> Trial:
    """The trial of ``year``; ``returns`` are ``log_returns(panel)``."""
    of_year = returns.index.year
    train, test = returns[(of_year >= year - TRAIN_YEARS) & (of_year < year)], returns[of_year == year]
    if year - TRAIN_YEARS not in of_year or test.empty:
        raise ValueError(
            f"years: {year} needs prices from {year - TRAIN_YEARS} on, the panel has "
            f"{panel.sessions[0].date()} to {panel.sessions[-1].date()}"
        )
    names = panel.tradable[(measurable(train) & measurable(test))[panel.tradable]]
    if len(names) <= N_CLUSTERS:
        raise ValueError(
            f"{year}: {len(names)} assets trade on enough sessions of it and of the two years before, more than "
            f"{N_CLUSTERS} are needed; --calendar is the benchmark's exchange"
        )
    known = panel.until(train.index[-1])
    config = SelectionConfig()
    past = known.session_returns()[names].iloc[-config.sharpe_sessions :]
    sharpe = sharpe_ratios(past).where(annual_volatility(past) >= config.volatility_floor)
    first = int(panel.dates.searchsorted(train.index[0]))
    return Trial(year, known, first, train[names], test[names], test[panel.benchmark], sharpe)


def sampled(trial: Trial, size: int, seed: int) -> Trial:
    """The same trial of so many of its names, by lot: a smaller market."""
    own = np.random.default_rng([seed, trial.year])
    names = sorted(own.choice(trial.names, size=min(size, len(trial.names)), replace=False))
    return replace(trial, train=trial.train[names], test=trial.test[names], sharpe=trial.sharpe[names])


def clustered(embeddings: np.ndarray, names: list[str], sphere: bool = True) -> pd.Series:
    """Ward labels of these rows, by name."""
    rows = unit_sphere(embeddings) if sphere else embeddings
    return pd.Series(Ward(N_CLUSTERS).fit(rows).labels_, index=names)


def from_returns(embed: Callable[[np.ndarray], np.ndarray], sphere: bool = True):
    """A method that embeds the training returns."""
    return lambda trial, seed: [clustered(embed(trial.known_returns()), trial.names, sphere)]


def hindsight(trial: Trial, seed: int) -> list[pd.Series]:
    returns = trial.test.fillna(0.0).to_numpy()
    return [clustered(classical.principal_components(returns), trial.names)]


def average_linkage(trial: Trial, seed: int) -> list[pd.Series]:
    return [pd.Series(classical.average_linkage(trial.known_returns(), N_CLUSTERS), index=trial.names)]


def random_labels(trial: Trial, seed: int) -> list[pd.Series]:
    own = int(np.random.SeedSequence([seed, trial.year]).generate_state(1)[0])  # another draw each year
    return [pd.Series(classical.random_labels(len(trial.names), N_CLUSTERS, own), index=trial.names)]


def class_labels(trial: Trial, seed: int) -> list[pd.Series]:
    return [classical.class_labels(trial.panel.assets.loc[trial.names])]


#: Forms of an encoder's embedding: as it is, as it was before attention across assets, and the product's.
LAST, TRAJECTORY, ATTENDED = (
    EmbeddingConfig(kind="last"),
    EmbeddingConfig(kind="trajectory", attention_layers=0, components=20),
    EmbeddingConfig(kind="trajectory"),
)


def from_windows(fit: Callable[[Windows, int], Encoder | WindowPCA]):
    """Methods from one encoder of windows: the last one, their trajectory as it is, its 20 strongest directions, and
    after attention across assets."""

    def methods(trial: Trial, seed: int) -> list[pd.Series]:
        encoder = fit(trial.windows(), seed)
        last, joined = (PanelEmbedder(encoder, config).embed(trial.panel) for config in (LAST, TRAJECTORY))
        plain = replace(TRAJECTORY, components=0)
        embedded = (last, *(replace(joined, config=config) for config in (plain, TRAJECTORY, ATTENDED)))
        return [clustered(each.rows(trial.names).to_numpy(), trial.names) for each in embedded]

    return methods


def embedded_as(kind: str, of_test: bool = False):
    """A method of the product's that embeds returns: of the span before the test year, or in hindsight of the year."""

    def method(trial: Trial, seed: int) -> list[pd.Series]:
        config = EmbeddingConfig(kind=kind)
        returns = trial.test if of_test else trial.train.iloc[-config.span :]
        rows = EmbeddedReturns(returns, config, N_CLUSTERS, seed).rows(trial.names)
        return [clustered(rows.to_numpy(), trial.names)]

    return method


def trained_encoder(windows: Windows, seed: int) -> Encoder:
    return Encoder(random_state=seed).fit(windows)


def untrained_encoder(windows: Windows, seed: int) -> Encoder:
    return untrained(Encoder(random_state=seed), windows)


def forms(name: str) -> tuple[str, ...]:
    return tuple(f"{name}, {form}" for form in ("last window", "trajectory", "trajectory to 20", "attended"))


@dataclass(frozen=True)
class Family:
    """Methods that are made together: their names, how, and whether a seed matters."""

    names: tuple[str, ...]
    labels: Callable[[Trial, int], list[pd.Series]]
    seeded: bool = False


FAMILIES = {
    "random": Family(("random labels",), random_labels, seeded=True),
    "classes": Family(("asset class and sector",), class_labels),
    "average": Family(("average linkage",), average_linkage),
    "correlation-raw": Family(("correlation rows, raw",), from_returns(classical.correlation_rows, sphere=False)),
    "correlation": Family(("correlation rows",), from_returns(classical.correlation_rows)),
    "pca20": Family(("PCA-20",), from_returns(classical.principal_components)),
    "pca40": Family(("PCA-40",), from_returns(lambda returns: classical.principal_components(returns, 40))),
    "svd20": Family(("SVD-20 uncentred",), from_returns(classical.singular_components)),
    "returns-attended": Family(("returns, attended",), embedded_as("returns")),
    "search": Family(("search",), embedded_as("search"), seeded=True),
    "learned": Family(("learned layer",), embedded_as("learned"), seeded=True),
    "hindsight-search": Family(("hindsight search",), embedded_as("search", of_test=True)),
    "hindsight": Family(("hindsight PCA-20",), hindsight),
    "window-pca": Family(forms("window PCA-64"), from_windows(lambda windows, seed: WindowPCA().fit(windows))),
    "untrained": Family(forms("untrained"), from_windows(untrained_encoder), seeded=True),
    "trained": Family(forms("trained"), from_windows(trained_encoder), seeded=True),
}
LEARNED = ("window-pca", "untrained", "trained")
#: Classical rows that an embedding must not be dominated by. Not among them: what knows the test year, what uses other
#: knowledge on other assets, and what makes one giant cluster.
FRONTIER = ("correlation-raw", "correlation", "pca20", "pca40", "svd20")
GROUPS = {"all": tuple(FAMILIES), "classical": tuple(name for name in FAMILIES if name not in LEARNED)}


def load(
    paths: list[Path], files: list[str] | None, universe: str, exclude: list[str], benchmark: str,
    currency: str = "USD", calendar: str = "XNYS",
) -> Panel:  # fmt: skip
    """The panel of everything asked for, with its features."""
    found = [path / name for path in paths for name in files or FILES if (path / name).is_file()]
    if files and not found:
        raise ValueError(f"files: none of {', '.join(files)} lies in {', '.join(map(str, paths))}")
    raw = read_files(found if files or (found and universe == "all") else paths)
    table = load_universe(universe)
    wanted = [name for name in raw.bars if (universe == "all" or name in table.index) and name not in exclude]
    panel, _ = build_panel(raw, benchmark=benchmark, known=describe(list(raw.bars), table), symbols=wanted,
                           currency=currency, calendar=calendar)  # fmt: skip
    return with_features(panel)


def run(
    panel: Panel, years: list[int], families: list[str], seeds: int, cache: Path | None, sample: int = 0
) -> list[dict]:
    """One row per (method, year, seed): figures, labels, seconds; ``stability`` where the next year was run too.

    Args:
        sample: names of each seed and year, by lot; 0 = all.
    """
    settings = [fingerprint(panel), list(panel.tradable), asdict(TrainConfig()), asdict(EncoderConfig()), sample]
    settings += [asdict(LAST), asdict(TRAJECTORY), asdict(ATTENDED), asdict(SelectionConfig()), TRAIN_YEARS, N_CLUSTERS]
    store = Store(cache, hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12])
    returns = log_returns(panel)
    rows = []
    for year in years:
        trial = make_trial(panel, returns, year)
        for name in families:
            for seed in range(seeds if sample or FAMILIES[name].seeded else 1):
                rows += store.get_or_make(name, sampled(trial, sample, seed) if sample else trial, seed)
    by_key = {(row["method"], row["year"], row["seed"]): pd.Series(row["labels"]) for row in rows}
    for row in rows:
        later = by_key.get((row["method"], row["year"] + 1, row["seed"]))
        row["stability"] = None if later is None else label_stability(pd.Series(row["labels"]), later)
    return rows


class Store:
    """Rows already made, one JSON file each in ``folder/settings``; nothing is kept where ``folder`` is None."""

    def __init__(self, folder: Path | None, settings: str):
        self.folder = None if folder is None else Path(folder) / settings
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def get_or_make(self, name: str, trial: Trial, seed: int) -> list[dict]:
        """The rows of a family's methods; none for a method that has no labels for any asset."""
        file = None if self.folder is None else self.folder / f"{name}-{trial.year}-{seed}.json"
        if file is not None and file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        began = time.perf_counter()
        named = zip(FAMILIES[name].names, FAMILIES[name].labels(trial, seed), strict=True)
        rows = [row_of(method, trial, seed, labels) for method, labels in named if len(labels)]
        seconds = round(time.perf_counter() - began, 2)
        rows = [row | {"family": name, "seconds": seconds} for row in rows]
        if file is not None:
            part = file.with_suffix(".part")
            part.write_text(json.dumps(rows), encoding="utf-8")
            part.replace(file)
        shown = ", ".join(f"{row['gap']:.3f} / {row['between']:.3f}" for row in rows)
        print(f"{trial.year} {name} seed {seed}: {shown} ({seconds} s)", file=sys.stderr, flush=True)
        return rows


def row_of(method: str, trial: Trial, seed: int, labels: pd.Series) -> dict:
    """One method's figures in one test year."""
    picks = top_sharpe_per_cluster(trial.sharpe, labels)
    figures = measure(labels, trial.test, trial.market, picks)
    named = {name: int(label) for name, label in labels.items()}
    return {"method": method, "year": trial.year, "seed": seed, "assets": len(labels), "labels": named} | figures


def summary(rows: list[dict], years: list[int]) -> pd.DataFrame:
    """By method, for these test years: the mean over years and seeds of each figure, and over seeds the deviation of
    the years' mean (columns ``... spread``; NaN for one seed)."""
    table = pd.DataFrame([{key: row[key] for key in ("method", "year", "seed", *COLUMNS)} for row in rows])
    table = table[table["year"].isin(years)].astype(dict.fromkeys(COLUMNS, float))
    of_seed = table.groupby(["method", "seed"], sort=False)[list(COLUMNS)].mean()
    of_method = of_seed.groupby("method", sort=False)
    spread = of_method.std().add_suffix(" spread")
    return of_method.mean().join(spread).reindex(table["method"].unique())


def dominated(table: pd.DataFrame) -> dict[str, list[str]]:
    """By method made from windows: the classical ones at least as good in both (a) and (b)."""
    classics = table.loc[table.index.isin([FAMILIES[name].names[0] for name in FRONTIER])]
    found = {}
    for method in [method for name in LEARNED for method in FAMILIES[name].names if method in table.index]:
        better = (classics["gap"] >= table.loc[method, "gap"]) & (classics["between"] <= table.loc[method, "between"])
        found[method] = list(classics.index[better])
    return found


def periods(years: list[int]) -> dict[str, list[int]]:
    """The years to choose on, those after, and all."""
    parts = [[y for y in years if y <= CHOSEN_TO], [y for y in years if y > CHOSEN_TO]]
    parts = [part for part in (*parts, years) if part]
    return {f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]): part for part in parts}


def markdown(table: pd.DataFrame, known: bool = False) -> str:
    """The summary as a Markdown table; ``known`` puts the figures to reproduce beside it."""
    head = ["embedding", *COLUMNS.values()] + (["known (a) / (b)"] if known else [])
    lines = [head, ["---"] * len(head)]
    for method, row in table.iterrows():
        cells = [method]
        for name in COLUMNS:
            spread = row[f"{name} spread"]
            text = f"{row[name]:.1f}" if name in ("pick_bets", "member_bets", "small") else f"{row[name]:.3f}"
            cells.append("-" if np.isnan(row[name]) else text + ("" if np.isnan(spread) else f" ±{spread:.3f}"))
        if known:
            cells.append(" / ".join("-" if x is None else f"{x:.3f}" for x in KNOWN.get(method, (None, None))))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse_years(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, nargs="+", required=True, help="price files and folders")
    parser.add_argument(
        "--files", nargs="+", help=f"files of the folders to read (default {' '.join(FILES)}, else all)"
    )
    parser.add_argument("--universe", default="all", help="of what the files have: all, seed, default or a CSV file")
    parser.add_argument("--exclude", nargs="*", default=EXCLUDED, metavar="SYMBOL", help="default: leveraged funds")
    parser.add_argument("--benchmark", default="SPY", help="whose worst days are the market's")
    parser.add_argument("--currency", default="USD", help="every price is converted into it")
    parser.add_argument("--calendar", default="XNYS", help="the benchmark's exchange, as exchange_calendars names it")
    parser.add_argument("--years", type=parse_years, default=parse_years("2014-2025"), help="test years: 2014-2025")
    parser.add_argument("--methods", nargs="+", default=["all"], choices=[*GROUPS, *FAMILIES], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1, help="of what is random or trained")
    parser.add_argument(
        "--sample", type=int, default=0, help="names of a smaller market, by lot for each seed and year"
    )
    parser.add_argument("--cache", type=Path, help="folder of finished parts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    families = list(dict.fromkeys(name for chosen in args.methods for name in GROUPS.get(chosen, (chosen,))))
    panel = load(args.path, args.files, args.universe, args.exclude, args.benchmark, args.currency, args.calendar)
    rows = run(panel, args.years, families, args.seeds, args.cache, args.sample)
    tables = {period: summary(rows, years) for period, years in periods(args.years).items()}
    if args.json:
        dominations = {period: dominated(table) for period, table in tables.items()}
        tables = {period: json.loads(table.to_json(orient="index")) for period, table in tables.items()}
        rows = [
            {key: None if value != value else value for key, value in row.items() if key != "labels"} for row in rows
        ]
        print(json.dumps({"periods": tables, "dominated_by": dominations, "rows": rows}, indent=2))
        return
    known = args.universe == "all" and args.files is None and args.exclude == EXCLUDED
    for period, table in tables.items():
        of_period = [row for row in rows if row["year"] in periods(args.years)[period]]
        counts = [
            max(row["assets"] for row in of_period if row["year"] == year) for year in periods(args.years)[period]
        ]
        print(f"\n**{period}** ({min(counts)} to {max(counts)} assets, {N_CLUSTERS} clusters, seeds: {args.seeds})\n")
        print(markdown(table, known and period == "2014-2025"))
        for method, better in dominated(table).items():
            print(f"\n- {method}: (a) and (b) dominated by {'; '.join(better) or 'no classical row'}")


if __name__ == "__main__":
    main()
