import numpy as np
import pandas as pd
import pytest

from feeds.macro import CashConfig, cash_returns, find_macro_file, read_macro_series
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
    assert cash["2024-01-08"] == pytest.approx(3 * 0.072 / 360)  # Monday: three days of interest
    assert cash["2024-01-09"] == pytest.approx(0.072 / 360)


def test_a_bill_fund_gives_its_own_returns(panel):
    cash, said = cash_returns(panel, CashConfig(source="fund", fund="BIL"))
    expected = panel.close["BIL"].pct_change().fillna(0.0)
    np.testing.assert_allclose(cash.to_numpy(), expected.to_numpy())
    assert said == "the returns of BIL"


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
