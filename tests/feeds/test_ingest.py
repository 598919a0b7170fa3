"""Raw bars into a panel: alignment, currency, verdicts, and nothing of the future."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.bt_feed import terminal_bars
from clusterfolio.feeds.calendar import last_common_session
from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.panel import FIELDS, Panel
from clusterfolio.feeds.raw import MENDED, DataError, RawBars, RawData, Remark
from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.test_quality import walk

DAYS = pd.bdate_range("2024-01-01", periods=60)


def raw_data(**bars) -> RawData:
    """SPY, AAA and what is given: frames or (frame, currency)."""
    given = {"SPY": walk(seed=1), "AAA": walk(seed=2)} | bars
    return RawData({s: RawBars(*b) if isinstance(b, tuple) else RawBars(b) for s, b in given.items()})


def rate(value: float) -> pd.DataFrame:
    return pd.DataFrame({"close": np.full(60, value)}, index=DAYS)


def test_columns_follow_the_order_asked_for_and_the_benchmark_comes_last():
    panel, verdicts = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY", symbols=["BBB", "COW", "AAA", "BBB"])
    assert list(panel.symbols) == ["BBB", "AAA", "SPY"]
    assert list(panel.tradable) == ["BBB", "AAA"]
    assert verdicts["verdict"].to_dict() == {"BBB": "used", "COW": "absent", "AAA": "used", "SPY": "used"}
    assert list(verdicts.columns) == ["verdict", "why", "remarks"] and verdicts.index.name == "symbol"


def test_a_benchmark_of_the_universe_may_be_held():
    panel, _ = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY")
    assert list(panel.symbols) == list(panel.tradable) == ["SPY", "AAA", "BBB"]


def test_every_asset_keeps_its_own_days():
    coin = pd.DataFrame({"close": np.arange(1.0, 15.0)}, index=pd.date_range("2024-01-01", periods=14))
    panel, verdicts = build_panel(raw_data(**{"BTC-USD": coin}), benchmark="SPY")
    saturday = pd.Timestamp("2024-01-06")
    assert panel.close["BTC-USD"].loc[saturday] == 6.0 and np.isnan(panel.close["SPY"].loc[saturday])
    assert saturday not in panel.sessions and pd.Timestamp("2024-01-01") not in panel.sessions
    assert "no volume" in verdicts.loc["BTC-USD", "why"] and "without a range" in verdicts.loc["BTC-USD", "why"]


def test_prices_arrive_in_the_accounts_currency():
    bars = {"VOD.L": walk(seed=3), "SAP": (walk(seed=4), "EUR"), "JPY=X": rate(150.0), "GBPUSD=X": rate(1.25)}
    panel, _ = build_panel(raw_data(**bars, **{"EURUSD=X": rate(1.1)}), benchmark="SPY")
    assert panel.close["VOD.L"].to_numpy() == pytest.approx(walk(seed=3)["close"].to_numpy()[1:] * 0.0125)
    assert panel.close["SAP"].to_numpy() == pytest.approx(walk(seed=4)["close"].to_numpy()[1:] * 1.1)
    assert panel.close["JPY=X"].to_numpy() == pytest.approx(1 / 150)
    assert panel.assets["name"]["JPY=X"] == "USD/JPY sold (long JPY)"
    assert panel.assets.loc[["VOD.L", "SAP", "JPY=X", "AAA"], "currency"].tolist() == ["GBp", "EUR", "JPY", "USD"]


def test_rates_need_not_be_in_the_universe():
    raw = raw_data(SAP=(walk(seed=4), "EUR"), **{"EURUSD=X": rate(1.1)})
    panel, _ = build_panel(raw, benchmark="SPY", symbols=["SAP", "AAA"])
    assert "EURUSD=X" not in panel.symbols and panel.close["SAP"].iloc[0] > walk(seed=4)["close"].iloc[1]


def test_the_universe_tells_a_currency_that_the_source_does_not():
    known = pd.DataFrame({"currency": ["EUR", "USD", "USD"], "asset_class": "equity"}, index=["SAP", "SPY", "AAA"])
    raw = raw_data(SAP=walk(seed=4), **{"EURUSD=X": rate(1.25)})
    panel, verdicts = build_panel(raw, benchmark="SPY", symbols=["SAP", "AAA"], currency="EUR", known=known)
    assert panel.close["SAP"].loc[DAYS[5]] == walk(seed=4)["close"].iloc[5]
    assert panel.close["SPY"].loc[DAYS[5]] == pytest.approx(walk(seed=1)["close"].iloc[5] / 1.25)
    assert panel.currency == "EUR" and panel.assets.loc["SAP", "asset_class"] == "equity"
    assert not verdicts["why"].str.contains("not stated").any()


def dropped_without_a_rate(raw, **span) -> str:
    """Why the one symbol with a foreign currency is dropped, while the run goes on."""
    panel, verdicts = build_panel(raw, benchmark="SPY", **span)
    (symbol,) = verdicts.index[verdicts["verdict"] == "dropped"]
    assert symbol in ("7203.T", "SAP") and symbol not in panel.symbols and len(panel.symbols) == 3
    return verdicts.why[symbol]


def test_a_symbol_whose_rate_is_missing_is_dropped_and_what_would_serve_is_named():
    why = dropped_without_a_rate(raw_data(BBB=walk(seed=5), **{"7203.T": walk(seed=3)}))
    assert why.startswith("no exchange rate into USD for JPY: add JPY=X or JPYUSD=X")


def test_a_symbol_whose_rate_ends_before_its_bars_is_dropped():
    ends = raw_data(BBB=walk(seed=5), SAP=(walk(seed=4), "EUR"), **{"EURUSD=X": rate(1.1).iloc[:30]})
    ends.bars.pop("AAA")
    ends.bars["CCC"] = RawBars(walk(seed=6))
    asked = ["BBB", "CCC", "SAP"]
    assert "for EUR after 2024-02-16: add EURUSD=X" in dropped_without_a_rate(ends, symbols=asked)
    assert "for EUR: add EURUSD=X" in dropped_without_a_rate(ends, symbols=asked, start=DAYS[40])
    panel, verdicts = build_panel(ends, benchmark="SPY", symbols=asked, end=DAYS[34])
    assert panel.close["SAP"].notna().sum() == 34 and verdicts.loc["SAP", "verdict"] == "used"


def test_a_run_that_only_lacks_rates_says_which():
    with pytest.raises(DataError, match=r"too few assets: .*7203\.T dropped \(no exchange rate into USD for JPY: add"):
        build_panel(raw_data(**{"7203.T": walk(seed=3)}), benchmark="SPY", symbols=["7203.T"])


def test_a_coin_quoted_in_another_is_converted_by_that_ones_price():
    coins = {"ETH-BTC": walk(seed=3), "BTC-USD": rate(50_000.0), "BBB": walk(seed=5)}
    panel, _ = build_panel(raw_data(**coins), benchmark="SPY")
    assert panel.close["ETH-BTC"].loc[DAYS[5]] == pytest.approx(walk(seed=3)["close"].iloc[5] * 50_000)
    del coins["BTC-USD"]
    _, verdicts = build_panel(raw_data(**coins), benchmark="SPY")
    assert verdicts.loc["ETH-BTC", "why"].startswith("no exchange rate into USD for BTC: add BTC-USD")


def test_an_odd_currency_drops_its_symbol_and_not_the_run():
    _, verdicts = build_panel(raw_data(BBB=(walk(seed=3), "FLORIN"), CCC=walk(seed=4)), benchmark="SPY")
    assert verdicts.verdict["BBB"] == "dropped" and "got 'FLORIN'" in verdicts.why["BBB"]


def test_an_absent_benchmark_names_what_was_found_and_what_was_passed_over():
    raw = raw_data(**{"069500": walk(seed=3)})
    raw.verdicts["prices.xyz"] = ("passed over", "not a table")
    with pytest.raises(DataError, match=r"--benchmark; is 069500 meant\?.*found: SPY, AAA.*prices.xyz passed over"):
        build_panel(raw, benchmark="69500")


def test_a_rate_may_lag_a_few_days_and_the_asset_is_not_called_stopped():
    lagging = {"SAP": (walk(seed=4), "EUR"), "EURUSD=X": rate(1.1).iloc[:50]}
    _, verdicts = build_panel(raw_data(**lagging), benchmark="SPY")
    assert "bars without a EUR rate left out: 5" in verdicts.loc["SAP", "why"]
    assert "stopped trading" not in verdicts.loc["SAP", "why"]


def test_an_unknown_currency_is_said():
    _, verdicts = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY")
    assert "currency not stated, taken as USD" in verdicts.loc["BBB", "why"]


def test_a_currency_told_by_the_ending_alone_is_said():
    bars = {"VOD.L": walk(seed=3), "SHEL.L": (walk(seed=4), "GBp"), "GBPUSD=X": rate(1.25)}
    _, verdicts = build_panel(raw_data(**bars), benchmark="SPY")
    (remark,) = verdicts.remarks["VOD.L"]
    assert remark.nature == "guessed" and "GBp, as of listings that end in .L" in verdicts.why["VOD.L"]
    assert verdicts.remarks["SHEL.L"] == ()
    (remark,) = verdicts.remarks["AAA"]
    assert remark.nature == "guessed" and remark.kind == "currency not stated, taken as USD"


def test_an_absent_benchmark_is_refused_before_anything_is_cleaned(monkeypatch):
    monkeypatch.setattr("clusterfolio.feeds.ingest.clean", None)
    with pytest.raises(DataError, match="benchmark 'QQQ'"):
        build_panel(raw_data(), benchmark="QQQ")


def test_no_usable_bar_is_the_only_reason_to_drop():
    broken = walk(seed=3).assign(close=np.nan)
    late_mess = walk(seed=4)
    late_mess.iloc[30:, :4] = -1.0
    others = {f"S{i}": walk(seed=10 + i) for i in range(9)}
    panel, verdicts = build_panel(raw_data(BAD=broken, MESS=late_mess, **others), benchmark="SPY")
    assert verdicts.loc["BAD", "verdict"] == "dropped" and "BAD" not in panel.symbols
    assert verdicts.loc["MESS", "verdict"] == "repaired" and panel.close["MESS"].notna().sum() == 29
    assert "stopped trading 29 sessions before" in verdicts.loc["MESS", "why"]


@pytest.mark.parametrize("name", ["CASH", "Cash"])
def test_an_asset_that_bears_the_name_of_the_money_is_dropped_and_told_so(name):
    panel, verdicts = build_panel(raw_data(**{name: walk(seed=3)}, BBB=walk(seed=4)), benchmark="SPY")
    assert name not in panel.symbols and list(panel.tradable) == ["SPY", "AAA", "BBB"]
    said = "CASH is the name of the account's money here; give the asset another name in the universe file or the"
    assert verdicts.loc[name, "verdict"] == "dropped" and verdicts.loc[name, "why"] == f"{said} file name"
    with pytest.raises(DataError, match=r"benchmark .* cannot be used \(dropped: CASH is the name"):
        build_panel(raw_data(**{name: walk(seed=3)}), benchmark=name)


def test_a_panel_made_by_hand_has_no_asset_that_bears_the_name_of_the_money():
    panel, _ = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY")
    named = {field: getattr(panel, field).rename(columns={"BBB": "cash"}) for field in FIELDS}
    with pytest.raises(ValueError, match=r"panel.close: a column called CASH: .* the account's money"):
        Panel(**named, assets=panel.assets.rename(index={"BBB": "cash"}), sessions=panel.sessions, benchmark="SPY")


def test_repairs_are_counted_in_words():
    spiked = walk(seed=3)
    spiked.iloc[40, :4] *= 10
    _, verdicts = build_panel(raw_data(BBB=spiked), benchmark="SPY")
    assert verdicts.loc["BBB", "verdict"] == "repaired"
    assert "suspect bars withheld 2024-02-26 x10" in verdicts.loc["BBB", "why"]


def other_company(seed: int = 3) -> pd.DataFrame:
    """A series that goes on as another company after its 30th row, sixteen months later."""
    later = walk(seed=seed + 50) * [5.0, 5.0, 5.0, 5.0, 1.0]
    rows = pd.concat([walk(seed=seed).iloc[:30], later.iloc[:30]])
    return rows.set_axis(DAYS[:30].append(pd.bdate_range("2025-06-02", periods=30)))


def test_a_level_that_nothing_explains_begins_a_history_of_its_own():
    long = {"SPY": walk(420, seed=1), "AAA": walk(420, seed=2), "OLD": (other_company(), "USD")}
    panel, verdicts = build_panel(raw_data(**long), benchmark="SPY")
    first, second = panel.close["OLD"].dropna(), panel.close["OLD~2"].dropna()
    assert first.index[-1] == DAYS[29] and first.iloc[-1] == other_company()["close"].iloc[29]
    assert second.index[0] == pd.Timestamp("2025-06-16") and second.iloc[0] == other_company()["close"].iloc[40]
    assert list(panel.symbols) == ["SPY", "AAA", "OLD", "OLD~2"] and "OLD~2" in panel.tradable
    assert "price level breaks 2025-06-02 x" in verdicts.loc["OLD", "why"]
    exits = terminal_bars(panel).set_index("symbol")  # who holds it leaves at the last believed close
    assert exits.loc["OLD", "price"] == first.iloc[-1]
    day = pd.Timestamp("2025-06-10")
    short = {name: frame.loc[:day] for name, frame in long.items() if name != "OLD"}
    before, _ = build_panel(raw_data(**short, OLD=other_company().loc[:day]), benchmark="SPY")
    pd.testing.assert_frame_equal(panel.until(day).close[before.symbols], before.close, check_exact=True)


def test_a_benchmark_is_not_measured_over_a_break():
    with pytest.raises(DataError, match=r"benchmark 'OLD' cannot be measured across price level breaks 2025-06-02"):
        build_panel(raw_data(OLD=other_company()), benchmark="OLD")


def test_without_its_benchmark_or_with_too_few_assets_there_is_no_panel():
    with pytest.raises(DataError, match="benchmark 'QQQ' cannot be used"):
        build_panel(raw_data(), benchmark="QQQ")
    with pytest.raises(DataError, match=r"too few assets: 1 usable .* COW absent"):
        build_panel(raw_data(), benchmark="SPY", symbols=["AAA", "COW"])


def test_a_span_is_cut_after_cleaning():
    whole, _ = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY")
    part, _ = build_panel(raw_data(BBB=walk(seed=3)), benchmark="SPY", start=DAYS[30], end=DAYS[40])
    assert part.dates.equals(DAYS[30:41])
    pd.testing.assert_frame_equal(part.close, whole.close.loc[DAYS[30] : DAYS[40]], check_freq=False)


def test_bars_dated_after_today_are_left_out():
    future = pd.concat([walk(seed=3), walk(seed=3).iloc[-1:].set_axis(pd.DatetimeIndex(["2190-01-01"]))])
    panel, _ = build_panel(raw_data(BBB=future), benchmark="SPY")
    assert panel.dates[-1] == DAYS[-1]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_the_sources_later_the_panel_until_then_is_the_same(seed):
    rng = np.random.default_rng(seed)
    cut = DAYS[40]
    bars = {"BBB": walk(seed=3), "SAP": (walk(seed=4), "EUR"), "EURUSD=X": rate(1.1), "CCC": walk(seed=5)}
    bars["BBB"]["split"], bars["BBB"]["dividend"] = 0.0, 0.0

    def poisoned(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        later = frame.index > cut
        frame.loc[later] *= rng.choice([1000.0, -1.0, np.nan, 0.5])
        if "split" in frame:
            frame.loc[later, "split"] = 2.0
        return pd.concat([frame, frame[later].iloc[::2]])

    changed = {s: (poisoned(b[0]), b[1]) if isinstance(b, tuple) else poisoned(b) for s, b in bars.items()}
    changed["NEW"] = walk(seed=6).loc[DAYS[45] :]
    changed["SPY"], changed["AAA"] = poisoned(walk(seed=1)), poisoned(walk(seed=2))
    before, _ = build_panel(raw_data(**bars), benchmark="SPY")
    after, _ = build_panel(raw_data(**changed), benchmark="SPY")
    for name in ("open", "high", "low", "close", "volume"):
        left, right = getattr(before.until(cut), name), getattr(after.until(cut), name)[before.symbols]
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert before.until(cut).sessions.equals(after.until(cut).sessions)


def test_what_a_source_remarks_on_a_symbol_stands_in_its_verdict():
    remarks = [
        Remark("BBB", "another unit undone", DAYS[3], 0.01, nature=MENDED),
        Remark("AAA", "zone guessed", text="New York"),
        Remark("COW", "intraday bars"),
    ]
    raw = raw_data(BBB=walk(seed=3))
    raw = RawData(raw.bars, verdicts={"COW": ("dropped", "intraday bars")}, remarks=remarks)
    _, verdicts = build_panel(raw, benchmark="SPY")
    assert (
        verdicts.loc["BBB", "verdict"] == "repaired" and "another unit undone 2024-01-04 x0.01" in verdicts.why["BBB"]
    )
    assert verdicts.loc["AAA", "verdict"] == "used" and "zone guessed: New York" in verdicts.why["AAA"]
    said = {name: [one for one in verdicts.remarks[name] if one in remarks] for name in ("BBB", "AAA", "COW", "SPY")}
    assert said == {"BBB": remarks[:1], "AAA": remarks[1:2], "COW": remarks[2:], "SPY": []}


def test_what_lies_outside_the_span_of_a_run_is_not_told_of_it():
    raw = raw_data(BBB=walk(seed=3))
    early, late = (Remark("BBB", "another unit undone", DAYS[at], 0.01, nature=MENDED) for at in (3, 35))
    raw = RawData(raw.bars, remarks=[early, late])
    _, verdicts = build_panel(raw, benchmark="SPY", start=DAYS[30], end=DAYS[40])
    assert late in verdicts.remarks["BBB"] and early not in verdicts.remarks["BBB"]
    assert (
        "bars without a range (open = high = low = close): 11"
        in build_panel(raw_data(BBB=walk(seed=3)[["close"]]), benchmark="SPY", start=DAYS[30], end=DAYS[40])[1].why[
            "BBB"
        ]
    )


def test_the_published_universe_on_real_prices(real_data):
    listed = pd.read_csv(real_data / "symbols.csv", keep_default_na=False)
    absent = ["COW", "JO", "SGG", "BAL", "JJN"]
    symbols = [*listed.loc[listed["in_seed_list"], "symbol"], *absent]
    panel, verdicts = build_panel(read_files([real_data], symbols), benchmark="SPY", symbols=symbols)
    asked = verdicts.loc[symbols, "verdict"]
    assert asked.isin(["used", "repaired"]).sum() == 294 and list(asked.index[asked == "absent"]) == absent
    closes = panel.session_closes()["SPY"]
    by_year = closes.groupby(closes.index.year).last().pct_change()
    assert by_year.loc[[2023, 2024, 2025]].round(3).tolist() == [0.262, 0.249, 0.177]
    assert last_common_session(panel.close, panel.sessions, panel.close["SPY"]) == pd.Timestamp("2026-03-25")
    assert verdicts.loc["SPY", "verdict"] == "used"
    assert panel.close["ZAR=X"].loc["2008-10-15"] == pytest.approx(1 / 10.6013)  # a true fall of the rand
    assert panel.close["MMC"].notna().any() and panel.close["BRK-B"].notna().sum() > 4000


def test_a_day_that_ends_at_another_hour_is_said_and_can_be_lagged():
    daily = pd.date_range("2024-01-01", periods=80)
    coin = pd.DataFrame({"close": np.linspace(100, 140, 80)}, daily)
    raw = raw_data(
        BBB=(walk(seed=3), "EUR"), **{"BTC-USD": coin, "EURUSD=X": rate(1.1) * np.linspace(1, 1.2, 60)[:, None]}
    )
    panel, verdicts = build_panel(raw, benchmark="SPY")
    assert "another hour than the sessions" in verdicts.why["BTC-USD"]
    known = pd.DataFrame({"asset_class": ["crypto"]}, index=["BTC-USD"])
    later, verdicts = build_panel(raw, benchmark="SPY", known=known, lagged=("crypto", "forex"))
    assert "lagged a bar" in verdicts.why["BTC-USD"]
    for name, before, after in (("BTC-USD", daily[40], daily[41]), ("BBB", DAYS[40], DAYS[40])):
        assert later.close[name].loc[after] < panel.close[name].loc[after]
        if name == "BTC-USD":
            assert later.close[name].loc[after] == panel.close[name].loc[before]
