import os
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.feeds.currency import quote_currency
from clusterfolio.feeds.panel import ASSET_DEFAULTS, make_assets
from clusterfolio.feeds.sources.simulated import SimulatedConfig, truth
from clusterfolio.feeds.universe import (
    ASSET_CLASSES,
    COLUMNS,
    REGIONS,
    SHIPPED,
    check_universe,
    describe,
    filter_universe,
    load_universe,
    rates_needed,
)

DEAD = ["BAL", "COW", "JJN", "JO", "SGG"]
DATA = Path(os.environ.get("CLUSTERFOLIO_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def written(tmp_path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_the_shipped_list_is_large_global_and_of_several_classes():
    table = load_universe("default")
    assert len(table) >= 300
    assert set(table["asset_class"]) == set(ASSET_CLASSES) - {"crypto", "unknown"}
    assert table["currency"].nunique() >= 15
    assert {"SPY", "SAP.DE", "0700.HK", "SHEL.L", "EURUSD=X"} <= set(table.index)
    assert tuple(table.columns) == COLUMNS
    assert not set(DEAD) & set(table.index)


def test_the_shipped_list_has_no_problems_and_is_sorted():
    table = load_universe("all")
    assert check_universe(table) == []
    assert list(table.index) == sorted(table.index)
    assert (table[["name", "region", "currency"]] != "").all(axis=None)
    assert (table.loc[table["asset_class"] == "equity", "sector"] != "").all()
    assert table.loc[table["asset_class"] == "equity", "sector"].nunique() == 11
    assert (table[["commission_bps", "half_spread_bps"]] > 0).all(axis=None)


def test_the_rates_that_the_list_needs_are_in_the_list():
    table = load_universe("default")
    needed = rates_needed(table, "USD")
    assert len(needed) >= 15 and {"EURUSD=X", "JPY=X", "KRW=X"} <= set(needed)
    assert set(needed) <= set(table.index)


def test_rates_are_named_for_any_account():
    table = describe(["AAPL", "SHEL.L", "SAP.DE", "NPN.JO", "ZZZ", "JPY=X"])
    assert rates_needed(table, "EUR") == ["EURUSD=X", "GBPEUR=X", "ZAREUR=X"]


def test_a_listed_symbols_currency_and_region_agree_with_its_exchange():
    table = load_universe("all")
    abroad = [symbol for symbol in table.index if "." in symbol]
    assert len(abroad) >= 60
    for symbol in abroad:
        assert table.loc[symbol, "currency"] == quote_currency(symbol)
        assert table.loc[symbol, "region"] in (REGIONS[symbol[symbol.rindex(".") :]], "China")


def test_the_seed_list_has_its_299_symbols():
    table = load_universe("seed")
    assert len(table) == 299
    assert sorted(table.index[~table["active"]]) == sorted([*DEAD, "MMC", "RUB=X"])


@pytest.mark.skipif(not (DATA / "symbols.csv").is_file(), reason=f"no development data in {DATA}")
def test_the_seed_list_is_the_published_one():
    known = pd.read_csv(DATA / "symbols.csv", keep_default_na=False)
    published = known.loc[known["in_seed_list"].astype(str) == "True", "symbol"]
    assert sorted(load_universe("seed").index) == sorted([*published, *DEAD])


def test_the_simulated_market_uses_the_same_classes():
    assert set(truth(SimulatedConfig())["asset_class"]) <= set(ASSET_CLASSES)


def test_a_list_of_symbols_alone_is_enough(tmp_path):
    table = load_universe(written(tmp_path, "symbol\nAAPL\n0700.HK\nGBPJPY=X\nXYZQ\n"))
    assert list(table.index) == ["AAPL", "0700.HK", "GBPJPY=X", "XYZQ"]
    assert table.loc["AAPL", "name"] == "Apple"
    assert table.loc["0700.HK", "currency"] == "HKD"
    assert table.loc["XYZQ", "asset_class"] == "unknown"
    assert table["active"].all() and not table["seed"].any()


def test_codes_that_look_like_numbers_or_words_stay_text(tmp_path):
    table = load_universe(written(tmp_path, "Symbol,Name\n0001,TRUE\nNA,nan\nTRUE,\n1e5,None\n"))
    assert list(table.index) == ["0001", "NA", "TRUE", "1e5"]
    assert list(table["name"]) == ["TRUE", "nan", "", "None"]


def test_a_files_own_cells_win_over_the_shipped_ones(tmp_path):
    text = "\ufeffsymbol;currency;half_spread_bps\nAAPL; EUR ;7.5\nMSFT;;\n"
    table = load_universe(written(tmp_path, text))
    assert table.loc["AAPL", ["currency", "half_spread_bps", "sector"]].tolist() == [
        "EUR",
        7.5,
        "Information Technology",
    ]
    assert table.loc["MSFT", ["currency", "half_spread_bps"]].tolist() == ["USD", 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticker\nAAPL\n", r"mine\.csv: unknown column 'ticker'; columns are symbol, name, asset_class"),
        ("name\nApple\n", r"mine\.csv: no column 'symbol'"),
        ("symbol\nAAPL\nMSFT\nAAPL\n", r"mine\.csv: AAPL: listed more than once"),
        ("symbol,name\nAAPL,a\n,b\n", r"row 2: symbol is empty"),
        ("symbol,half_spread_bps\nA,1\nB,x\n", r"mine\.csv, row 3: half_spread_bps is 'x'; a number is meant"),
        ("symbol,commission_bps\nA,-1\n", r"A: commission_bps is -1\.0; basis points between 0 and 1000"),
        ("symbol,commission_bps\nA,nan\n", r"A: commission_bps is nan"),
        ("symbol,lot\nA,0\n", r"A: lot is 0\.0; a number of shares above 0 is meant"),
        ("symbol,asset_class\nA,stock\n", r"A: asset_class is 'stock'; one of equity, etf"),
        ("symbol,currency\nA,dollar\n", r"A: currency is 'dollar'; a code like USD"),
        ("", r"mine\.csv: no CSV table in UTF-8"),
        ('symbol\n"AAPL\n', r"mine\.csv: no CSV table"),
        ("symbol,name\nAAPL,Apple,USD\n", r"mine\.csv: its rows have more cells than its header has names"),
        ("symbol,seed\nA,perhaps\n", r"row 2: seed is 'perhaps'; yes or no is meant"),
    ],
)
def test_errors_name_the_column_and_the_row(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_universe(written(tmp_path, text))


def test_a_file_in_another_encoding_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.csv: no CSV table in UTF-8"):
        load_universe(written(tmp_path, "symbol,name\nOR.PA,L'Oréal\n", "latin-1"))


def test_short_rows_and_blank_lines_do_no_harm(tmp_path):
    table = load_universe(written(tmp_path, "symbol,name,currency\nAAPL\n\nMSFT,Windows\n\n"))
    assert table["name"].tolist() == ["Apple", "Windows"] and table["currency"].tolist() == ["USD", "USD"]


@given(st.text(st.sampled_from(list('symbol,name\n\r";\t 1-.=X')), max_size=60), st.booleans())
def test_any_text_is_a_universe_or_refused_with_a_reason(text, with_header):
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "symbol,name\n" * with_header + text)
        try:
            table = load_universe(path)
        except ValueError as fault:
            assert "mine.csv" in str(fault)
        else:
            assert check_universe(table) == [] and tuple(table.columns) == COLUMNS


def test_an_unknown_universe_says_what_there_is():
    with pytest.raises(ValueError, match="'sead' is no file; use default, seed, all or the path"):
        load_universe("sead")


def test_symbols_outside_the_list_are_judged_by_their_form():
    table = describe(["CHFJPY=X", "SEK=X", "ETH-USD", "CL=F", "VOD.L", "BRK-A", "ZZZ"], load_universe("seed"))
    assert list(table["asset_class"]) == ["forex", "forex", "crypto", "commodity", "unknown", "unknown", "unknown"]
    assert list(table["currency"]) == ["JPY", "SEK", "USD", "USD", "GBp", "", ""]
    assert table.loc["VOD.L", "region"] == "United Kingdom"
    assert table.loc["ZZZ", "half_spread_bps"] == 5.0


def test_a_description_fills_an_assets_table():
    assets = make_assets(["SPY", "ETH-USD"], describe(["SPY", "ETH-USD"]))
    assert list(assets.columns) == list(ASSET_DEFAULTS)
    assert assets.loc["SPY", "half_spread_bps"] == 1.0 and assets.loc["ETH-USD", "commission_bps"] == 10.0


def test_filters_combine_and_include_and_exclude_have_the_last_word():
    table = load_universe("default")
    chosen = filter_universe(
        table, asset_class=("equity",), region=("Germany", "Japan"), include=("SPY", "0001.HK"), exclude=("SAP.DE",)
    )
    assert set(chosen["region"][:-1]) == {"Germany", "Japan", "United States"}
    assert chosen.index[-1] == "0001.HK" and chosen.loc["0001.HK", "currency"] == "HKD"
    assert "SPY" in chosen.index and "SAP.DE" not in chosen.index
    assert check_universe(chosen) == []
    assert filter_universe(table, currency="GBp")["currency"].unique().tolist() == ["GBp"]
    assert filter_universe(table).equals(table)


def test_filters_that_match_nothing_are_named_with_what_was_probably_meant():
    table = load_universe("default")
    with pytest.raises(ValueError, match="asset_class: no instrument has 'equities'; did you mean equity"):
        filter_universe(table, asset_class=("equities",))
    with pytest.raises(ValueError, match="exclude: 'APPL' is not in the universe; did you mean"):
        filter_universe(table, exclude=("APPL",))


def test_the_shipped_file_is_plain_csv_with_a_final_newline():
    text = SHIPPED.read_text(encoding="utf-8")
    assert text.endswith("\n") and "\r" not in text and text.startswith("symbol,name,asset_class")


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12), max_size=6))
def test_any_symbol_can_be_described(symbols):
    table = describe(symbols, load_universe("seed"))
    assert list(table.index) == symbols
    assert set(table["asset_class"]) <= set(ASSET_CLASSES)
    assert table.notna().all(axis=None)
