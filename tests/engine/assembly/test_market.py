"""What is loaded for a run, and what is said about it."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.assembly.market import load_market, read_source, universe_symbols
from clusterfolio.engine.config.run import make_config
from clusterfolio.engine.leakage.of_run import RunHistories
from clusterfolio.engine.run_dir.remarks import grouped, line
from clusterfolio.feeds.calendar import sessions
from clusterfolio.feeds.doubts import calendar_doubt
from clusterfolio.feeds.raw import DataError

START, END = "2023-06-01", "2024-12-31"


def prices(folder, calendar="XNYS", **spans):
    """A CSV file per symbol; a span is ``(first day, last day)``, None = as far as there are days."""
    folder.mkdir(exist_ok=True)
    days = sessions(calendar, pd.Timestamp(START), pd.Timestamp(END))
    for number, (symbol, (first, last)) in enumerate(spans.items()):
        rng = np.random.default_rng(number)
        close = 50 * np.exp(rng.normal(0.0003, 0.01, len(days)).cumsum())
        frame = pd.DataFrame({"Close": close, "Volume": 1e5}, index=days.rename("Date")).loc[first:last]
        frame.to_csv(folder / f"{symbol}.csv")
    return folder


def config(folder, **sections):
    data = {"source": "files", "path": [str(folder)]} | sections.pop("data", {})
    dates = {"train_start": "2023-09-01", "train_end": "2023-12-29", "start": "2024-01-02"} | sections.pop("dates", {})
    return make_config({"data": data, "dates": dates} | sections)


def dying(folder):
    """Eight of ten assets stop trading one by one in 2024."""
    ends = {f"A{i}": (None, f"2024-{2 + i:02d}-15" if i < 8 else None) for i in range(10)}
    return prices(folder, SPY=(None, None), **ends)


def test_an_end_that_is_asked_for_is_kept_to_whoever_stops_trading(tmp_path):
    market = load_market(config(dying(tmp_path / "data"), dates={"end": "2024-11-29"}))
    assert market.panel.sessions[-1] == pd.Timestamp("2024-11-29") and market.notes == ()


def test_the_end_of_its_own_is_said_with_what_it_leaves_out(tmp_path):
    market = load_market(config(dying(tmp_path / "data")))
    last = market.panel.sessions[-1]
    assert last == pd.Timestamp("2024-03-15")
    (note,) = market.notes
    later = len(sessions("XNYS", last, pd.Timestamp("2024-12-31"))) - 1
    assert f"ends on {last.date()}" in note and f"{later} later sessions" in note and "--end" in note
    assert "to 2024-12-31, on which 3 of 11 symbols trade" in note


def test_an_end_beyond_the_prices_is_said(tmp_path):
    folder = prices(tmp_path / "data", SPY=(None, None), AAA=(None, None), BBB=(None, None))
    (note,) = load_market(config(folder, dates={"end": "2025-06-30"})).notes
    assert "ends on 2024-12-31, where the prices end; 2025-06-30 was asked for" in note
    assert load_market(config(folder)).notes == ()


@pytest.mark.parametrize(
    ("span", "dates", "said"),
    [
        (("2024-03-01", None), {}, "begins on 2024-03-.., inside or after the test.*2023-12-29.*--start.*--benchmark"),
        (("2024-01-02", None), {}, "begins on 2024-01-.."),  # on the first session its return is not known
        ((None, "2024-10-31"), {"end": "2024-12-31"}, "ends on 2024-10-31, 41 sessions before.*--end 2024-10-31"),
    ],
)
def test_a_benchmark_that_lacks_part_of_the_test_is_refused_at_load(tmp_path, span, dates, said):
    folder = prices(tmp_path / "data", SPY=span, AAA=(None, None), BBB=(None, None))
    with pytest.raises(DataError, match=said):
        load_market(config(folder, dates=dates))


def test_pairs_convert_and_are_held_only_where_they_are_named(tmp_path):
    folder = prices(tmp_path / "data", SPY=(None, None), AAA=(None, None), BBB=(None, None), **{"JPY=X": (None, None)})
    market = load_market(config(folder))
    assert "JPY=X" not in market.panel.symbols
    assert market.verdicts.loc["JPY=X", "verdict"] == "exchange rate"
    assert "--include" in market.verdicts.loc["JPY=X", "why"]
    assert "not held" in line(grouped(market.verdicts)[-1])  # at the end of a run too
    assert "JPY=X" in load_market(config(folder, data={"include": ["JPY=X"]})).panel.tradable
    mine = tmp_path / "mine.csv"
    mine.write_text("symbol\nAAA\nBBB\nJPY=X\n", encoding="utf-8")
    assert "JPY=X" in load_market(config(folder, data={"universe": str(mine)})).panel.tradable
    named = universe_symbols(make_config({"data": {"source": "yahoo", "universe": "seed"}}))
    by_default = universe_symbols(make_config({"data": {"source": "yahoo"}}))
    assert any(name.endswith("=X") for name in named) and not any(name.endswith("=X") for name in by_default)


def test_prices_of_another_exchange_than_the_calendars_are_doubted_and_the_one_that_fits_is_named(tmp_path):
    folder = prices(tmp_path / "data", "XKRX", **dict.fromkeys(("069500", "005930", "000660"), (None, None)))
    doubted = load_market(config(folder, data={"benchmark": "069500"})).verdicts.loc["069500"]
    remark = doubted["remarks"][-1]
    assert remark.nature == "doubted" and "data.calendar XNYS" in remark.kind and "XKRX fits" in remark.text
    assert str(remark) in doubted["why"]
    at_home = load_market(config(folder, data={"benchmark": "069500", "calendar": "XKRX"}))
    assert "calendar" not in at_home.verdicts.loc["069500", "why"]


def test_days_that_were_lost_are_no_other_calendar():
    days = sessions("XNYS", pd.Timestamp(START), pd.Timestamp(END))
    assert calendar_doubt("SPY", days.delete(slice(100, 160)), "XNYS") is None
    assert calendar_doubt("BTC-USD", pd.date_range(START, END), "XNYS").text.endswith("24/7 fits")


@pytest.mark.parametrize(("currency", "said"), [("WON", "is KRW meant"), ("US", "a code such as USD"), ("eur", None)])
def test_a_currency_that_is_none_is_refused_before_anything_is_read(tmp_path, currency, said):
    if said is None:
        assert config(tmp_path, data={"currency": currency}).data.currency == currency
        return
    with pytest.raises(ValueError, match=said):
        config(tmp_path, data={"currency": currency})


def test_the_leakage_check_gives_the_list_of_members_another_future_too(tmp_path):
    folder = prices(tmp_path / "data", SPY=(None, None), AAA=(None, None), BBB=(None, None), CCC=(None, None))
    members = tmp_path / "members.csv"
    members.write_text(
        "symbol,from,to\nAAA,2024-03-01,\nBBB,2023-01-03,2024-05-01\nCCC,2024-09-03,\n", encoding="utf-8"
    )
    settings = config(folder, data={"membership": str(members)})
    histories = RunHistories(settings, read_source(settings, None), None, tmp_path)
    day = pd.Timestamp("2024-04-15")
    truth, other = (histories.build(*how).panel.member for how in ((None, None, 0), ("listed", day, 1)))
    pd.testing.assert_frame_equal(truth.loc[:day], other.loc[:day, truth.columns])
    assert truth.loc["2024-05-01":, "BBB"].sum() == 0 and other.loc["2024-05-01":, "BBB"].all()
    assert truth.loc["2024-09-03", "CCC"] and not other.loc["2024-09-03", "CCC"]


def test_whole_shares_name_what_has_no_market_price(tmp_path):
    folder = prices(tmp_path / "prices", SPY=(None, None), A=(None, None), B=(None, None))
    alone = pd.read_csv(folder / "A.csv").rename(columns={"Close": "Adj Close"})
    alone.to_csv(folder / "A.csv", index=False)
    whole = load_market(config(folder, data={"benchmark": "SPY"}, trading={"fractional": False}))
    assert any(note.startswith("1 of 3 symbols have adjusted prices only (A)") for note in whole.notes)
    assert not any("adjusted prices" in note for note in load_market(config(folder, data={"benchmark": "SPY"})).notes)
