import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.raw import ABSENT
from clusterfolio.feeds.sources.yahoo import GIVE_UP_AFTER, WAITS, fetch, read_yahoo
from clusterfolio.feeds.sources.yahoo_answers import Answer, NoPrices, Offline, Unreachable, from_yahoo, unadjusted
from clusterfolio.feeds.sources.yahoo_cache import cache_file, cache_folder, read_cached

START = pd.Timestamp("2024-01-01")


class Yahoo:
    """Answers as Yahoo would on ``today``: what was quoted, adjusted for the splits known by then."""

    def __init__(self, today: str, splits: dict | None = None, dividends: dict | None = None, currency: str = "USD"):
        self.today, self.currency, self.calls, self.trouble = pd.Timestamp(today), currency, [], {}
        self.quoted = quoted(splits, dividends)

    def __call__(self, symbol: str, start: pd.Timestamp) -> Answer:
        self.calls.append((symbol, start))
        trouble = self.trouble.get(symbol)
        if trouble:
            raise trouble.pop(0)
        frame = self.quoted.loc[start : self.today]
        later = frame["split"].where(frame["split"] > 0, 1.0)[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
        stated = pd.DataFrame(
            {
                "Open": frame["close"] / later,
                "High": frame["close"] / later * 1.01,
                "Low": frame["close"] / later * 0.99,
                "Close": frame["close"] / later,
                "Adj Close": -1.0,  # never to be used
                "Volume": (frame["volume"] * later).astype("int64"),
                "Dividends": frame["dividend"] / later,
                "Stock Splits": frame["split"],
            }
        )
        return Answer(stated.tz_localize("America/New_York").rename_axis("Date"), self.currency)


def quoted(splits: dict | None = None, dividends: dict | None = None) -> pd.DataFrame:
    """Made-up prices as they were on the screen, on weekdays of 2024."""
    days = pd.bdate_range("2024-01-01", "2024-12-31").as_unit("ns")
    frame = pd.DataFrame({"split": 0.0, "dividend": 0.0}, index=days)
    for day, ratio in (splits or {}).items():
        frame.loc[day, "split"] = ratio
    for day, paid in (dividends or {}).items():
        frame.loc[day, "dividend"] = paid
    shares = frame["split"].where(frame["split"] > 0, 1.0).cumprod()
    frame["close"] = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, len(days)).cumsum()) / shares
    frame["volume"] = 1000.0
    return frame


def filled(yahoo: Yahoo, folder, symbols=("AAA",), **settings) -> pd.DataFrame:
    settings = {"start": START, "wait": lambda seconds: None, "today": yahoo.today} | settings
    return fetch(symbols, cache_dir=folder, download=yahoo, **settings)


def cached(folder, symbol="AAA") -> pd.DataFrame:
    return read_cached(cache_file(folder, symbol)).frame


def test_the_first_fetch_stores_what_was_quoted_and_paid(tmp_path):
    yahoo = Yahoo("2024-06-28", {"2024-03-05": 4.0}, {"2024-02-01": 1.0, "2024-05-01": 0.25})
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert (outcome["outcome"], str(outcome["first"].date()), str(outcome["last"].date())) == (
        "new",
        "2024-01-01",
        "2024-06-27",  # the day itself is not over
    )
    frame = cached(tmp_path)
    expected = yahoo.quoted.loc[:"2024-06-27"]
    for name in ("close", "dividend", "split", "volume"):
        np.testing.assert_allclose(frame[name], expected[name], rtol=1e-12, atol=0)
    assert frame.index.tz is None and (frame["high"] > frame["low"]).all()
    assert outcome["n_bars"] == len(frame)


def test_an_update_asks_once_for_the_whole_history_and_says_what_is_new(tmp_path):
    yahoo = Yahoo("2024-03-01", dividends={"2024-04-10": 0.5})
    filled(yahoo, tmp_path)
    yahoo.today = pd.Timestamp("2024-05-01")
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert (outcome["outcome"], outcome["why"]) == ("updated", "43 new days")
    assert [str(start.date()) for _, start in yahoo.calls] == ["2024-01-01"] * 2
    pd.testing.assert_series_equal(
        cached(tmp_path)["close"], yahoo.quoted.loc[:"2024-04-30", "close"], check_names=False, check_freq=False
    )
    assert cached(tmp_path).loc["2024-04-10", "dividend"] == 0.5


@pytest.mark.parametrize(
    ("late", "said"),
    [
        ({"dividends": {"2024-01-22": 2.0}}, "1 days restated, the first 2024-01-22"),
        ({"splits": {"2024-01-22": 2.0}}, "days restated, the first 2024-01-22"),
    ],
)
def test_an_action_stated_months_late_arrives(tmp_path, late, said):
    yahoo = Yahoo("2024-03-01")
    filled(yahoo, tmp_path)
    yahoo.quoted, yahoo.today = quoted(**late), pd.Timestamp("2024-08-01")
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert outcome["outcome"] == "updated" and said in outcome["why"]
    for name in ("close", "dividend", "split"):
        np.testing.assert_allclose(cached(tmp_path)[name], yahoo.quoted.loc[:"2024-07-31", name], rtol=1e-12)


def test_a_day_filled_in_late_arrives_and_one_that_goes_missing_is_kept(tmp_path):
    yahoo = Yahoo("2024-03-01")
    complete = yahoo.quoted
    yahoo.quoted = complete.drop(pd.Timestamp("2024-01-17"))
    filled(yahoo, tmp_path)
    yahoo.quoted, yahoo.today = complete.drop(pd.Timestamp("2024-02-14")), pd.Timestamp("2024-08-01")
    assert "1 days filled in, the first 2024-01-17" in filled(yahoo, tmp_path).loc["AAA", "why"]
    assert list(cached(tmp_path).index) == list(complete.loc[:"2024-07-31"].index)


def test_an_answer_that_lacks_the_early_history_and_disagrees_replaces_nothing(tmp_path):
    yahoo = Yahoo("2024-03-01")
    filled(yahoo, tmp_path)
    before = cached(tmp_path)
    yahoo.quoted, yahoo.today = quoted(dividends={"2024-02-20": 2.0}).loc["2024-02-01":], pd.Timestamp("2024-08-01")
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert outcome["outcome"] == "unchanged" and "begins on 2024-02-01" in outcome["why"]
    pd.testing.assert_frame_equal(cached(tmp_path), before)


def test_updates_across_a_split_equal_one_fetch_at_the_end(tmp_path):
    piecemeal, at_once = tmp_path / "a", tmp_path / "b"
    yahoo = Yahoo("2024-03-01", {"2024-04-08": 10.0}, {"2024-02-20": 2.0, "2024-06-03": 0.2})
    for day in ("2024-03-01", "2024-04-09", "2024-04-15", "2024-08-01"):
        yahoo.today = pd.Timestamp(day)
        filled(yahoo, piecemeal)
    filled(yahoo, at_once)
    pd.testing.assert_frame_equal(cached(piecemeal), cached(at_once), rtol=1e-9)
    assert len(yahoo.calls) == 5


def test_a_split_that_yahoo_states_late_is_undone_in_everything_before_it(tmp_path):
    yahoo = Yahoo("2024-03-01")
    filled(yahoo, tmp_path)
    yahoo.quoted = quoted({"2024-02-26": 2.0})
    yahoo.today = pd.Timestamp("2024-03-08")
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert outcome["outcome"] == "updated" and "restated" in outcome["why"]
    np.testing.assert_allclose(cached(tmp_path)["close"], yahoo.quoted.loc[:"2024-03-07", "close"])


def test_a_cache_that_reaches_the_end_is_not_asked_for_again(tmp_path):
    yahoo = Yahoo("2024-06-03")
    filled(yahoo, tmp_path)
    assert filled(yahoo, tmp_path)["outcome"].tolist() == ["unchanged"]
    yahoo.today = pd.Timestamp("2024-09-02")
    assert filled(yahoo, tmp_path, end="2024-05-31")["why"].tolist() == ["already cached"]
    assert len(yahoo.calls) == 1


def test_earlier_prices_are_fetched_when_the_start_moves_back(tmp_path):
    yahoo = Yahoo("2024-06-03")
    filled(yahoo, tmp_path, start="2024-03-01")
    assert filled(yahoo, tmp_path)["outcome"].tolist() == ["updated"]
    assert cached(tmp_path).index[0] == START
    assert filled(yahoo, tmp_path, start="2024-04-01")["outcome"].tolist() == ["unchanged"]


def test_no_new_days_is_unchanged(tmp_path):
    yahoo = Yahoo("2024-06-03")
    filled(yahoo, tmp_path)
    outcome = filled(yahoo, tmp_path, today="2024-06-10").loc["AAA"]  # it has stopped trading
    assert (outcome["outcome"], outcome["why"]) == ("updated", "1 new days")
    outcome = filled(yahoo, tmp_path, today="2024-06-11").loc["AAA"]
    assert (outcome["outcome"], outcome["why"]) == ("unchanged", "no new days")


def test_an_unknown_symbol_does_not_stop_the_others(tmp_path):
    yahoo = Yahoo("2024-06-03")
    yahoo.trouble = {"GONE": [NoPrices("possibly delisted")], "EMPTY": [NoPrices("no rows")]}
    outcomes = filled(yahoo, tmp_path, ["GONE", "AAA", "EMPTY", "BBB", "AAA"])
    assert outcomes["outcome"].to_dict() == {"GONE": "failed", "AAA": "new", "EMPTY": "failed", "BBB": "new"}
    assert outcomes.loc["GONE", "why"] == "possibly delisted"
    assert outcomes.loc["GONE", "n_bars"] == 0 and pd.isna(outcomes.loc["GONE", "last"])


def test_a_delisted_symbol_keeps_its_cached_prices(tmp_path):
    yahoo = Yahoo("2024-03-01")
    filled(yahoo, tmp_path)
    yahoo.trouble, yahoo.today = {"AAA": [NoPrices("possibly delisted")]}, pd.Timestamp("2024-09-02")
    outcome = filled(yahoo, tmp_path).loc["AAA"]
    assert (outcome["outcome"], outcome["why"]) == ("unchanged", "possibly delisted")
    assert len(cached(tmp_path)) == outcome["n_bars"] == 44


def test_limits_are_waited_out_with_growing_pauses(tmp_path):
    yahoo, waited = Yahoo("2024-06-03"), []
    yahoo.trouble = {"AAA": [Unreachable("limited")] * 3}
    assert filled(yahoo, tmp_path, wait=waited.append)["outcome"].tolist() == ["new"]
    assert waited == list(WAITS[:3]) and waited == sorted(waited)


def test_it_gives_up_when_nothing_answers_and_goes_on_from_there_next_time(tmp_path):
    yahoo, waited = Yahoo("2024-06-03"), []
    symbols = [f"S{i}" for i in range(8)]
    for symbol in symbols[2:]:
        yahoo.trouble[symbol] = [Unreachable("Yahoo limits the number of requests")] * 20
    outcomes = filled(yahoo, tmp_path, symbols, wait=waited.append)
    assert outcomes["outcome"].tolist() == ["new"] * 2 + ["failed"] * 6
    assert waited == list(WAITS)  # only the first of them was worth waiting for
    assert len(yahoo.calls) == 2 + len(WAITS) + 1 + (GIVE_UP_AFTER - 1)
    assert "not tried" in outcomes["why"].iloc[-1]
    yahoo.trouble, yahoo.calls = {}, []
    assert filled(yahoo, tmp_path, symbols)["outcome"].tolist() == ["unchanged"] * 2 + ["new"] * 6
    assert len(yahoo.calls) == 6


def test_without_a_network_it_stops_after_one_more_try_and_says_so_once(tmp_path):
    yahoo, waited = Yahoo("2024-06-03"), []
    symbols = [f"S{i}" for i in range(300)]
    yahoo.trouble = {symbol: [Offline("could not resolve host")] * 20 for symbol in symbols}
    outcomes = filled(yahoo, tmp_path, symbols, wait=waited.append)
    assert len(yahoo.calls) == 2 and waited == [WAITS[0]]
    assert (outcomes["outcome"] == "failed").all() and outcomes["why"].nunique() == 2
    assert outcomes["why"].iloc[0] == "no connection to Yahoo (could not resolve host)"


def test_a_connection_lost_on_the_way_is_waited_for(tmp_path):
    yahoo, waited = Yahoo("2024-06-03"), []
    yahoo.trouble = {"BBB": [Offline("reset")] * len(WAITS)}
    outcomes = filled(yahoo, tmp_path, ["AAA", "BBB", "CCC"], wait=waited.append)
    assert outcomes["outcome"].tolist() == ["new"] * 3 and waited == list(WAITS)


def test_an_interruption_leaves_whole_symbols_only(tmp_path):
    yahoo = Yahoo("2024-06-03")
    yahoo.trouble = {"CCC": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        filled(yahoo, tmp_path, ["AAA", "BBB", "CCC", "DDD"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AAA.parquet", "BBB.parquet"]
    assert filled(yahoo, tmp_path, ["AAA", "BBB", "CCC", "DDD"])["outcome"].tolist() == ["unchanged"] * 2 + ["new"] * 2


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    yahoo = Yahoo("2024-03-01")
    filled(yahoo, tmp_path)
    before = cache_file(tmp_path, "AAA").read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("clusterfolio.feeds.sources.yahoo_cache.pq.write_table", full_disk)
    yahoo.today = pd.Timestamp("2024-06-03")
    with pytest.raises(OSError, match="no space left"):
        filled(yahoo, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["AAA.parquet"]
    assert cache_file(tmp_path, "AAA").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense", None])
def test_a_damaged_file_is_fetched_anew(tmp_path, damage):
    yahoo = Yahoo("2024-06-03")
    filled(yahoo, tmp_path)
    path = cache_file(tmp_path, "AAA")
    if damage is None:
        pd.DataFrame({"close": [1.0]}).to_parquet(path)  # a Parquet file, but not one of ours
    else:
        path.write_bytes(damage)
    assert read_cached(path) is None
    assert filled(yahoo, tmp_path)["outcome"].tolist() == ["new"]


def test_progress_is_told_for_every_symbol(tmp_path):
    told = []
    filled(Yahoo("2024-06-03"), tmp_path, ["AAA", "BBB"], progress=lambda *what: told.append(what))
    assert told == [(0, 2, "AAA"), (1, 2, "BBB"), (2, 2, "")]


def test_symbols_with_awkward_characters_have_files_of_their_own(tmp_path):
    names = {cache_file(tmp_path, symbol).name for symbol in ("EURUSD=X", "^GSPC", "BRK-B", "7203.T", "A/B")}
    assert names == {"EURUSD%3DX.parquet", "%5EGSPC.parquet", "BRK-B.parquet", "7203.T.parquet", "A%2FB.parquet"}


def test_the_cache_can_be_moved_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CLUSTERFOLIO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "yahoo"
    monkeypatch.delenv("CLUSTERFOLIO_CACHE")
    assert cache_folder().name == "yahoo" and "clusterfolio" in str(cache_folder())


def test_reading_cuts_the_span_and_says_what_is_missing(tmp_path):
    yahoo = Yahoo("2024-06-03", currency="GBp")
    filled(yahoo, tmp_path, ["AAA", "BBB"])
    raw = read_yahoo(["BBB", "ZZZ", "AAA"], "2024-02-01", "2024-02-29", tmp_path, offline=True)
    assert list(raw.bars) == ["BBB", "AAA"] and not raw.simulated
    assert raw.bars["AAA"].currency == "GBp"
    assert [str(raw.bars["AAA"].frame.index[row].date()) for row in (0, -1)] == ["2024-02-01", "2024-02-29"]
    assert "adj_close" not in raw.bars["AAA"].frame.columns
    assert raw.verdicts == {"ZZZ": (ABSENT, "not in the Yahoo cache; fetch it")}
    raw = read_yahoo(["AAA"], "2025-02-01", cache_dir=tmp_path, offline=True)
    assert raw.verdicts["AAA"] == (ABSENT, "no prices in the span asked for; Yahoo has 2024-01-01 to 2024-05-31")


def test_reading_fetches_what_the_cache_lacks(tmp_path):
    yahoo = Yahoo("2024-12-31")
    yahoo.trouble = {"GONE": [NoPrices("possibly delisted")]}
    raw = read_yahoo(["AAA", "GONE"], START, "2024-06-28", tmp_path, download=yahoo)
    assert list(raw.bars) == ["AAA"] and raw.verdicts == {"GONE": (ABSENT, "possibly delisted")}
    assert raw.bars["AAA"].frame.index[-1] == pd.Timestamp("2024-06-28")


def test_a_later_split_changes_nothing_that_was_read_before_it(tmp_path):
    yahoo = Yahoo("2024-06-03", {"2024-07-01": 3.0}, {"2024-02-01": 1.0})
    filled(yahoo, tmp_path / "before")
    yahoo.today = pd.Timestamp("2024-12-31")
    filled(yahoo, tmp_path / "after")
    before, after = (
        read_yahoo(["AAA"], START, "2024-05-31", tmp_path / name, offline=True) for name in ("before", "after")
    )
    pd.testing.assert_frame_equal(before.bars["AAA"].frame, after.bars["AAA"].frame, rtol=1e-12)


def test_a_volume_that_is_always_zero_is_not_reported(tmp_path):
    yahoo = Yahoo("2024-06-03")
    yahoo.quoted["volume"] = 0.0
    filled(yahoo, tmp_path, ["EURUSD=X"])
    frame = read_yahoo(["EURUSD=X"], START, cache_dir=tmp_path, offline=True).bars["EURUSD=X"].frame
    assert "volume" not in frame.columns and "close" in frame.columns


def test_partial_unsorted_and_doubled_answers_are_put_in_order():
    days = pd.DatetimeIndex(["2024-01-03", "2024-01-02", "2024-01-03"], tz="Asia/Tokyo")
    frame = unadjusted(pd.DataFrame({"Close": [3.0, 2.0, 3.5]}, index=days))
    assert list(frame.columns) == ["close", "dividend", "split"]
    assert frame["close"].tolist() == [2.0, 3.5]
    assert frame.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]


def test_an_action_on_a_day_without_a_price_is_kept():
    days = pd.bdate_range("2024-01-01", periods=4)
    frame = unadjusted(pd.DataFrame({"Close": [8.0, np.nan, np.nan, 9.0], "Stock Splits": [0, 2, 0, 0]}, index=days))
    assert frame["split"].tolist() == [0, 2, 0] and frame["close"].tolist()[::2] == [16, 9]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"Open": [1.0]}, index=pd.DatetimeIndex(["2024-01-02"])),
        pd.DataFrame({"Close": [np.nan]}, index=pd.DatetimeIndex(["2024-01-02"])),
        pd.DataFrame({"Close": []}, index=pd.DatetimeIndex([])),
    ],
)
def test_an_answer_without_prices_is_a_failure_that_says_so(tmp_path, frame):
    outcome = fetch(["AAA"], START, cache_dir=tmp_path, download=lambda *_: Answer(frame), today="2024-06-03")
    assert outcome.loc["AAA", ["outcome", "why"]].tolist() == ["failed", "the answer holds no closing prices"]
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_however_often_it_is_updated_the_cache_holds_what_was_quoted(data):
    days = [str(day.date()) for day in pd.bdate_range("2024-01-10", "2024-12-20")]
    splits = data.draw(st.dictionaries(st.sampled_from(days), st.sampled_from([2.0, 0.1, 1.5]), max_size=3))
    paid = data.draw(st.dictionaries(st.sampled_from(days), st.floats(0.01, 3), max_size=3))
    yahoo = Yahoo("2024-02-01", splits, paid)
    with tempfile.TemporaryDirectory() as folder:
        for day in sorted(data.draw(st.lists(st.sampled_from(days), min_size=1, max_size=4, unique=True))):
            yahoo.today = pd.Timestamp(day)
            filled(yahoo, Path(folder))
        frame = cached(Path(folder))
        expected = yahoo.quoted.loc[: yahoo.today - pd.Timedelta(days=1)]
        assert list(frame.index) == list(expected.index)
        for name in ("close", "dividend", "split"):
            np.testing.assert_allclose(frame[name], expected[name], rtol=1e-9, atol=0)


# What yfinance makes of Yahoo's own words, with the network replaced by these.


def chart(symbol: str, **replaced) -> dict:
    """An answer of the chart service, shortened: five days of which the third has a split, the second a dividend."""
    days = pd.date_range("2024-06-05 13:30", periods=5, freq="D")
    stamps = [int(day.timestamp()) for day in days]
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "firstTradeDate": 917015400,
        "regularMarketTime": stamps[-1],
        "gmtoffset": -14400,
        "timezone": "EDT",
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": 12.0,
        "priceHint": 2,
        "dataGranularity": "1d",
        "validRanges": ["1d", "5d", "max"],
    }
    prices = {"open": [11.0] * 5, "high": [13.0] * 5, "low": [10.0] * 5, "close": [12.0] * 5, "volume": [400] * 5}
    result = {
        "meta": meta | replaced.pop("meta", {}),
        "timestamp": stamps,
        "events": {
            "dividends": {str(stamps[1]): {"amount": 0.01, "date": stamps[1]}},
            "splits": {str(stamps[2]): {"date": stamps[2], "numerator": 10, "denominator": 1, "splitRatio": "10:1"}},
        },
        "indicators": {"quote": [prices], "adjclose": [{"adjclose": [1.0] * 5}]},
    }
    return {"chart": {"result": [result | replaced], "error": None}}


class Recorded(requests.Session):
    """A session that never leaves the machine."""

    def __init__(self, answer, status: int = 200):
        super().__init__()
        self.answer, self.status, self.asked = answer, status, []

    def get(self, url, params=None, **kwargs):
        self.asked.append((url, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        response = requests.Response()
        response.status_code = self.status
        response.url = url
        response._content = (json.dumps(self.answer) if not isinstance(self.answer, str) else self.answer).encode()
        return response


@pytest.fixture(autouse=True)
def yfinance_keeps_its_own_cache_here(tmp_path_factory):
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


def test_a_recorded_answer_becomes_what_was_quoted():
    session = Recorded(chart("TSTA"))
    answer = from_yahoo("TSTA", pd.Timestamp("2024-06-05"), session)
    frame = unadjusted(answer.frame)
    assert answer.currency == "USD"
    assert frame["close"].tolist() == [120.0, 120.0, 12.0, 12.0, 12.0]
    assert frame["volume"].tolist() == [40.0, 40.0, 400.0, 400.0, 400.0]
    assert frame["dividend"].tolist() == pytest.approx([0, 0.1, 0, 0, 0])
    assert frame["split"].tolist() == [0, 0, 10, 0, 0]
    assert [str(day.date()) for day in frame.index[[0, -1]]] == ["2024-06-05", "2024-06-09"]


def test_pence_are_told_from_pounds():
    answer = from_yahoo("TSTB.L", pd.Timestamp("2024-06-05"), Recorded(chart("TSTB.L", meta={"currency": "GBp"})))
    assert answer.currency == "GBp"


def test_an_unknown_symbol_is_no_network_failure():
    error = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, delisted"}}}
    with pytest.raises(NoPrices):
        from_yahoo("TSTC", pd.Timestamp("2024-06-05"), Recorded(error, 404))


@pytest.mark.parametrize(
    ("answer", "status"),
    [("Too Many Requests", 429), ("<html>down</html>", 503), (requests.ConnectionError("no route"), 0), ("", 200)],
)
def test_limits_outages_and_garbled_answers_are_temporary(answer, status):
    symbol = f"TSTD{status}"
    with pytest.raises(Unreachable) as raised:
        from_yahoo(symbol, pd.Timestamp("2024-06-05"), Recorded(answer, status))
    assert isinstance(raised.value, Offline) is (status == 0)


def test_how_yfinance_reports_errors_is_left_as_it_was():
    import yfinance

    before = yfinance.config.debug.hide_exceptions
    with pytest.raises(Unreachable):
        from_yahoo("TSTE", pd.Timestamp("2024-06-05"), Recorded("Too Many Requests", 429))
    assert yfinance.config.debug.hide_exceptions is before
