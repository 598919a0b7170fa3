"""Days, stamps and numbers: the reading that the whole table proves, or a refusal; never a day too early."""

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.ingest import build_panel
from clusterfolio.feeds.raw import RawBars, RawData
from clusterfolio.feeds.sources.files.days import Unreadable, to_days
from clusterfolio.feeds.sources.files.reader import read_files
from tests.feeds.sources.vendors import DAYS, bars, read_right, said, titled, write

TRUTH = bars()
GERMAN = ["Jan", "Feb", "März", "Apr", "Mai", "Juni", "Juli", "Aug", "Sep", "Okt", "Nov", "Dez"]
SPANISH = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"]
FRENCH = ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."]
POLISH = ["sty", "lut", "mar", "kwi", "maj", "cze", "lip", "sie", "wrz", "paź", "lis", "gru"]
TURKISH = ["Oca", "Şub", "Mar", "Nis", "May", "Haz", "Tem", "Ağu", "Eyl", "Eki", "Kas", "Ara"]


def texts(form) -> pd.Series:
    return pd.Series([form(day) for day in DAYS])


FORMS = {
    "German": lambda d: f"{d.day:02d}. {GERMAN[d.month - 1]} {d.year}",
    "Spanish": lambda d: f"{d.day:02d}-{SPANISH[d.month - 1]}-{d.year}",
    "Spanish, in words": lambda d: f"{d.day} de {SPANISH[d.month - 1]} de {d.year}",
    "French": lambda d: f"{d.day} {FRENCH[d.month - 1]} {d.year}",
    "Polish": lambda d: f"{d.day} {POLISH[d.month - 1]} {d.year}",
    "Turkish": lambda d: f"{d.day:02d} {TURKISH[d.month - 1]} {d.year}",
    "Chinese": lambda d: f"{d.year}年{d.month}月{d.day}日",
    "Korean": lambda d: f"{d.year}. {d.month}. {d.day}.",
    "English, weekday before": lambda d: f"{d:%a, %d %b %Y}",
    "JavaScript": lambda d: f"{d:%a %b %d %Y} 00:00:00 GMT+0100 (Central European Standard Time)",
    "year of two digits first": lambda d: f"{d:%y-%m-%d}",
    "year first, no zeros": lambda d: f"{d.year}/{d.month}/{d.day}",
    "day first, two digits": lambda d: f"{d:%d/%m/%y}",
    "month first, hours": lambda d: f"{d.month}/{d.day}/{d.year} 12:00:00 AM",
    "zone named": lambda d: f"{d:%Y%m%d} 00:00:00 America/New_York",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backwards", [False, True])
def test_every_way_to_write_a_day_is_read(form, backwards):
    column = texts(FORMS[form])
    stamps = to_days(column.iloc[::-1] if backwards else column).stamps
    assert stamps.tolist() == (DAYS[::-1] if backwards else DAYS).tolist()


@pytest.mark.parametrize("iso", [True, False])
@pytest.mark.parametrize("rest", ["%d/%m/%Y", "%m/%d/%Y"])
def test_days_swapped_by_a_spreadsheet_are_put_back_and_said(tmp_path, iso, rest):
    """A spreadsheet takes for dates what it can, with day and month exchanged, and leaves the others as text."""

    def saved(day):
        if day.day > 12:
            return day.strftime(rest)
        swapped = pd.Timestamp(day.year, day.day, day.month)
        return swapped.strftime("%Y-%m-%d" if iso else rest)

    write(tmp_path / "EXL.csv", titled(TRUTH).assign(Date=[saved(day) for day in DAYS]))
    raw = read_right(tmp_path, "EXL", TRUTH)
    assert raw.remarks_on("EXL")[0].nature == "mended" and "swapped by a spreadsheet" in said(raw, "EXL")[0]


def test_an_order_that_changes_midway_is_refused(tmp_path):
    column = [*DAYS[:130].strftime("%d/%m/%Y"), *DAYS[130:].strftime("%m/%d/%Y")]
    write(tmp_path / "ABC.csv", titled(TRUTH).assign(Date=column))
    assert "two orders of day and month" in read_files([tmp_path]).verdicts["ABC.csv"][1]


def test_a_column_of_which_a_third_is_unreadable_is_refused():
    column = texts(lambda d: f"{d:%Y-%m-%d}" if d.day > 9 else f"{d.day}. xyz {d.year}")
    with pytest.raises(Unreadable, match="of 260, the first of them"):
        to_days(column)


def test_blank_rows_and_a_footer_below_the_table_do_no_harm(tmp_path):
    text = titled(TRUTH).to_csv(index=False) + ",,,,,\n" * 200 + "Source: a vendor,,,,,\n"
    (tmp_path / "ABC.csv").write_text(text)
    raw = read_files([tmp_path])
    assert raw.bars["ABC"].frame["close"].dropna().tolist() == TRUTH["close"].tolist()


# Stamps ------------------------------------------------------------------------------------------------------------

ZONES = [
    "Europe/London",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Kolkata",
    "Australia/Sydney",
    "Pacific/Auckland",
]


@pytest.mark.parametrize("zone", [*ZONES, "America/New_York", "UTC"])
@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%SZ", "epoch", "parquet"])
def test_midnight_of_any_zone_written_in_utc_is_the_day_it_belongs_to(tmp_path, zone, form):
    utc = DAYS.tz_localize(zone).tz_convert("UTC")
    if form == "parquet":
        TRUTH.set_axis(utc).rename_axis("Date").to_parquet(tmp_path / "ABC.parquet")
    else:
        column = (
            utc.strftime(form) if form != "epoch" else (utc.tz_localize(None) - pd.Timestamp(0)) // pd.Timedelta("1s")
        )
        write(tmp_path / "ABC.csv", titled(TRUTH).assign(Date=column))
    raw = read_right(tmp_path, "ABC", TRUTH)
    if zone in ZONES:
        assert "days moved" in said(raw, "ABC")[0] and raw.remarks_on("ABC")[0].nature == "mended"


@pytest.mark.parametrize("hour", ["16:00:00", "21:00:00", "23:59:59"])
def test_the_hour_of_the_close_moves_no_day(tmp_path, hour):
    write(tmp_path / "ABC.csv", titled(TRUTH).assign(Date=DAYS.strftime(f"%Y-%m-%d {hour}")))
    assert not read_right(tmp_path, "ABC", TRUTH).remarks


def test_the_evening_at_which_a_currency_day_begins_is_the_next_day(tmp_path):
    evening = (DAYS - pd.Timedelta(days=1) + pd.Timedelta(hours=17)).tz_localize("America/New_York").tz_convert("UTC")
    write(tmp_path / "AUDNZD=X.csv", titled(TRUTH).assign(Date=evening.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")))
    read_right(tmp_path, "AUDNZD=X", TRUTH)


def test_days_on_sundays_and_none_on_fridays_are_moved_for_a_pair_and_refused_for_a_share(tmp_path):
    early = TRUTH.set_axis(DAYS - pd.Timedelta(days=1))
    for name in ("AUDNZD=X", "ABC", "2222.SR"):
        write(tmp_path / f"{name}.csv", titled(early))
    raw = read_files([tmp_path])
    assert (
        raw.bars["AUDNZD=X"].frame.index.equals(DAYS.rename(None))
        or raw.bars["AUDNZD=X"].frame.index.tolist() == DAYS.tolist()
    )
    assert raw.bars["2222.SR"].frame.index[0] == early.index[0]
    assert "Sundays and none on Fridays" in raw.verdicts["ABC"][1]


def test_midnight_after_the_close_is_the_day_before(tmp_path):
    write(tmp_path / "ABC.csv", titled(TRUTH.set_axis(DAYS + pd.Timedelta(days=1))))
    read_right(tmp_path, "ABC", TRUTH)


@pytest.mark.parametrize(("hour", "later"), [(0, 0), (15, 1), (23, 1)])
def test_a_coin_whose_day_begins_late_is_known_a_day_later(tmp_path, hour, later):
    days = pd.date_range("2022-06-01", periods=200)
    truth = bars(days=days)
    stamps = (days + pd.Timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
    write(tmp_path / "BTC-USD.csv", titled(truth).assign(Date=stamps))
    raw = read_right(tmp_path, "BTC-USD", truth.set_axis(days + pd.Timedelta(days=later)))
    assert [remark.nature for remark in raw.remarks] == ["guessed"] * later


@pytest.mark.parametrize(("rule", "apart"), [("W-FRI", 7), ("ME", 3)])
def test_weekly_and_monthly_bars_are_refused(tmp_path, rule, apart):
    write(tmp_path / "ABC.csv", titled(bars(days=pd.date_range("2015-01-01", periods=200, freq=rule))))
    verdict, why = read_files([tmp_path]).verdicts["ABC"]
    assert verdict == "dropped" and f"bars {apart}" in why


def test_weekly_bars_before_or_after_daily_ones_are_left_out_as_soon_as_they_show(tmp_path):
    weekly = pd.date_range(DAYS[-1], periods=40, freq="W-FRI")[1:]
    whole = pd.concat([TRUTH, bars(1, days=weekly)])
    write(tmp_path / "ABC.csv", titled(whole))
    raw = read_files([tmp_path])
    assert raw.bars["ABC"].frame.index.tolist() == [*DAYS, *weekly[:3]]
    assert "weekly bars" in said(raw, "ABC")[0]


@pytest.mark.parametrize(("now", "last"), [("2024-03-01 15:00", "2024-02-29"), ("2024-03-01 21:00", "2024-03-01")])
def test_a_session_that_is_not_over_has_no_bar(now, last):
    days = pd.bdate_range("2023-12-01", "2024-03-01")
    raw = RawData({name: RawBars(bars(i, days=days)) for i, name in enumerate(("SPY", "AAA", "BBB"))})
    panel, verdicts = build_panel(raw, benchmark="SPY", now=pd.Timestamp(now))
    assert panel.dates[-1] == pd.Timestamp(last)
    assert verdicts["why"].str.contains("session not over: left out: 2024-03-01").all() == (last == "2024-02-29")


# Numbers -----------------------------------------------------------------------------------------------------------

AROUND = bars(level=1000.0, decimals=0)
SWISS, FRENCH_BLANK = "\u2019", "\u202f"


def grouped(thousands: str, decimal: str, decimals: int):
    def written(value: float) -> str:
        return f"{value:,.{decimals}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)

    return written


NUMBERS = {
    "tab, American thousands": ("\t", grouped(",", ".", 0), AROUND),
    "semicolon, American thousands": (";", grouped(",", ".", 0), AROUND),
    "semicolon, German thousands": (";", grouped(".", ",", 0), AROUND),
    "quoted, German": (",", grouped(".", ",", 2), bars(level=1000.0, decimals=2)),
    "Swiss": (",", grouped(SWISS, ".", 2), bars(level=1000.0, decimals=2)),
    "Swiss, without decimals": (",", grouped("'", ".", 0), AROUND),
    "French": (";", grouped(FRENCH_BLANK, ",", 2), bars(level=1000.0, decimals=2)),
    "Indian": (",", lambda value: f"{int(value) // 100_000},{int(value) % 100_000 // 1000:02d},{value % 1000:06.2f}",
               bars(level=250_000.0, decimals=2)),
    "three decimals, comma": (";", grouped("", ",", 3), bars(level=0.9, decimals=3)),
}  # fmt: skip


@pytest.mark.parametrize("way", NUMBERS)
def test_the_signs_in_numbers_are_told_by_the_whole_file(tmp_path, way):
    separator, form, truth = NUMBERS[way]
    table = titled(truth)
    for name in ("Open", "High", "Low", "Close"):
        table[name] = table[name].map(form)
    write(tmp_path / "NIK.csv", table, sep=separator)
    read_right(tmp_path, "NIK", truth, ("open", "high", "low", "close"))


def test_both_decimal_signs_in_one_file_are_refused(tmp_path):
    table = titled(TRUTH)
    table["Close"] = [f"{c:.2f}".replace(".", "," if i % 3 else ".") for i, c in enumerate(table["Close"])]
    write(tmp_path / "ABC.csv", table, sep=";")
    assert "both decimal signs" in read_files([tmp_path]).verdicts["ABC.csv"][1]


def test_a_cell_whose_thousands_stand_in_the_wrong_places_is_no_number(tmp_path):
    table = titled(TRUTH)
    table["Close"] = table["Close"].map("{:.2f}".format)
    table.loc[200, "Close"] = "52,35"
    write(tmp_path / "ABC.csv", table)
    raw = read_files([tmp_path])
    assert np.isnan(raw.bars["ABC"].frame["close"].iloc[200]) and "cells that are no numbers" in said(raw, "ABC")[0]


def test_prices_in_several_currencies_within_the_cells_are_refused(tmp_path):
    table = titled(TRUTH)
    table["Close"] = [f"{c} {'EUR' if i < 100 else 'USD'}" for i, c in enumerate(table["Close"])]
    write(tmp_path / "ABC.csv", table)
    assert "several currencies: EUR, USD" in read_files([tmp_path]).verdicts["ABC.csv"][1]
