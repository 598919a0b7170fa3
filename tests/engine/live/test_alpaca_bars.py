"""Bars of hundreds of symbols in a few requests: for feeds in backtrader, and for prices to hold orders against."""

import datetime as dt
import threading
from urllib.parse import parse_qs, urlsplit

import backtrader as bt
import pandas as pd
import pytest

from clusterfolio.engine.live.alpaca_bars import DATA, AlpacaBars
from clusterfolio.engine.live.alpaca_wire import Budget, Hidden, Keys
from clusterfolio.engine.live.limits import Limits
from clusterfolio.engine.live.terms import Halted
from clusterfolio.engine.live.venue import Unavailable, Unreadable
from clusterfolio.feeds.live import Hub, live_feeds
from clusterfolio.strategies.policy import Decision
from clusterfolio.strategies.rebalance import RebalanceStrategy
from tests.engine.live.judge import DATA_DOCUMENT, Judge
from tests.engine.live.loopback import KEY_ID, SECRET, Loopback
from tests.engine.live.test_alpaca_runner import Desk
from tests.engine.live.worlds import World, close_of

KEYS = Keys(Hidden(KEY_ID), Hidden(SECRET))


def bars_of(there, **more):
    budget = Budget(200, monotonic=there.monotonic, sleep=there.sleep)
    return AlpacaBars(there.url, keys=KEYS, **{"budget": budget, **more})


@pytest.fixture(scope="module")
def wide():
    return World(n_days=6, n_symbols=300, seed=3)


@pytest.fixture
def there(wide, tmp_path):
    with Loopback(wide, tmp_path / "venue.sqlite", now=close_of(wide.days[wide.start + 2].date())) as there:
        yield there


def asked(there, what="/v2/stocks/bars?"):
    return [exchange for exchange in there.exchanges if exchange.target.startswith(what)]


class Equal:
    def decide(self, panel, state):
        names = list(panel.symbols)
        return Decision(panel.dates[-1], pd.Series(1 / len(names), names))


class Watching(RebalanceStrategy):
    """The Strategy, and how many feeds were current whenever it was called."""

    def next(self):
        super().next()
        now = self.datetime.date(0)
        current = sum(len(data) > 0 and data.datetime.date(0) == now for data in self.datas)
        self.__dict__.setdefault("calls", []).append((now, current))


def run(hub, dates, arrive):
    cerebro = bt.Cerebro(stdstats=False)
    for feed in live_feeds(hub):
        cerebro.adddata(feed)
    cerebro.addstrategy(Watching, policy_for=lambda now: Equal(), decision_dates=dates, fractional=True)
    thread = threading.Thread(target=arrive)
    thread.start()
    (strategy,) = cerebro.run()
    thread.join()
    return strategy


def test_300_feeds_take_three_requests_a_session_and_make_one_decision_each(there, wide):
    days = [wide.days[wide.start + n].date() for n in range(3)]
    hub, bars = Hub(wide.names(), patience=30.0), bars_of(there)

    def arrive():
        for day in days:
            assert bars.fill(hub, day, seconds=0.0) == ()
        hub.close()

    strategy = run(hub, [pd.Timestamp(day) for day in days[:2]], arrive)
    assert strategy.calls == [(day, 300) for day in days] and len(strategy.decisions) == 2
    assert len(asked(there)) == 3 * len(days)
    closes = {name: bar["close"] for name, bar in hub.releases[-1].bars.items()}
    assert closes == pytest.approx(wide.panel.close.loc[str(days[-1])].to_dict())
    if DATA_DOCUMENT.is_file():
        judge = Judge(DATA_DOCUMENT)
        assert [text for exchange in asked(there)[:3] for text in judge.violations(exchange)] == []


def test_who_is_missing_is_asked_for_again_and_named_at_the_deadline(there, wide):
    there.without_bars = {"S7", "S250"}
    now = [0.0]
    hub = Hub(wide.names(), patience=50.0, clock=lambda: now[0])
    day = wide.days[wide.start].date()

    def sleep(seconds):
        now[0] += seconds
        there.without_bars.discard("S7")

    left = bars_of(there).fill(hub, day, seconds=60.0, monotonic=lambda: now[0], sleep=sleep)
    assert left == ("S250",) and now[0] == 60.0
    sizes = [len(parse_qs(urlsplit(exchange.target).query)["symbols"][0].split(",")) for exchange in asked(there)]
    assert sizes == [100, 100, 100, 2, 1]
    hub.turn(0.0)
    (release,) = hub.releases
    assert release.missing == ("S250",) and len(release.bars) == 299


def test_pages_are_followed_and_what_is_not_understood_is_refused_by_name(there, wide):
    first, last = wide.days[0].date(), wide.days[wide.start + 2].date()
    found = bars_of(there).daily(wide.names()[:100], first, last)
    assert len(found) == 100 and all(len(bars) == wide.start + 3 for bars in found.values())
    assert len(asked(there)) == -(-100 * (wide.start + 3) // 200)
    for wrong, said in (({"c": "x"}, "bar of S0: c: got 'x', expected a number"), ({"c": -1}, "prices above 0"),
                        ({"t": "soon"}, "bar of S0: t")):  # fmt: skip
        bar = {"t": "2019-01-17T05:00:00Z", "o": 1, "h": "1", "l": 1, "c": 1.0, "v": 3, **wrong}
        there.spoil = lambda path, answer, bar=bar: {"bars": {"S0": [bar]}, "next_page_token": None}
        with pytest.raises(Unreadable, match=said):
            bars_of(there).daily(["S0"], first, last)
    there.spoil = lambda path, answer: {"bars": {"S1": []}, "next_page_token": None}
    with pytest.raises(Unreadable, match="bars: got those of S1"):
        bars_of(there).daily(["S0"], first, last)


@pytest.mark.acceptance
def test_data_waits_for_its_turn_behind_orders(there, wide):
    """At 200 a minute of which 20 are kept for orders: no 429 however many bars are asked for."""
    bars, began = bars_of(there), there.monotonic()
    for _ in range(70):
        bars.daily(wide.names(), wide.days[wide.start].date(), wide.days[wide.start].date())
    assert {e.status for e in there.exchanges} == {200} and len(asked(there)) == 210
    assert 60 <= there.monotonic() - began < 130


def test_keys_go_to_the_data_host_or_this_machine_only(there):
    assert AlpacaBars(DATA, keys=KEYS) and bars_of(there)
    for url in (
        "https://api.alpaca.markets",
        "https://paper-api.alpaca.markets",
        "https://data.alpaca.markets.evil.com",
    ):
        with pytest.raises(ValueError, match=r"expected https://data[.]alpaca[.]markets or one of this machine"):
            AlpacaBars(url, keys=KEYS)
    there.restart(5)
    with pytest.raises(Unavailable):
        bars_of(there).daily(["S0"], dt.date(2019, 1, 2), dt.date(2019, 1, 3))


def test_a_price_far_from_the_venues_own_halts_also_for_a_name_that_is_not_held(tmp_path):
    limits = Limits(max_order=1.0, max_position=1.0, max_gap=0.1)
    with Desk(tmp_path) as desk:
        desk.venue.close()
        desk.venue = desk.there.venue(timeout=0.5, data=desk.there.url)
        honest = desk.there._bar
        desk.there._bar = lambda symbol, day: {**honest(symbol, day), "c": 2 * honest(symbol, day)["c"]}
        with pytest.raises(Halted, match=r"max_gap: .* more than 10 % apart"):
            desk.runner(limits=limits).run(sessions=1)
        desk.there._bar = honest
        desk.journal.set_state("halt", None)
        desk.runner(limits=limits).run(sessions=1)
        assert desk.journal.open_plan() is not None
