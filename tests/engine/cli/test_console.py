import io
import sys
import types

import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from clusterfolio.engine.cli.decide import _orders_table
from clusterfolio.engine.cli.main import main


def test_an_order_list_on_a_narrow_screen_loses_nothing():
    symbols = ["SIM.CMD001", "SIM.CMD002"]
    orders = pd.DataFrame({"symbol": symbols, "side": "buy", "shares": 348851.2345, "price": 0.014})
    console = Console(width=34, force_terminal=False)
    with console.capture() as taken:
        console.print(_orders_table(orders, "Orders"))
    assert "…" not in taken.get()
    cells = [[part.strip() for part in line.split("│")[1:-1]] for line in taken.get().splitlines() if "│" in line]
    assert "".join(cell[0] for cell in cells) == "".join(symbols)
    assert "".join(cell[2] for cell in cells) == "348,851.2345" * 2


@pytest.mark.parametrize(
    ("account", "side"), [("USD", "USD/CAD sold (long CAD)"), ("CAD", "USD/CAD bought (long USD)")]
)
def test_the_universe_says_which_side_of_a_pair_is_held(account, side):
    result = CliRunner().invoke(main, ["universe", "seed", "--asset-class", "forex", "--currency", account])
    assert result.exit_code == 0
    rows = pd.read_csv(io.StringIO(result.output), index_col="symbol")
    assert rows.loc["CAD=X", "name"] == f"US dollar / Canadian dollar: {side}"
    assert rows["name"].str.contains("sold|bought").all()


def test_ctrl_c_ends_a_command_alike_while_it_is_still_being_imported(monkeypatch):
    class Interrupted(types.ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "clusterfolio.engine.jobs.report", Interrupted("report"))
    done = CliRunner().invoke(main, ["report", "somewhere"])
    assert done.exit_code == 130 and "Run the same command to go on" in done.output and "Aborted" not in done.output
