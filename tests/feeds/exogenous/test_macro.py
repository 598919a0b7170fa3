import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterfolio.feeds.exogenous.macro import (
    CHANNELS,
    PRESETS,
    CashConfig,
    cash_returns,
    channel_names,
    find_macro_file,
    macro_channels,
    read_macro_series,
)
from clusterfolio.feeds.exogenous.publication import ALIASES, PUBLICATION_LAG, by_date, known_on
from tests.conftest import make_panel, random_closes


@pytest.fixture
def panel():
    return make_panel(random_closes(20, ["SPY", "BIL"], start="2024-01-01"))


def macro_file(folder, rows):
    path = folder / "macro.csv"
    pd.DataFrame(rows, columns=["date", "series", "value"]).to_csv(path, index=False)
    return path


def test_a_constant_is_spread_over_the_sessions_of_a_year(panel):
    cash, said = cash_returns(panel, CashConfig(source="constant", rate=0.0252))
    assert cash.tolist() == pytest.approx([0.0001] * 20) and said == "a constant 2.52 % a year"


def test_a_rate_accrues_over_calendar_days_from_the_day_it_was_published(panel, tmp_path):
    macro_file(tmp_path, [("2023-12-01", "DFF", 3.6), ("2024-01-04", "DFF", 7.2)])
    cash, said = cash_returns(panel, CashConfig(), (str(tmp_path),))
    assert said == "DFF (macro.csv), as published"
    assert cash["2024-01-05"] == pytest.approx(0.036 / 360)  # dated the Thursday, known four days later
    assert cash["2024-01-08"] == pytest.approx(3 * 0.036 / 360)  # Monday: three days at the rate known on Friday
    assert cash["2024-01-09"] == pytest.approx(0.072 / 360)


def test_what_is_published_after_a_close_changes_nothing_that_the_next_session_pays(panel, tmp_path):
    day, before = pd.Timestamp("2024-01-16"), [("2023-12-01", "DFF", 3.6), ("2024-01-08", "DFF", 5.4)]
    published = [stamp for stamp in panel.sessions if (known_on("DFF", pd.DatetimeIndex([stamp])) > day).all()]
    found = []
    for number, rate in enumerate((5.4, 90.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        macro_file(folder, [*before, (str(published[0].date()), "DFF", rate)])
        found.append(cash_returns(panel, CashConfig(), (str(folder),))[0])
    differs = found[0] != found[1]
    following = panel.sessions[panel.sessions > day]
    assert not differs[: following[0]].any() and differs[following[-1]]


def test_a_bill_fund_gives_its_own_returns_once_they_are_known(panel):
    cash, said = cash_returns(panel, CashConfig(source="fund", fund="BIL"))
    expected = panel.close["BIL"].pct_change().shift(1).fillna(0.0)
    np.testing.assert_allclose(cash.to_numpy(), expected.to_numpy())
    assert said == "the returns of BIL, a session later"


def test_without_a_macro_file_auto_is_the_constant(panel, tmp_path):
    assert find_macro_file(None, (str(tmp_path),)) is None
    assert cash_returns(panel, CashConfig(), (str(tmp_path),))[1].startswith("a constant")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CashConfig(source="fund", fund="SHV"), "cash.fund: 'SHV' is not among the panel's symbols"),
        (CashConfig(source="macro"), "cash.path: no macro file"),
        (CashConfig(source="macro", path="/no/such.csv"), "cash.path: no file at /no/such.csv"),
    ],
)
def test_what_is_not_there_is_named(panel, config, message):
    with pytest.raises(ValueError, match=message):
        cash_returns(panel, config)


def test_a_series_whose_publication_is_unknown_or_that_is_absent_is_refused(tmp_path):
    path = macro_file(tmp_path, [("2024-01-01", "CPIAUCSL", 300.0)])
    with pytest.raises(ValueError, match=r"'DFF' is not in macro\.csv; it has CPIAUCSL"):
        read_macro_series(path, "DFF")
    with pytest.raises(ValueError, match="'CPIAUCSL' is no rate that cash earns"):
        read_macro_series(path, "CPIAUCSL")


@pytest.mark.parametrize("kwargs", [{"source": "bank"}, {"source": "fund"}])
def test_wrong_settings_are_named(kwargs):
    with pytest.raises(ValueError, match=r"cash\.(source|fund)"):
        CashConfig(**kwargs)


# Channels ---------------------------------------------------------------------------------------------------------


def monthly(values, start="2022-01-01"):
    return pd.Series(np.asarray(values, dtype=float), pd.date_range(start, periods=len(values), freq="MS"))


def test_inflation_is_the_change_over_a_year_known_sixty_days_after_the_month_begins():
    prices = monthly([100 + i for i in range(14)])  # January 2022 to February 2023
    days = pd.date_range("2023-02-20", "2023-04-10")
    known = macro_channels(["inflation"], days, {"CPIAUCSL": prices}.__getitem__)["inflation"]
    assert known[:"2023-03-01"].isna().all()  # January 2023, dated 1 January, counts from 2 March
    assert known["2023-03-02"] == pytest.approx(12.0)  # 112 over 100
    assert known["2023-04-01"] == pytest.approx(12.0) and known["2023-04-02"] == pytest.approx(100 * (113 / 101 - 1))


def test_a_missing_month_makes_no_year_of_thirteen_months():
    prices = monthly(np.arange(100.0, 130.0)).drop(pd.Timestamp("2022-06-01"))
    days = pd.date_range("2023-07-30", "2023-09-10")
    known = macro_channels(["inflation"], days, {"CPIAUCSL": prices}.__getitem__)["inflation"]
    assert known["2023-08-01"] == pytest.approx(100 * (116 / 104 - 1))  # May's; June 2022 is not there to compare with
    assert known["2023-08-30"] == pytest.approx(100 * (118 / 106 - 1))  # July's


def test_slope_and_curvature_are_those_of_the_yields_published_together():
    days = pd.bdate_range("2024-01-01", periods=10)
    yields = {name: pd.Series(rate, days) for name, rate in (("DGS3MO", 5.0), ("DGS2", 4.0), ("DGS10", 4.5))}
    yields["DGS2"] = yields["DGS2"].iloc[:5]
    known = macro_channels(["curve_slope", "curve_curvature"], days, yields.__getitem__)
    assert known["curve_slope"].dropna().eq(-0.5).all() and known["curve_curvature"].dropna().eq(-1.5).all()
    assert known["curve_slope"].first_valid_index() == pd.Timestamp("2024-01-05")  # dated the 1st, known on the 5th


def test_a_series_that_ends_is_unknown_once_its_last_value_is_stale():
    spread = pd.Series(1.0, pd.bdate_range("2024-01-01", "2024-01-10"))
    days = pd.date_range("2024-01-01", "2024-03-01")
    known = macro_channels(["credit_spread"], days, {"BAMLC0A0CM": spread}.__getitem__)["credit_spread"]
    assert known.first_valid_index() == pd.Timestamp("2024-01-05")
    assert known.last_valid_index() == pd.Timestamp("2024-01-28")  # known on the 14th, serves 14 days


def test_a_series_by_its_own_name_is_taken_as_it_stands():
    days = pd.bdate_range("2024-01-01", periods=8)
    rates = pd.Series(np.arange(8.0), days)
    known = macro_channels(["DGS5", "SURVEY"], days, lambda name: rates, {"SURVEY": 2})
    assert known["DGS5"].tolist()[:4] == pytest.approx([np.nan] * 4, nan_ok=True) and known["DGS5"].iloc[4] == 0.0
    assert known["SURVEY"]["2024-01-03"] == 0.0 and np.isnan(known["SURVEY"]["2024-01-02"])


def test_presets_and_unknown_names():
    assert channel_names(["vix", "core"])[0] == "vix" and len(channel_names(["vix", "core"])) == len(PRESETS["core"])
    with pytest.raises(ValueError, match=r"unknown 'vxi'; available: core, all; policy_rate.*DGS10.*vxi=DAYS"):
        macro_channels(["vxi"], pd.bdate_range("2024-01-01", periods=3), {}.__getitem__)


SERIES = sorted({name for each in CHANNELS.values() for name in each.series})


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(30, 650))
def test_what_is_published_later_changes_no_bit_of_what_was_known(seed, cut):
    """Cut off or made absurd: every value of every channel up to the day is the same."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2021-01-01", periods=700)
    day = days[cut]
    raw, later, shorter = {}, {}, {}
    for name in SERIES:
        lag = PUBLICATION_LAG[name]
        dates = days if lag < 20 else pd.date_range(days[0], days[-1], freq="MS" if lag < 100 else "QS")
        raw[name] = pd.Series(rng.lognormal(1, 0.2, len(dates)), dates)
        raw[name] = raw[name][rng.random(len(dates)) < 0.95]
        open_to_all = known_on(name, raw[name].index) <= day
        later[name] = raw[name].where(open_to_all, raw[name] * -50 + 700)
        shorter[name] = raw[name][open_to_all]
    told = [macro_channels(list(CHANNELS), days, source.__getitem__) for source in (raw, later, shorter)]
    pd.testing.assert_frame_equal(told[0][:day], told[1][:day], check_exact=True)
    pd.testing.assert_frame_equal(told[0][:day], told[2][:day], check_exact=True)


def test_an_index_taken_as_known_on_its_own_date_is_found(monkeypatch):
    prices = monthly(np.arange(100.0, 130.0))
    day = pd.Timestamp("2024-02-20")
    days = pd.date_range("2023-06-01", day)

    def differs():
        later = prices.where(prices.index < pd.Timestamp("2024-01-01"), 500.0)  # January's, published on 13 February
        told = [macro_channels(["inflation"], days, {"CPIAUCSL": x}.__getitem__) for x in (prices, later)]
        return not told[0].equals(told[1])

    assert not differs()
    monkeypatch.setitem(PUBLICATION_LAG, "CPIAUCSL", 0)
    assert differs()


def test_channels_of_the_real_file_are_bit_identical_when_it_is_cut(real_data):
    table = pd.read_parquet(real_data / "macro.parquet")
    day = pd.Timestamp("2020-04-14")
    days = pd.bdate_range("2015-01-01", day)
    table["series"] = table["series"].replace(ALIASES)
    whole = macro_channels(list(CHANNELS), days, lambda name: by_date(table, name))
    assert whole.iloc[-1].notna().all()

    def known_only(name):
        values = by_date(table, name)
        return values[known_on(name, values.index) <= day]

    pd.testing.assert_frame_equal(whole, macro_channels(list(CHANNELS), days, known_only), check_exact=True)
    # February's 3.5 % against the 3.8 % of a year before: March's 4.4 %, released on 3 April, counts from the 15th.
    assert whole["unemployment"].iloc[-1] == pytest.approx(3.5 - 3.8)
