"""What would be traded, where, and on which prices, before anything is."""

from __future__ import annotations

from collections.abc import Sequence

from clusterfolio.engine.live.market import RunMarket
from clusterfolio.engine.live.paper_options import PaperOptions
from clusterfolio.engine.live.status import read_status
from clusterfolio.engine.live.venue import Venue
from clusterfolio.engine.live.venues import VENUES, broker
from clusterfolio.engine.progress import Reporter
from clusterfolio.strategies.order_list import quotes_of


def doctor(options: PaperOptions, reporter: Reporter) -> list[tuple[str, str, str]]:
    """What would be traded, where and on which prices; nothing is written. Rows of (what, finding, trouble)."""
    if options.venue not in VENUES:
        raise ValueError(f"--venue: got {options.venue!r}, available: {', '.join(VENUES)}")
    market = RunMarket(options.run_dir, options.folder, options.paths, options.trust, reporter)
    last = market.panel.dates[-1]
    new = "" if options.journal_file.is_file() else "no account yet; `paper once` opens it"
    rows = [
        ("run", f"{options.run_dir}, rebalanced every {market.config.trading.rebalance}", ""),
        ("prices", f"{len(market.panel.tradable)} symbols to {last.date()}", ""),
        ("folder", str(options.folder), new),
    ]
    if options.journal_file.is_file():
        found = read_status(options)
        rows.append(("state", f"looked at {found['looked_at'] or 'nothing yet'}", found["halted"]))
    quotes = quotes_of(market.panel.until(last))
    other = quotes.index[(quotes["unit"] != "shares") & quotes.index.isin(market.panel.tradable)]
    if len(other):
        rows.append(("not traded", f"{len(other)} currency pairs", ", ".join(other[:5])))
    return rows if options.venue == "local" else rows + _at_broker(broker(options, market, True), market.names())


def _at_broker(venue: Venue, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """What the venue says of account, hours and symbols; asked for reading only."""
    try:
        venue.connect(30.0)
        account, clock, known = venue.account(), venue.clock(), venue.assets(names)
    finally:
        venue.close()
    hours = f"open until {clock.next_close:%F %H:%M} UTC" if clock.is_open else f"opens {clock.next_open:%F %H:%M} UTC"
    out = [name for name in names if name not in known or not known[name].tradable]
    return [
        ("account", f"{account.id}, {account.equity:,.2f} {account.currency}, the stream listens", account.blocked),
        ("exchange", hours, ""),
        ("tradable", f"{len(names) - len(out)} of {len(names)} symbols", ", ".join(out[:10])),
    ]
