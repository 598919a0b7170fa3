"""What was said of the symbols, and what it means for what was held."""

import pandas as pd

from clusterfolio.engine.run_dir.remarks import broken_positions
from clusterfolio.feeds.levels import BREAK
from clusterfolio.feeds.raw import DOUBTED, Remark

DAYS = pd.bdate_range("2024-01-01", periods=4)


def test_a_position_over_a_broken_level_is_named_with_the_account_had_it_been_worth_nothing():
    positions = pd.DataFrame({"XYZ": [20.0, 25.0, 25.0, 0.0], "cash": [80.0, 75.0, 75.0, 110.0]}, index=DAYS)
    breaks = [Remark("XYZ", BREAK, DAYS[2], 21.8, "", DOUBTED), Remark("XYZ", "another", DAYS[2])]
    told = Remark("NOT.HELD", BREAK, DAYS[2], 0.1, "", DOUBTED)
    verdicts = pd.DataFrame({"remarks": [breaks, [told]]}, index=["XYZ", "NOT.HELD"])
    assert broken_positions(verdicts, positions) == [
        "XYZ: held at 25 (25.0% of the account) on 2024-01-02; its prices then break (x21.8 on 2024-01-03) and it "
        "leaves at the last believed close. Had it been worth nothing, the account would end at 82, not 110."
    ]
