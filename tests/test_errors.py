"""Errors of one family, read from the syntax trees."""

import ast
import builtins
import importlib

import click
import pytest

from clusterfolio import ClusterfolioError
from clusterfolio.engine.cli.faults import Fault, faults
from clusterfolio.engine.ledger.ledger import LedgerError
from clusterfolio.feeds.raw import DataError
from tests.test_architecture import MODULES, dotted

ERRORS = {name for name, thing in vars(builtins).items() if isinstance(thing, type) and issubclass(thing, Exception)}


def test_every_kind_of_error_of_our_own_is_of_the_family():
    ours = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & (
                ERRORS | {"ClusterfolioError", "DataError"}
            ):
                ours.append(getattr(importlib.import_module(dotted(path)), node.name))
    assert {DataError, LedgerError, ClusterfolioError} < set(ours)
    assert all(issubclass(kind, ClusterfolioError) for kind in ours)


def test_callers_that_expect_the_usual_kinds_still_catch_them():
    assert issubclass(DataError, ValueError) and issubclass(LedgerError, OSError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("no benchmark"), 3),
        (LedgerError("ledger x: locked"), 2),
        (ClusterfolioError("any of ours"), 2),
        (ValueError("data.source: got 1"), 2),
        (FileNotFoundError("no such file"), 2),
    ],
)
def test_a_command_says_whose_fault_it_is(error, code):
    with pytest.raises(Fault) as found, faults():
        raise error
    assert found.value.exit_code == code and isinstance(found.value, click.ClickException)
    assert str(error) in found.value.message


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError), faults():
        raise KeyError("sharpe")
