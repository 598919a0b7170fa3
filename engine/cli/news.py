"""`news`: headlines into a file of dated texts."""

from __future__ import annotations

from pathlib import Path

import click

from clusterfolio.engine.cli.faults import EXIT_CODES, faults


@click.command("news", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rss", multiple=True, metavar="URL", help="An RSS or Atom feed; may be repeated.")
@click.option("--symbol", "symbols", multiple=True, metavar="SYM", help="Yahoo's news on it; may be repeated.")
@click.option("--scorer", default="", metavar="NAME", help="Score them now: vader, finbert, roberta or a model's name.")
def news_command(file, rss, symbols, scorer):
    """Add the latest headlines to FILE, a CSV of dated texts for inputs.sentiment; call it as often as news appear.

    Without --scorer the run that reads them scores them.

    \b
    Examples:
      news texts.csv --rss https://example.org/markets.xml --scorer vader
      news texts.csv --symbol SPY --symbol AAPL
      run --set inputs.sentiment=texts.csv
    """
    from clusterfolio.feeds.exogenous.news import collect, read_rss, read_yahoo_news
    from clusterfolio.feeds.exogenous.sentiment import make_scorer

    with faults():
        if not rss and not symbols:
            raise ValueError("news: nothing to read; name at least one --rss or --symbol")
        fresh = [read_rss(address) for address in rss] + [read_yahoo_news(symbol) for symbol in symbols]
        added = collect(file, fresh, make_scorer(scorer) if scorer else None)
        click.echo(f"{added} new texts in {file}")
