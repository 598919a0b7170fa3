"""Is there a job that the encoder does better than its classical rival?

    python -m tests.benchmarks.encoder_job --path ../shared/data
    python -m tests.benchmarks.encoder_job --path ../shared/data --export inputs.npz   # what multi_task.py reads
    python -m tests.benchmarks.encoder_job --path ../shared/data --forecasts OUT       # beside what that left in OUT
    python -m tests.benchmarks.encoder_job --path ../shared/data --jobs members

Walk-forward: encoders are trained on the two years before the first of every two test years, heads and rivals on what
was known before a test year. Assets by lot (``--sample``), a date every five sessions. What is chosen (the share of the
multi-task network beside its linear part) is chosen on 2014-2019. Four jobs:

- volatility: log variance of the next 21 sessions, by asset: EWMA, GARCH(1,1), HAR on day, week and month, HAR+ on all
  of ``multi_task.terms``; against ridge heads on the encoder's embedding alone and beside each;
- regime: does the market fall by more than 5 % from a peak within 21 sessions: logistic regression on volatility and
  trailing return; against the encoder's mean embedding of all assets;
- members: which assets are in another cluster a year later (searched clusters under lasting names): resamples and
  silhouette; against the encoder's silhouette and distance from the cluster's centre, and the VAE's variance;
- episodes: the 20 most similar past days by plain features or by embedding: the market's log variance after them as a
  forecast of the next month's.

Differences of losses are tested as Diebold and Mariano do, date by date (means over assets), with five lags.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_samples
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clusterfolio.models.clustering import Ward
from clusterfolio.models.encoder import Encoder
from clusterfolio.models.promise import expected_correlation
from clusterfolio.strategies.diversification import correlations, log_returns, mean_correlation, measurable
from clusterfolio.strategies.embedding import EmbeddingConfig, PanelEmbedder
from clusterfolio.strategies.passports.continuity import match_labels
from clusterfolio.strategies.returns_embedding import EmbeddedReturns
from tests.benchmarks.embedding import EXCLUDED, load, parse_years, periods
from tests.benchmarks.encoder_world import HEADS, Seen, World, encoders, export, make_world, training_windows
from tests.benchmarks.forecasts import auc, crps, diebold_mariano, encompassing, ewma, garch, pooled, qlike
from tests.benchmarks.multi_task import AHEAD, TINY

#: Sessions between a day and the past days it is compared with, and how many of these.
APART, NEAREST = 63, 20

#: A fall of the market; ridge penalty; components of a state; lags of a test; names that are clustered, resamples.
FALL, PENALTY, COMPONENTS, LAGS, CLUSTERED, RESAMPLES = 0.05, 1e-3, 4, 5, 300, 8

HAR = [0, 1, 2]  # columns of ``terms``: the last day, week and month


def volatility(world: World, seen: list[Seen], years: list[int]) -> dict[str, np.ndarray]:
    """Log forecasts by method at ``World.rows`` of the test years, ``(n_rows, n_assets)``; "truth" among them.

    "HAR+ and encoder" adds to HAR+ what a head on the embedding says of what HAR+ leaves.
    """
    raw = {"EWMA": np.log(ewma(world.returns)[world.rows] + TINY)}
    raw["GARCH"] = np.where(np.isfinite(of_garch := garch_forecasts(world, years)), of_garch, raw["EWMA"])
    inputs = {name: (values[..., None], 99) for name, values in raw.items()}
    inputs |= {"HAR": (world.x[..., HAR], 99), "HAR+": (world.x, 99)}
    names = (*inputs, "encoder", "HAR+ and encoder")
    found = {name: np.full(world.y.shape, np.nan) for name in names} | {"truth": world.y}
    found |= {f"{name} bias": np.zeros(len(world.rows)) for name in names}
    whole = np.zeros(world.y.shape)
    for year in years:
        embedded = next(one for one in seen if year in one.years).embeddings
        of_encoder = {"encoder": (embedded, HEADS), "HAR+ and encoder": (embedded, HEADS)}
        for name, (x, back) in (inputs | of_encoder).items():
            before = world.known(year, back)
            if name == "GARCH":
                before &= world.days[world.rows].year >= years[0] - 1
            usable = np.isfinite(x).all(axis=2) & np.isfinite(world.y)
            fit, told = usable & before[:, None], usable & world.of_year(year)[:, None]
            base = whole if name == "HAR+ and encoder" else np.zeros(world.y.shape)
            head = pooled(x[fit], world.y[fit] - base[fit], PENALTY)
            if name == "HAR+":
                whole = head(world.x)
            found[name][told] = base[told] + head(x[told])
            left = world.y[fit] - base[fit] - head(x[fit])
            found[f"{name} bias"][world.of_year(year)] = np.log(np.exp(left).mean())  # mean log to log of the mean
    return found


def garch_forecasts(world: World, years: list[int]) -> np.ndarray:
    """Of every asset, fitted anew before each test year and before the year before the first."""
    found = np.full(world.y.shape, np.nan)
    for year in [years[0] - 1, *years]:
        last, until = (int(world.days.searchsorted(pd.Timestamp(at, 1, 1))) for at in (year, year + 1))
        rows = np.flatnonzero(world.of_year(year))
        for asset in range(len(world.columns)):
            ahead = garch(world.returns[:, asset], last, until, AHEAD)
            found[rows, asset] = np.log(ahead[world.rows[rows] - last] + TINY)
    return found


def of_network(world: World, folder: Path) -> dict[str, np.ndarray]:
    """What ``multi_task`` forecast, with and without the market beside: whole, and the share chosen on 2014-2019.

    "HAR+, all assets" is its linear part, which learned from every asset and not from the sample alone.
    """
    found = {}
    early = world.days[world.rows].year <= 2019
    for name, file in (("network", "own"), ("network, market", "market")):
        if not (folder / f"{file}.npz").is_file():
            continue
        with np.load(folder / f"{file}.npz") as stored:
            told, plain = stored["forecasts"][:, : len(world.rows), world.columns].astype(float)
        shares = np.linspace(0, 1, 11)
        losses = [np.nanmean(np.square(plain + share * (told - plain) - world.y)[early]) for share in shares]
        best = shares[int(np.argmin(losses))]
        found |= {"HAR+, all assets": plain, name: told, f"{name}, {best:.1f} of it": plain + best * (told - plain)}
    return found


def volatility_table(world: World, found: dict[str, np.ndarray], years: list[int]) -> pd.DataFrame:
    """Losses by method, and how they differ from the best rival: HAR+, of all assets where that is known."""
    truth = found["truth"]
    best = "HAR+, all assets" if "HAR+, all assets" in found else "HAR+"
    methods = [name for name in found if name != "truth" and not name.endswith(" bias")]
    common = np.isfinite(truth) & np.all([np.isfinite(found[name]) for name in methods], axis=0)
    rows = []
    for period, of in periods(years).items():
        within = np.isin(world.days[world.rows].year, of) & common.any(axis=1)
        keep = common[within]
        by_date = {}
        for name in methods:
            bias = found.get(f"{name} bias", found["HAR+ bias"])[within, None]
            square = np.square(found[name][within] - truth[within])
            like = qlike(np.exp(truth[within]), np.exp(found[name][within] + bias))
            by_date[name] = [(np.where(keep, one, 0).sum(axis=1) / keep.sum(axis=1)) for one in (square, like)]
        for name in methods:
            tests = [diebold_mariano(own - rival, LAGS)
                     for own, rival in zip(by_date[name], by_date[best], strict=True)]  # fmt: skip
            share, t = encompassing(truth[within], found[best][within], found[name][within], keep, LAGS)
            rows.append({
                "period": period, "method": name, "mse": by_date[name][0].mean(), "t_mse": tests[0].statistic,
                "qlike": by_date[name][1].mean(), "t_qlike": tests[1].statistic,
                "share": share, "t_share": t,
            })  # fmt: skip
    return pd.DataFrame(rows)


def plain_states(world: World) -> np.ndarray:
    """The market by plain features, ``(n_rows, 7)``: log variance of a week, a month and a quarter, returns of a month
    and a quarter in deviations, the assets' mean log variance of a month and their mean correlation of a quarter.
    """
    market = world.x[:, 0]
    others = np.nanmean(world.x[:, 1:, 2], axis=1)
    shared = [mean_correlation(correlations(np.nan_to_num(world.returns[row - 62 : row + 1]))) for row in world.rows]
    return np.column_stack([market[:, [1, 2, 3, 9, 10]], others, shared])


def state_sets(world: World, seen: list[Seen], years: list[int]) -> dict[str, dict[int, np.ndarray]]:
    """By name and test year, states of the market at ``World.rows``; NaN where there is none."""
    of_encoder = {year: states for one in seen for states in [one.states()] for year in one.years}
    return {"plain": dict.fromkeys(years, plain_states(world)), "encoder": of_encoder}


def falls(world: World) -> np.ndarray:
    """Whether the market falls by ``FALL`` from a peak within 21 sessions of each row; NaN where not known."""
    path = np.exp(np.cumsum(np.nan_to_num(world.returns[:, 0])))
    found = np.full(len(world.rows), np.nan)
    for at, row in enumerate(world.rows):
        if row + AHEAD < len(path):
            ahead = path[row : row + AHEAD + 1]
            found[at] = (ahead / np.maximum.accumulate(ahead) - 1).min() < -FALL
    return found


def regime_table(world: World, states: dict[str, dict[int, np.ndarray]], years: list[int]) -> pd.DataFrame:
    """Brier score and area under the curve of each state's probability of a fall, and of plain and it together."""
    happened = falls(world)
    together = {f"plain, {name}": (states["plain"], of) for name, of in states.items() if name != "plain"}
    told = {name: np.full(len(world.rows), np.nan) for name in ("base rate", *states, *together)}
    for year in years:
        before, rows = world.known(year), world.of_year(year)
        told["base rate"][rows] = happened[before].mean()
        for name in (*states, *together):
            parts = [
                (of[year], 5 if of is states["plain"] else COMPONENTS) for of in together.get(name, (states.get(name),))
            ]
            usable = np.all([np.isfinite(part).all(axis=1) for part, _ in parts], axis=0)
            reduced = []
            for part, components in parts:
                fit = StandardScaler().fit(part[usable & before])
                some = PCA(min(components, part.shape[1])).fit(fit.transform(part[usable & before]))
                reduced.append(some.transform(fit.transform(np.nan_to_num(part))))
            x = np.hstack(reduced)
            model = make_pipeline(StandardScaler(), LogisticRegression()).fit(
                x[usable & before], happened[usable & before]
            )
            told[name][usable & rows] = model.predict_proba(x[usable & rows])[:, 1]
    known = np.isfinite(happened) & np.all([np.isfinite(one) for one in told.values()], axis=0)
    rows = []
    for period, of in periods(years).items():
        within = known & np.isin(world.days[world.rows].year, of)
        for name, p in told.items():
            score = np.square(p[within] - happened[within])
            test = diebold_mariano(score - np.square(told["plain"][within] - happened[within]), LAGS)
            rows.append({"period": period, "state": name, "days": int(within.sum()), "share": happened[within].mean(),
                         "brier": score.mean(), "t": test.statistic,
                         "auc": auc(p[within], happened[within] > 0)})  # fmt: skip
    return pd.DataFrame(rows)


def episodes_table(world: World, states: dict[str, dict[int, np.ndarray]], years: list[int]) -> pd.DataFrame:
    """How well the months after the most similar past days forecast the market's next month."""
    outcome, truth = world.y[:, 0], []
    told: dict[str, list] = {name: [] for name in ("every past day", *states)}
    dates = []
    for year in years:
        for at in np.flatnonzero(world.of_year(year) & np.isfinite(outcome)):
            past = (world.rows <= world.rows[at] - APART) & np.isfinite(outcome)
            past &= np.all([np.isfinite(of[year]).all(axis=1) for of in states.values()], axis=0)
            truth.append(outcome[at])
            dates.append(year)
            told["every past day"].append(np.quantile(outcome[past], (np.arange(NEAREST) + 0.5) / NEAREST))
            for name, of in states.items():
                state = (of[year] - of[year][past].mean(axis=0)) / np.maximum(of[year][past].std(axis=0), 1e-9)
                far = np.linalg.norm(state[past] - state[at], axis=1)
                told[name].append(outcome[past][np.argsort(far, kind="stable")[:NEAREST]])
    rows, real = [], np.array(truth)
    losses = {name: crps(np.array(drawn), real) for name, drawn in told.items()}
    for period, of in periods(years).items():
        within = np.isin(dates, of)
        for name, drawn in told.items():
            middle = np.array(drawn).mean(axis=1)[within]
            test = diebold_mariano((losses[name] - losses["plain"])[within], LAGS)
            rows.append({"period": period, "state": name, "crps": losses[name][within].mean(), "t": test.statistic,
                         "rank correlation": spearmanr(middle, real[within]).statistic})  # fmt: skip
    return pd.DataFrame(rows)


def members_table(world: World, seen: list[Seen], years: list[int]) -> pd.DataFrame:
    """Area under the curve of who is in another cluster a year later, by what would say so, a row per year."""
    returns, panel = log_returns(world.panel), world.panel
    order = np.random.default_rng(1).permutation(panel.tradable)
    rows = []
    for year in years:
        days = panel.sessions[panel.sessions < pd.Timestamp(year, 1, 1)]
        later = panel.sessions[panel.sessions < pd.Timestamp(year + 1, 1, 1)]
        spans = [returns.loc[one].iloc[-504:] for one in (days, later)]
        fit = measurable(spans[0]) & measurable(spans[1])
        names = sorted([name for name in order if fit[name]][:CLUSTERED])
        labels = [_searched(span[names]) for span in spans]
        moved = (match_labels(*labels) != labels[0]).to_numpy()
        scores = _doubts(spans[0][names], labels[0])
        scores |= _seen_doubts(panel.until(days[-1]), seen, year, labels[0])
        known = {name: np.isfinite(score) for name, score in scores.items()}
        areas = {name: auc(score[known[name]], moved[known[name]]) for name, score in scores.items()}
        rows.append({"year": year, "moved": moved.mean()} | areas)
        print(f"members of {year}: {moved.mean():.2f} moved", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def _searched(returns: pd.DataFrame) -> pd.Series:
    rows = EmbeddedReturns(returns, EmbeddingConfig(kind="search"), 20).rows(list(returns.columns))
    return pd.Series(Ward(20).fit(rows.to_numpy()).labels_, returns.columns)


def _doubts(returns: pd.DataFrame, labels: pd.Series) -> dict[str, np.ndarray]:
    """Classical: share of resamples in which a name is in another cluster, and its silhouette, below 0."""
    found, names = EmbeddedReturns(returns, EmbeddingConfig(kind="search"), 20), list(labels.index)
    drawn = found.regrouped(names, Ward(20), RESAMPLES, 0)
    again = [match_labels(labels, pd.Series(other, names)) != labels for other in drawn]
    apart = 1 - expected_correlation(returns.fillna(0.0).to_numpy())
    np.fill_diagonal(apart, 0.0)
    shape = silhouette_samples(apart, labels, metric="precomputed")
    both = pd.Series(np.mean(again, axis=0)).rank() + pd.Series(-shape).rank()
    return {"resamples": np.mean(again, axis=0), "silhouette": -shape, "resamples and silhouette": both.to_numpy()}


def _seen_doubts(panel, seen: list[Seen], year: int, labels: pd.Series) -> dict[str, np.ndarray]:
    """The encoder's: silhouette in its embedding, distance of the newest window from the others', a VAE's variance."""
    encoder, names = next(one.encoder for one in seen if year in one.years), list(labels.index)
    rows = PanelEmbedder(encoder, EmbeddingConfig(kind="trajectory", step=21)).embed(panel).rows(names).to_numpy()
    newest = PanelEmbedder(encoder, EmbeddingConfig(kind="last")).embed(panel).rows(names).to_numpy()
    centres = pd.DataFrame(newest).groupby(labels.to_numpy()).mean()
    vae = Encoder(random_state=0, encoder="vae").fit(training_windows(panel, year))
    doubt = PanelEmbedder(vae, EmbeddingConfig(kind="last")).uncertainty(panel)
    return {
        "encoder's silhouette": -silhouette_samples(rows, labels),
        "distance from the centre": np.linalg.norm(newest - centres.loc[labels.to_numpy()].to_numpy(), axis=1),
        "VAE's variance": doubt[names].to_numpy(dtype=float),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, nargs="+", required=True, help="price files and folders")
    parser.add_argument("--years", type=parse_years, default=parse_years("2014-2025"), help="test years: 2014-2025")
    parser.add_argument("--sample", type=int, default=200, help="assets by lot")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="which")
    parser.add_argument("--export", type=Path, help="write what multi_task.py reads, and end")
    parser.add_argument("--forecasts", type=Path, help="folder that multi_task.py wrote")
    args = parser.parse_args()
    panel = load(args.path, None, "all", EXCLUDED, "SPY")
    until = pd.Timestamp(args.years[-1] + 1, 3, 1)
    world = make_world(panel, args.sample, until)
    if args.export:
        export(world, args.export)
        return
    seen = list(encoders(world, args.years))
    tables = {}
    if "volatility" in args.jobs:
        found = volatility(world, seen, args.years)
        if args.forecasts:
            found |= of_network(world, args.forecasts)
        tables["volatility"] = volatility_table(world, found, args.years)
    if {"regime", "episodes"} & set(args.jobs):
        states = state_sets(world, seen, args.years)
        tables["regime"] = regime_table(world, states, args.years)
        tables["episodes"] = episodes_table(world, states, args.years)
    if "members" in args.jobs:
        tables["members"] = members_table(world, seen, args.years)
    for name, table in tables.items():
        print(f"\n**{name}**\n\n{table.round(4).to_string(index=False)}")
    if "members" in tables:
        print(f"\n{tables['members'].drop(columns='year').agg(['mean', 'sem']).round(4).to_string()}")


#: What may be asked for.
JOBS = ("volatility", "regime", "members", "episodes")

if __name__ == "__main__":
    main()
