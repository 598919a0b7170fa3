"""What inputs beyond price do to the embedding: the same encoder with and without them, on the measure of
``tests.benchmarks.embedding``.

    python -m tests.benchmarks.inputs --path ../shared/data --years 2017 2019
    python -m tests.benchmarks.inputs --path ../shared/data --encoder tft --seeds 2 --only prices macro

The folder holds macro.parquet (date, series, value) and, for sentiment, market_news_sentiment.parquet. Everything is
fitted on the two years before a test year; picks, clusters and figures are that benchmark's. ``rebuilt`` is the mean
squared error over the observed entries of the test year's windows, of an autoencoder without dropout; ``outside`` the
share of the test year's days on which some series beside prices lies outside the range it had in training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import pandas as pd

from clusterfolio.feeds.exogenous.inputs import InputsConfig, with_inputs
from clusterfolio.feeds.panel import Panel
from clusterfolio.models.encoder import Encoder
from clusterfolio.strategies.cluster_policy import EncoderConfig
from clusterfolio.strategies.diversification import log_returns
from clusterfolio.strategies.embedding import PanelEmbedder
from clusterfolio.strategies.windows import panel_windows
from tests.benchmarks.embedding import (
    COLUMNS,
    EXCLUDED,
    LAST,
    TRAJECTORY,
    Trial,
    clustered,
    load,
    make_trial,
    row_of,
    summary,
)

SENTIMENT_FILE = "market_news_sentiment.parquet"
FORMS = {"last window": LAST, "trajectory to 20": TRAJECTORY}
SHOWN = ("gap", "between", "worst_gap", "worst_between", "pick_correlation", "pick_bets")


def variants(folder: Path, macro: tuple[str, ...]) -> dict[str, InputsConfig]:
    """The inputs compared, by name."""
    series, mood = (
        {"macro": macro, "macro_path": str(folder / "macro.parquet")},
        {"sentiment": str(folder / SENTIMENT_FILE)},
    )
    return {
        "prices": InputsConfig(),
        "macro": InputsConfig(**series),
        "sentiment": InputsConfig(**mood),
        "statics": InputsConfig(statics=True),
        "all": InputsConfig(**series, **mood, statics=True),
    }


def rows_of(name: str, config: InputsConfig, panel: Panel, trial: Trial, encoder: str, seed: int) -> list[dict]:
    """One variant's figures in one test year, a row per form of the embedding."""
    began = time.perf_counter()
    chosen = EncoderConfig(name=encoder)
    seen = with_inputs(panel, config)
    known = seen.until(trial.panel.dates[-1])
    made = Encoder(
        encoder, lookback=chosen.lookback, random_state=seed, exog=config.exog, statics=config.static_columns
    )
    made.fit(panel_windows(known, chosen.lookback, chosen.stride, trial.first))
    seconds = time.perf_counter() - began
    tested = seen.until(trial.test.index[-1])
    later = panel_windows(tested, chosen.lookback, chosen.lookback, first=len(known.dates))
    beside = {"rebuilt": made.reconstruction_error(later), "seconds": round(seconds, 1)}
    beside["outside"] = outside_range(seen, trial) if config.exog else 0.0
    beside["parameters"] = sum(weights.numel() for weights in made.module_.parameters())
    rows = []
    for form, embedding in FORMS.items():
        embedded = PanelEmbedder(made, embedding).embed(known)
        labels = clustered(embedded.rows(trial.names).to_numpy(), trial.names)
        rows.append(row_of(f"{name}, {form}", trial, seed, labels) | beside | {"stability": None})
    shown = ", ".join(f"{row['gap']:.3f} / {row['between']:.3f}" for row in rows)
    print(
        f"{trial.year} {name} seed {seed}: {shown}, rebuilt {beside['rebuilt']:.4f} ({seconds:.0f} s)", file=sys.stderr
    )
    return rows


def outside_range(seen: Panel, trial: Trial) -> float:
    """Share of the test year's days on which some series lies outside the range it had on the training days."""
    asof = trial.panel.dates[-1]
    train = seen.exog.iloc[trial.first :].loc[:asof]
    test = seen.exog.loc[asof : trial.test.index[-1]].iloc[1:]
    return float(((test < train.min()) | (test > train.max())).any(axis=1).mean())


def markdown(rows: list[dict]) -> str:
    """A row per variant and form: the mean over years and seeds."""
    table = summary(rows, sorted({row["year"] for row in rows}))
    beside = pd.DataFrame(rows).groupby("method")[["rebuilt", "outside", "parameters", "seconds"]].mean()
    lines = [["inputs, embedding", *(COLUMNS[name] for name in SHOWN), "rebuilt", "outside", "parameters", "seconds"]]
    lines.append(["---"] * len(lines[0]))
    for method, row in table.iterrows():
        figures = [f"{row[name]:.1f}" if name == "pick_bets" else f"{row[name]:.3f}" for name in SHOWN]
        rebuilt, outside, parameters, seconds = beside.loc[method]
        lines.append([method, *figures, f"{rebuilt:.4f}", f"{outside:.0%}", f"{parameters:,.0f}", f"{seconds:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, required=True, help="folder of prices, macro series and sentiment")
    parser.add_argument("--years", type=int, nargs="+", default=[2017, 2019], help="test years")
    parser.add_argument("--encoder", default=EncoderConfig().name, help="which encoder")
    parser.add_argument("--macro", nargs="+", default=["core"], help="macro channels")
    parser.add_argument("--only", nargs="+", help="of the variants, only these")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    panel = load([args.path], None, "all", EXCLUDED, "SPY")
    returns, rows = log_returns(panel), []
    for year in args.years:
        trial = make_trial(panel, returns, year)
        for name, config in variants(args.path, tuple(args.macro)).items():
            if args.only is None or name in args.only:
                for seed in range(args.seeds):
                    rows += rows_of(name, config, panel, trial, args.encoder, seed)
    if args.json:
        print(json.dumps([{key: row[key] for key in row if key != "labels"} for row in rows], indent=2))
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
