"""What an encoder may see beside prices: macro series, sentiment, facts of each asset. All of it is off by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from clusterfolio.feeds.exogenous.fred import read_fred
from clusterfolio.feeds.exogenous.macro import channel, channel_names, file_reader, macro_channels
from clusterfolio.feeds.exogenous.publication import find_macro_file, lag_of
from clusterfolio.feeds.exogenous.sentiment import Scorer, lazily, sentiment_channel
from clusterfolio.feeds.panel import Panel

#: Columns of ``Panel.assets`` that serve as static covariates.
STATICS = ("asset_class", "region", "sector", "currency")

SENTIMENT = "sentiment"


@dataclass(frozen=True)
class InputsConfig:
    """What an encoder sees beside an asset's own bars; nothing unless it is named here.

    Attributes:
        macro: names of economic channels (policy_rate, inflation, curve_slope, vix ...), of FRED series, or "core" or
            "all"; each is dated by its publication. Values are as revised later.
        macro_path: the macro file (columns date, series, value); "fred" = FRED's public CSV, cached; empty = looked for
            among the data's files.
        lags: SERIES=DAYS, how many days after its date a value of a series not known here is published.
        sentiment: file of daily scores (date, score), known on the next session, or of dated texts (timestamp with
            zone, text), known at the first close after them; empty = none.
        scorer: what scores texts: "vader", "finbert", "roberta" or the name of a transformers model.
        statics: also tell the encoder each asset's class, region, sector and currency.
    """

    macro: tuple[str, ...] = ()
    macro_path: str = ""
    lags: tuple[str, ...] = ()
    sentiment: str = ""
    scorer: str = "vader"
    statics: bool = False

    def __post_init__(self):
        for text in self.lags:
            if not re.fullmatch(r"\w+=\d+", text):
                raise ValueError(f"inputs.lags: got {text!r}, expected SERIES=DAYS, for example UMCSENT=30")
        for name in channel_names(self.macro):
            for series in channel(name, self.lag_by_series).series:
                lag_of(series, self.lag_by_series)
        if self.macro_path and not self.macro:
            raise ValueError(
                'inputs.macro_path: given, but inputs.macro is empty; name what to read, for example "core"'
            )

    @property
    def lag_by_series(self) -> dict[str, int]:
        """The user's own lags, in days."""
        return {name: int(days) for name, _, days in (text.partition("=") for text in self.lags)}

    @property
    def exog(self) -> tuple[str, ...]:
        """Names of the market-wide series, in the order an encoder sees them."""
        return (*channel_names(self.macro), *((SENTIMENT,) if self.sentiment else ()))

    @property
    def static_columns(self) -> tuple[str, ...]:
        """Names of the static covariates."""
        return STATICS if self.statics else ()


def with_inputs(
    panel: Panel,
    config: InputsConfig,
    calendar: str = "XNYS",
    paths: tuple[str, ...] = (),
    scorer: Scorer | None = None,
    read: Callable[[str], pd.Series] | None = None,
) -> Panel:
    """The panel with the market-wide series that the configuration names, each as known by the close of each day.

    Args:
        calendar: exchange whose closes decide which session a text counts for.
        paths: where a macro file is looked for.
        scorer: instead of the one the configuration names.
        read: a macro series' values by the date they bear, instead of the source the configuration names.
    """
    if not config.exog:
        return panel
    names = channel_names(config.macro)
    table = pd.DataFrame(index=panel.dates)
    if names:
        read = read or _macro_source(config, paths)
        table = macro_channels(names, panel.dates, read, config.lag_by_series)
    if config.sentiment:
        scorer = scorer or lazily(config.scorer)
        table[SENTIMENT], _ = sentiment_channel(config.sentiment, panel.dates, calendar, scorer)
    return replace(panel, exog=table)


def describe_inputs(config: InputsConfig, panel: Panel | None = None) -> list[dict]:
    """A row per input: ``name``, ``meaning``, ``source`` and ``lag`` in words.

    With a panel also ``known``, the share of its days on which a value is known, and ``first``, the first of them.
    """
    lags, rows = config.lag_by_series, []
    for name in channel_names(config.macro):
        made = channel(name, lags)
        stated = ", ".join(f"{series} {in_days(lag_of(series, lags))}" for series in made.series)
        rows.append({"name": name, "meaning": made.meaning, "source": config.macro_path or "macro file", "lag": stated})
    if config.sentiment:
        rows.append(
            {
                "name": SENTIMENT,
                "meaning": f"mean score of news and posts (texts: {config.scorer})",
                "source": config.sentiment,
                "lag": "daily scores: the next session; texts: the first close after them",
            }
        )
    if panel is not None and panel.exog is not None:
        for row in rows:
            known = panel.exog[row["name"]].notna()
            row["known"] = round(float(known.mean()), 4)
            row["first"] = str(known.idxmax().date()) if known.any() else None
    rows += [
        {"name": name, "meaning": "of the asset", "source": "universe", "lag": "none"} for name in config.static_columns
    ]
    return rows


def in_days(number: int) -> str:
    """A number of days in words."""
    return "1 day" if number == 1 else f"{number} days"


def _macro_source(config: InputsConfig, paths: tuple[str, ...]) -> Callable[[str], pd.Series]:
    if config.macro_path == "fred":
        wanted = [
            series for name in channel_names(config.macro) for series in channel(name, config.lag_by_series).series
        ]
        return read_fred(wanted).__getitem__
    found = find_macro_file(config.macro_path or None, paths, "inputs.macro_path")
    if found is None:
        raise ValueError(
            f"inputs.macro_path: no macro.parquet or macro.csv (columns date, series, value) in {list(paths)!r}; name "
            'a file, or "fred"'
        )
    return file_reader(found)
