"""Opening a finished run again."""

import pytest

from clusterfolio.engine.config.run import dump, make_config
from clusterfolio.engine.run_dir import finished
from tests.conftest import three_clusters


@pytest.mark.parametrize(("stated", "earns"), [("", False), ("[trading]\ncapital = 5.0", False), (None, True)])
def test_a_run_from_before_cash_could_earn_is_put_beside_what_earns_nothing_on_cash(
    tmp_path, monkeypatch, stated, earns
):
    monkeypatch.setattr(finished, "load_market", lambda config: type("Market", (), {"panel": three_clusters()}))
    (tmp_path / "config.toml").write_text(dump(make_config({})) if stated is None else stated)
    config, *_ = finished._made(tmp_path)
    assert config.trading.cash_interest == earns and config.trading.capital == (5.0 if stated else 100_000.0)
