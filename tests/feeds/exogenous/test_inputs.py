from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.feeds.exogenous.inputs import STATICS, InputsConfig, describe_inputs, with_inputs
from tests.conftest import make_panel, random_closes


@pytest.fixture
def panel():
    return make_panel(random_closes(30, ["SPY", "BIL"], start="2024-01-01"))


def macro_file(folder, name="macro.csv"):
    days = pd.bdate_range("2023-01-02", "2024-03-01")
    rows = [(day, series, 4.0 + number) for number, series in enumerate(("VIX", "DGS10", "DGS3MO")) for day in days]
    pd.DataFrame(rows, columns=["date", "series", "value"]).to_csv(folder / name, index=False)
    return folder / name


def test_nothing_is_on_by_default(panel):
    config = InputsConfig()
    assert with_inputs(panel, config) is panel and config.exog == () and config.static_columns == ()
    assert describe_inputs(config, panel) == []


def test_a_panel_carries_what_is_named_and_until_cuts_it(panel, tmp_path):
    macro_file(tmp_path)
    texts = pd.DataFrame({"date": panel.dates, "score": np.linspace(-1, 1, 30)})
    texts.to_csv(tmp_path / "mood.csv", index=False)
    config = InputsConfig(macro=("vix", "curve_slope"), sentiment=str(tmp_path / "mood.csv"), statics=True)
    seen = with_inputs(panel, config, paths=(str(tmp_path),))
    assert tuple(seen.exog.columns) == config.exog == ("vix", "curve_slope", "sentiment")
    assert seen.exog.index.equals(panel.dates) and config.static_columns == STATICS
    assert seen.exog["vix"].eq(np.log(4.0)).all() and seen.exog["curve_slope"].eq(-1.0).all()
    day = panel.dates[10]
    pd.testing.assert_frame_equal(seen.until(day).exog, seen.exog.iloc[:11])
    assert np.isnan(seen.exog["sentiment"].iloc[0])
    assert seen.exog["sentiment"].iloc[2] == texts["score"].iloc[1]  # the day before's


def test_a_panel_refuses_series_of_other_days(panel):
    with pytest.raises(ValueError, match=r"panel\.exog: its dates differ"):
        replace(panel, exog=pd.DataFrame({"x": [1.0]}, index=panel.dates[:1]))


def test_a_file_of_another_name_is_named_and_fred_is_asked_only_when_told(panel, tmp_path, monkeypatch):
    path = macro_file(tmp_path, "economy.csv")
    with pytest.raises(
        ValueError, match=r'inputs.macro_path: no macro.parquet or macro.csv .*; name a file, or "fred"'
    ):
        with_inputs(panel, InputsConfig(macro=("vix",)), paths=(str(tmp_path),))
    assert with_inputs(panel, InputsConfig(macro=("vix",), macro_path=str(path))).exog["vix"].notna().all()
    asked = []

    def read_fred(names):
        asked.extend(names)
        return {name: pd.Series(20.0, pd.bdate_range("2023-12-01", "2024-03-01")) for name in names}

    monkeypatch.setattr("clusterfolio.feeds.exogenous.inputs.read_fred", read_fred)
    assert with_inputs(panel, InputsConfig(macro=("vix", "DGS5"), macro_path="fred")).exog["DGS5"].eq(20.0).all()
    assert asked == ["VIXCLS", "DGS5"]


def test_a_series_that_is_not_in_the_file_is_named(panel, tmp_path):
    macro_file(tmp_path)
    with pytest.raises(ValueError, match=r"inputs.macro: 'CPIAUCSL' is not in macro.csv; it has DGS10, DGS3MO, VIXCLS"):
        with_inputs(panel, InputsConfig(macro=("inflation",)), paths=(str(tmp_path),))


def test_what_is_used_is_described(panel, tmp_path):
    macro_file(tmp_path)
    config = InputsConfig(macro=("vix", "SURVEY"), lags=("SURVEY=30",), statics=True)
    rows = {row["name"]: row for row in describe_inputs(config)}
    assert list(rows) == ["vix", "SURVEY", *STATICS]
    assert rows["vix"]["lag"] == "VIXCLS 1 day" and rows["SURVEY"]["lag"] == "SURVEY 30 days"
    seen = with_inputs(panel, InputsConfig(macro=("vix",)), paths=(str(tmp_path),))
    (row,) = describe_inputs(InputsConfig(macro=("vix",)), seen)
    assert row["known"] == 1.0 and row["first"] == "2024-01-01"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"macro": ("vxi",)}, "unknown 'vxi'; available: core, all"),
        ({"lags": ("UMCSENT",)}, "got 'UMCSENT', expected SERIES=DAYS"),
        ({"macro": ("UNRATE",), "lags": ("UNRATE=3",)}, "published up to 45 days after"),
        ({"macro_path": "fred"}, "given, but inputs.macro is empty"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        InputsConfig(**settings)
