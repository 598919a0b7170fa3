"""Sessions, month-ends by the exchange's calendar, and the end of a run."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.calendar import decision_dates, last_common_session, sessions
from clusterfolio.feeds.raw import DataError


def text(days: pd.DatetimeIndex) -> list[str]:
    return [str(day.date()) for day in days]


def test_sessions_leave_out_holidays_long_ago_and_now():
    assert text(sessions("XNYS", "2005-01-14", "2005-01-18")) == ["2005-01-14", "2005-01-18"]
    assert text(sessions("XLON", "2024-12-24", "2024-12-27")) == ["2024-12-24", "2024-12-27"]
    assert len(sessions("24/7", "2024-02-01", "2024-02-29")) == 29


def test_a_calendar_gives_what_it_has_where_its_rules_begin_later():
    assert sessions("XTKS", "1996-12-01", "1997-01-10")[0] == pd.Timestamp("1997-01-06")


def test_a_panel_that_ends_inside_a_month_has_no_month_end_there():
    assert text(decision_dates("XNYS", "2025-12-15", "2026-03-25", "month")) == [
        "2025-12-31",
        "2026-01-30",
        "2026-02-27",
    ]


def test_the_last_session_of_a_month_is_one_even_where_the_data_end():
    assert text(decision_dates("XNYS", "2024-03-01", "2024-03-28", "month")) == ["2024-03-28"]  # Good Friday follows


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("once", ["2024-12-27"]),
        ("week", ["2024-12-27", "2025-01-03", "2025-01-10"]),
        ("month", ["2024-12-31"]),
        ("quarter", ["2024-12-31"]),
        (4, ["2024-12-27", "2025-01-03", "2025-01-10"]),
    ],
)
def test_decision_dates_by_frequency(frequency, expected):
    assert text(decision_dates("XNYS", "2024-12-27", "2025-01-13", frequency)) == expected


@pytest.mark.parametrize("frequency", ["monthly", 0, True, 2.5])
def test_an_unknown_frequency_is_refused(frequency):
    with pytest.raises(ValueError, match="frequency must be"):
        decision_dates("XNYS", "2024-01-01", "2024-02-01", frequency)


def test_an_unknown_calendar_and_a_reversed_span_are_refused():
    with pytest.raises(ValueError, match="unknown calendar 'NYSEX'"):
        sessions("NYSEX", "2024-01-01", "2024-02-01")
    with pytest.raises(ValueError, match="start must not be after end"):
        sessions("XNYS", "2024-02-01", "2024-01-01")


def trading(ends: list[int], n: int = 300) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
    """Closes of assets whose last bars lie on these sessions."""
    days = sessions("XNYS", "2023-01-01", "2024-12-31")[:n]
    closes = np.where(np.arange(n)[:, None] <= np.array(ends), 1.0, np.nan)
    return pd.DataFrame(closes, index=days), days


def test_a_run_ends_where_a_tenth_of_the_universe_is_gone():
    closes, days = trading([250] * 2 + [299] * 8)
    assert last_common_session(closes, days, closes[9]) == days[250]
    closes, days = trading([250] + [299] * 9)
    assert last_common_session(closes, days, closes[9]) == days[299]


def test_delistings_spread_over_the_years_do_not_end_a_run():
    closes, days = trading([20, 40, 60, 80, 100] + [299] * 10)
    assert last_common_session(closes, days, closes[14]) == days[299]


def test_a_run_ends_with_its_benchmark():
    closes, days = trading([299] * 10)
    assert last_common_session(closes, days, closes[0].iloc[:200]) == days[199]


def test_weekend_bars_and_missing_days_do_not_end_a_run():
    closes, days = trading([299] * 10)
    closes.iloc[299, :5] = np.nan
    closes.loc[days[299] + pd.Timedelta(days=1)] = [1.0] * 5 + [np.nan] * 5
    assert last_common_session(closes, days, closes[9]) == days[299]


def test_a_universe_that_never_trades_is_an_error():
    closes, days = trading([-1, -1])
    with pytest.raises(DataError, match="no session"):
        last_common_session(closes, days, pd.Series(1.0, days))
