"""Every example in a docstring is run."""

import doctest
import importlib

import pytest

from tests.test_architecture import MODULES, dotted

NAMES = [dotted(path) for path in MODULES if path.name != "run_backtest.py"]


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_the_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in NAMES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 30
