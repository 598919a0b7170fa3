"""Files are written whole or not at all, and JSON holds nothing that a reader of JSON refuses."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.feeds.writing import finite, replacing, write_json, write_table


def test_a_file_is_replaced_whole_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / "table.txt"
    for text in ("first", "second"):
        with replacing(path) as part:
            part.write_text(text)
            assert part.parent == path.parent
            assert not path.exists() if text == "first" else path.read_text() == "first"
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("as it was")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "as it was" and list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none.txt"):
        pass


def test_writers_of_the_same_file_do_not_mix(tmp_path):
    path = tmp_path / "shared.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_json(path, {"n": [number] * 20_000}), range(16)))
    assert len(set(json.loads(path.read_text())["n"])) == 1 and list(tmp_path.iterdir()) == [path]


numbers = st.one_of(
    st.floats(), st.floats(width=32).map(np.float32), st.integers(), st.none(), st.booleans(), st.text()
)
trees = st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner))


@given(trees)
def test_anything_becomes_json_that_a_strict_reader_takes(tree):
    def refuse(word):
        raise AssertionError(word)

    json.loads(json.dumps(finite(tree), allow_nan=False), parse_constant=refuse)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_read_back_to_the_same_bits(number):
    found = json.loads(json.dumps(finite({"x": np.float64(number)})))["x"]
    assert found == number and math.copysign(1, found) == math.copysign(1, number)


def test_tables_have_plain_days_and_exact_floats(tmp_path):
    table = pd.DataFrame({"x": [0.1 + 0.2, np.nan]}, pd.DatetimeIndex(["2025-01-02", "2025-01-03"], name="date"))
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "date,x\n2025-01-02,0.30000000000000004\n2025-01-03,\n"
