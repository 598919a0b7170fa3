"""No figure is known before it was released: the lags against the release calendars of 2010 to 2026."""

import pandas as pd
import pytest

from clusterfolio.feeds.exogenous.publication import PUBLICATION_LAG, known_on, lag_of, serves

#: Days of the month on which the Bureau of Labor Statistics released the consumer price index of the month before
#: (FRED's release 10, bls.gov/schedule). In 2025 the shutdown cancelled October's index.
CPI = {
    2010: "15 19 18 14 19 17 16 13 17 15 17 15", 2011: "14 17 17 15 13 15 15 18 15 19 16 16",
    2012: "19 17 16 13 15 14 17 15 14 16 15 14", 2013: "16 21 15 16 16 18 16 15 17 30 20 17",
    2014: "16 20 18 15 15 17 22 19 17 22 20 17", 2015: "16 26 24 17 22 18 17 19 16 15 17 15",
    2016: "20 19 16 14 17 16 15 16 16 18 17 15", 2017: "18 15 15 14 12 14 14 11 14 13 15 13",
    2018: "12 14 13 11 10 12 12 10 13 11 14 12", 2019: "11 13 12 10 10 12 11 13 12 10 13 11",
    2020: "14 13 11 10 12 10 14 12 11 13 12 10", 2021: "13 10 10 13 12 10 13 11 14 13 10 10",
    2022: "12 10 10 12 11 10 13 10 13 13 10 13", 2023: "12 14 14 12 10 13 12 10 13 12 14 12",
    2024: "11 13 12 10 15 12 11 14 11 10 13 11", 2025: "15 12 12 10 13 11 15 12 11 24 -- 18",
    2026: "13 13 11 10 12 10",
}  # fmt: skip

#: The same for the Employment Situation (FRED's release 50). The shutdown cancelled the household survey of October
#: 2025 and put September's off to 20 November.
EMPLOYMENT = {
    2010: "08 05 05 02 07 04 02 06 03 08 05 03", 2011: "07 04 04 01 06 03 08 05 02 07 04 02",
    2012: "06 03 09 06 04 01 06 03 07 05 02 07", 2013: "04 01 08 05 03 07 05 02 06 22 08 06",
    2014: "10 07 07 04 02 06 03 01 05 03 07 05", 2015: "09 06 06 03 08 05 02 07 04 02 06 04",
    2016: "08 05 04 01 06 03 08 05 02 07 04 02", 2017: "06 03 10 07 05 02 07 04 01 06 03 08",
    2018: "05 02 09 06 04 01 06 03 07 05 02 07", 2019: "04 01 08 05 03 07 05 02 06 04 01 06",
    2020: "10 07 06 03 08 05 02 07 04 02 06 04", 2021: "08 05 05 02 07 04 02 06 03 08 05 03",
    2022: "07 04 04 01 06 03 08 05 02 07 04 02", 2023: "06 03 10 07 05 02 07 04 01 06 03 08",
    2024: "05 02 08 05 03 07 05 02 06 04 01 06", 2025: "10 07 07 04 02 06 03 01 05 -- -- 16",
    2026: "09 11 06 03 08 05",
}  # fmt: skip


def released(calendar, extra=()):
    """Month described -> day released."""
    days = {
        pd.Timestamp(year, month, 1) - pd.DateOffset(months=1): pd.Timestamp(year, month, int(day))
        for year, row in calendar.items()
        for month, day in enumerate(row.split(), 1)
        if day != "--"
    }
    return pd.Series(days | dict(extra)).sort_index()


RELEASES = {
    "CPIAUCSL": released(CPI),
    "UNRATE": released(EMPLOYMENT, {pd.Timestamp("2025-09-01"): pd.Timestamp("2025-11-20")}.items()),
}


@pytest.mark.parametrize("series", RELEASES)
def test_no_month_is_known_before_its_release_and_none_much_later(series):
    calendar = RELEASES[series]
    known = known_on(series, calendar.index)
    early = calendar[known < pd.DatetimeIndex(calendar)]
    assert early.empty
    assert pd.Series(known - pd.DatetimeIndex(calendar)).median() < pd.Timedelta(days=22)


def test_a_lag_one_day_short_of_the_longest_release_is_found(monkeypatch):
    """The check above can fail."""
    calendar = RELEASES["CPIAUCSL"]
    longest = (pd.DatetimeIndex(calendar) - calendar.index).max().days
    assert longest == 59  # of September 2013, released on 30 October
    monkeypatch.setitem(PUBLICATION_LAG, "CPIAUCSL", longest - 1)
    assert (known_on("CPIAUCSL", calendar.index) < pd.DatetimeIndex(calendar)).sum() == 1


@pytest.mark.parametrize(
    ("series", "dated", "release"),
    [
        ("CPIAUCSL", "2024-01-01", "2024-02-13"),
        ("CPILFESL", "2015-01-01", "2015-02-26"),
        ("UNRATE", "2024-01-01", "2024-02-02"),
        ("FEDFUNDS", "2024-01-01", "2024-02-01"),  # G.13, in the first days of the next month
        ("A191RL1Q225SBEA", "2023-10-01", "2024-01-25"),  # advance estimates
        ("A191RL1Q225SBEA", "2013-07-01", "2013-11-07"),  # put off by the shutdown of 2013
        ("A191RL1Q225SBEA", "2018-10-01", "2019-02-28"),  # ... of 2018-2019
        ("A191RL1Q225SBEA", "2025-07-01", "2025-12-23"),  # ... of 2025
        ("DFF", "2024-10-11", "2024-10-15"),  # a Friday before Columbus Day, when shares trade and the Fed rests
        ("DGS10", "2024-07-05", "2024-07-08"),  # H.15: a Friday's on Monday
        ("DTWEXBGS", "2024-10-07", "2024-10-15"),  # H.10 of a week with a holiday: Tuesday
        ("VIXCLS", "2024-07-05", "2024-07-06"),  # stated after the shares' close: for the next session
    ],
)
def test_a_known_release_date_is_kept(series, dated, release):
    assert known_on(series, pd.DatetimeIndex([dated]))[0] >= pd.Timestamp(release)


def test_monthly_and_quarterly_series_wait_at_least_45_and_120_days():
    monthly, quarterly = ("CPIAUCSL", "CPILFESL", "UNRATE", "PAYEMS", "FEDFUNDS"), ("A191RL1Q225SBEA", "GDPC1")
    assert min(PUBLICATION_LAG[name] for name in monthly) >= 45
    assert min(PUBLICATION_LAG[name] for name in quarterly) >= 120
    assert min(PUBLICATION_LAG.values()) >= 1


def test_a_value_is_never_known_before_the_one_before_it():
    months = pd.date_range("2025-08-01", periods=5, freq="MS")
    known = known_on("UNRATE", months)
    assert known.is_monotonic_increasing
    assert known[1] == pd.Timestamp("2025-11-20")  # September; October, dated later, waits at least as long
    assert known[2] >= known[1]


def test_an_unknown_series_needs_a_lag_and_a_known_one_takes_no_shorter_one():
    with pytest.raises(
        ValueError, match=r"'UMCSENT' is published is not known here; use one of .*CPIAUCSL.*inputs.lags"
    ):
        lag_of("UMCSENT")
    assert lag_of("UMCSENT", {"UMCSENT": 30}) == 30
    assert lag_of("UNRATE", {"UNRATE": 60}) == 60
    with pytest.raises(ValueError, match="UNRATE=10, but it is published up to 45 days after"):
        lag_of("UNRATE", {"UNRATE": 10})


def test_a_value_serves_for_twice_its_lag_and_two_weeks_at_least():
    assert serves(60) == pd.Timedelta(days=120) and serves(1) == pd.Timedelta(days=14)
