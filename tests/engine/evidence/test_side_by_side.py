"""Several results on the sessions they share: figures against plain sums, and everything they do not share is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.evidence.side_by_side import named, side_by_side
from clusterfolio.feeds.writing import write_json, write_table
from tests.engine.ledger.made_trials import CONFIG, make_trial


def write_run(folder: Path, seed: int, start="2024-01-01", currency="USD", rebalance="month", claim="") -> Path:
    """A run directory as far as it is read here."""
    trial = make_trial(seed, start, 120)
    folder.mkdir(parents=True)
    write_table(folder / "returns.csv", trial.returns)
    headline = {"total_return": 0.1, "sharpe": 0.5}
    figures = dict.fromkeys(("cagr", "volatility", "sortino", "max_drawdown", "turnover"), 0.1) | headline
    period = {"cash_return": 0.02, "sessions": 120}
    write_json(folder / "metrics.json", {"strategy": figures, "benchmark": headline, "period": period})
    config = {**CONFIG, "trading": {"rebalance": rebalance}, "engine": {"seed": seed}}
    facts = {"config": config, "benchmark": "SPY", "currency": currency, "simulated": True, "ledger": {}}
    facts |= {"device": "cpu", "threads": 1, "cash": "bills", "universe": {}, "versions": {"torch": "2"}}
    facts |= {"dates": {"panel": ["2020-01-01", "2024-12-31"]}, "fingerprint": {"data": "d" * 64, "code": "c" * 16}}
    write_json(folder / "run.json", facts)
    if claim:
        write_json(folder / "significance.json", {"verdict": {"headline": claim}})
    return folder


def test_figures_are_over_the_sessions_that_all_share(tmp_path):
    first = write_run(tmp_path / "a", 0, claim="No evidence of skill.")
    second = write_run(tmp_path / "b", 1, start="2024-02-01", rebalance="quarter", currency="EUR")
    found = side_by_side([first, second])
    returns = [pd.read_csv(folder / "returns.csv", index_col=0)["strategy"] for folder in (first, second)]
    shared = returns[0].index.intersection(returns[1].index)
    total = (1 + returns[0].loc[shared]).prod() - 1
    assert found.figures.loc["a", "total_return"] == pytest.approx(total)
    assert list(found.returns) == ["a", "b", "benchmark SPY"] and len(found.returns) == len(shared)
    assert found.correlations.loc["a", "b"] == pytest.approx(np.corrcoef(*(one.loc[shared] for one in returns))[0, 1])
    assert found.claims == {"a": "No evidence of skill.", "b": ""}
    assert {one.what: (one.first, one.second) for one in found.differences["b"]}["trading.rebalance"] == (
        "'month'",
        "'quarter'",
    )
    said = " ".join(found.remarks)
    assert f"the {len(shared)} sessions that all share, 2024-02-01 to " in said
    assert "a in USD, b in EUR" in said and "Left out of a, b" in said
    assert found.best["results"] == 2 and found.best["name"] == found.figures.loc[["a", "b"], "sharpe"].idxmax()


def test_the_best_of_many_without_skill_is_not_taken_for_skill(tmp_path):
    folders = [write_run(tmp_path / f"r{seed}", seed) for seed in range(12)]
    best = side_by_side(folders).best
    assert best["sharpe"] > 1.0 and best["by_luck"] > 0.7 * best["sharpe"] and best["deflated"] < 0.9
    assert 6 < best["effective"] <= 12


def test_a_paper_account_is_shown_beside_its_model(tmp_path):
    run = write_run(tmp_path / "run", 0)
    days = pd.bdate_range("2024-01-01", periods=60, name="day")
    worth = pd.DataFrame({"account": 1e5 * 1.001 ** np.arange(60), "model": 1e5 * 1.002 ** np.arange(60)}, days)
    (tmp_path / "paper").mkdir()
    write_table(tmp_path / "paper" / "days.csv", worth)
    found = side_by_side([run, tmp_path / "paper"])
    assert list(found.returns) == ["run", "paper (account)", "paper (model)", "benchmark SPY"]
    assert found.figures.loc["paper (model)", "total_return"] == pytest.approx(1.002**59 - 1)
    assert found.differences["paper (account)"] == []


def test_what_cannot_be_put_side_by_side_is_said(tmp_path):
    run = write_run(tmp_path / "a", 0)
    with pytest.raises(ValueError, match="the same folder twice"):
        side_by_side([run, run])
    with pytest.raises(ValueError, match="got 1 result"):
        side_by_side([run])
    with pytest.raises(ValueError, match=r"they share 0 sessions, at least 20 are needed \(a 2024-01-01 to 2024-06-14"):
        side_by_side([run, write_run(tmp_path / "late", 1, start="2026-01-01")])
    with pytest.raises(FileNotFoundError):
        side_by_side([run, tmp_path])
    assert named([Path("x/a/run"), Path("x/b/run")]) == ["a/run", "b/run"]
