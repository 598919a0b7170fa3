"""The report page, built from a small seeded run that was made up here without the engine."""

import base64
import contextlib
import hashlib
import io
import json
import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import tomli_w
from matplotlib.figure import Figure

from clusterfolio.engine.evidence.cluster_maps import project
from clusterfolio.engine.report.contents import SECTIONS
from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.charts import Lines, Panel, Series
from clusterfolio.engine.report.layout.section import Section
from clusterfolio.engine.report.page import Picture, left_out, render, sections_of, write_report
from clusterfolio.engine.report.sections.calendar import calendar_table, parts
from clusterfolio.engine.report.sections.caveats import caveats, fills
from clusterfolio.engine.report.sections.clusters import lasting, stability_chart
from clusterfolio.engine.report.sections.holdings import groups_held, picks
from clusterfolio.engine.report.sections.run import facts
from clusterfolio.engine.report.sections.sheet_data import LOTS, in_lots
from clusterfolio.engine.report.sections.summary import account, plot_drawdowns, plot_equity
from clusterfolio.engine.report.sections.tear_sheets import Sheet, tear_sheets
from clusterfolio.engine.report.sections.trading import gross_to_net, transaction_summary
from clusterfolio.engine.run_dir.tables import ReportInputs, asked_for, read_run
from clusterfolio.engine.trading.metrics import compute_metrics

#: Anchors of what every page has.
ANCHORS = (
    "summary", "headline", "calendar", "holdings", "clusters", "trading", "tearsheets", "data", "run", "caveats",
)  # fmt: skip
TRADE_COLUMNS = ["date", "symbol", "amount", "level", "value", "commission", "spread", "impact", "reason"]
COST = 5e-4  # of the traded value, two fifths of it commission


def fake_run(
    n_sessions=60, n_assets=24, n_clusters=6, n_decisions=3, drift=0.0005, sd=0.01, currency="USD", simulated=True
) -> ReportInputs:
    """A market with planted clusters, traded without any broker: equal weights in one name per cluster."""
    rng = np.random.default_rng(0)
    days = pd.bdate_range("2025-01-02", periods=n_sessions, name="date")
    symbols = ["NA", "0005", "TRUE", *(f"S{i:02d}" for i in range(3, n_assets))][:n_assets]
    labels = np.arange(n_assets) % n_clusters
    moves = drift + sd * (
        rng.normal(size=(n_sessions, n_clusters))[:, labels] + rng.normal(size=(n_sessions, n_assets))
    )
    prices = pd.DataFrame(100 * np.cumprod(1 + moves, axis=0), days, symbols)
    before = days[0] - pd.offsets.BDay(1)
    decided = np.linspace(0, n_sessions, n_decisions, endpoint=False).astype(int)
    value, cash, shares = 1e5, 1e5, pd.Series(0.0, symbols)
    rows, trades, weights, clusters = [], [], {}, []
    for i, day in enumerate(days):
        paid = 0.0
        if i in decided:
            asof = days[i - 1] if i else before
            sharpe = pd.Series(rng.normal(1, 0.5, n_assets), symbols)
            chosen = sharpe.groupby(labels).idxmax().tolist()
            weights[asof] = pd.Series(0.98 / n_clusters, chosen)
            clusters.append(
                pd.DataFrame({
                    "date": asof, "symbol": symbols, "cluster": labels, "sharpe": sharpe.to_numpy(),
                    "selected": np.isin(symbols, chosen),
                })
            )  # fmt: skip
            change = weights[asof].reindex(symbols).fillna(0.0) * value / prices.iloc[i] - shares
            for symbol, amount in change[change != 0].items():
                price = prices.loc[day, symbol]
                traded = amount * price
                cost = abs(traded) * COST
                trades.append((day, symbol, amount, price, traded, 0.4 * cost, 0.5 * cost, 0.1 * cost, "rebalance"))
                cash, paid = cash - traded - cost, paid + cost
            shares = shares + change
        held = shares * prices.iloc[i]
        worth = held.sum() + cash
        rows.append((worth / value - 1, (worth + paid) / value - 1, *held, cash))
        value = worth
    table = pd.DataFrame(rows, days, columns=["net", "gross", *symbols, "cash"])
    returns = pd.DataFrame({"strategy": table["net"], "benchmark": moves.mean(axis=1)}, days)
    wide = pd.DataFrame(weights).T.fillna(0.0).rename_axis("date")
    sphere = rng.normal(size=(n_clusters, 8))[labels] + 0.2 * rng.normal(size=(n_assets, 8))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    embeddings = pd.DataFrame(sphere, columns=[f"e{i}" for i in range(8)])
    embeddings.insert(0, "symbol", symbols)
    embeddings.insert(0, "date", clusters[-1]["date"].iloc[0])
    inputs = ReportInputs(
        returns=returns,
        gross=table["gross"].rename("gross"),
        weights=wide.assign(CASH=1 - wide.sum(axis=1)),
        positions=table[[*symbols, "cash"]],
        transactions=pd.DataFrame(trades, columns=TRADE_COLUMNS),
        clusters=pd.concat(clusters, ignore_index=True),
        embeddings=embeddings,
        maps=fake_maps(decided=clusters),
        symbols=known_symbols(symbols, labels),
        metrics={},
        config={"data": {"source": "simulated"}, "trading": {"rebalance": "month", "capital": 1e5}},
        run={
            "benchmark": "SPY", "currency": currency, "capital": 1e5, "simulated": simulated, "device": "cpu",
            "seed": 7, "fingerprint": {"data": "c0ffee"},
            "seconds": {"load": 1.25, "train": 20.5}, "versions": {"numpy": "2"},
            "notes": ["6 clusters, 6 names."], "dates": {"panel": ["2024-01-02", str(days[-1].date())]},
            "excluded": {"S09": "volatility under 3 %"},
            "unfilled": [["2025-01-03", "S11", "no bar"]],
        },
    )  # fmt: skip
    return with_metrics(inputs)


def fake_maps(decided):
    """Places and a tree for every decision, without any t-SNE."""
    tables = []
    for seed, rows in enumerate(decided):
        rng, n = np.random.default_rng(seed), len(rows)
        places = {"x": rng.integers(0, 1000, n).astype(float), "y": rng.integers(0, 1000, n).astype(float)}
        leaf = rng.permutation(n)
        height = np.where(leaf == 0, np.nan, rng.uniform(0.1, 2, n))
        tables.append(rows[["date", "symbol"]].assign(**places, leaf=leaf, height=height))
    return pd.concat(tables, ignore_index=True)


def known_symbols(symbols, labels):
    table = pd.DataFrame(
        {
            "verdict": "used", "why": "", "name": [f"Name of {symbol}" for symbol in symbols],
            "asset_class": np.array(["equity", "government bond", "forex"])[labels % 3], "sector": "",
            "currency": "USD",
        },
        pd.Index(symbols, name="symbol"),
    )  # fmt: skip
    table.loc[symbols[0], ["verdict", "why", "name"]] = ["repaired", "2 bars <taken> out", "<script>alert(1)</script>"]
    table.loc["DEAD"] = ["dropped", "no bar after 2019-03-04", "", "", "", ""]
    return table


def with_metrics(inputs):
    closes = (1 + inputs.returns["benchmark"]).cumprod()
    days = inputs.returns.index
    costs = inputs.transactions.groupby("date")[["commission", "spread", "impact"]].sum().reindex(days).fillna(0.0)
    result = SimpleNamespace(**vars(inputs), costs=costs.assign(financing=0.0), interest=pd.Series(0.5, days))
    return replace(inputs, metrics=compute_metrics(result, 0.03, closes))


def all_cash(n_sessions):
    inputs = fake_run(n_sessions)
    flat = inputs.returns.assign(strategy=0.0)
    return with_metrics(
        replace(
            inputs,
            returns=flat,
            gross=flat["strategy"].rename("gross"),
            weights=pd.DataFrame({"CASH": [1.0]}, inputs.weights.index[:1]),
            positions=pd.DataFrame({"cash": 1e5}, flat.index),
            transactions=inputs.transactions.iloc[:0],
            clusters=inputs.clusters.iloc[:0],
            embeddings=inputs.embeddings.iloc[:0],
            maps=inputs.maps.iloc[:0],
        )
    )


def strictly(function, *args):
    """The call with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*args)


def write_files(folder, inputs):
    """The run directory as the program writes it."""

    def csv(table, name):
        table.to_csv(folder / name, date_format="%Y-%m-%d", lineterminator="\n")

    csv(inputs.returns, "returns.csv")
    csv(inputs.gross.to_frame(), "returns_gross.csv")
    csv(inputs.weights, "weights.csv")
    csv(inputs.positions, "positions.csv")
    csv(inputs.transactions.set_index("date"), "transactions.csv")
    csv(inputs.clusters.set_index("date"), "clusters.csv")
    csv(inputs.symbols, "symbols.csv")
    inputs.embeddings.to_parquet(folder / "embeddings.parquet", index=False)
    inputs.maps.to_parquet(folder / "maps.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(inputs.metrics), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(inputs.run), encoding="utf-8")
    (folder / "config.toml").write_text(tomli_w.dumps(inputs.config), encoding="utf-8")


@pytest.fixture(scope="module")
def inputs():
    return fake_run()


@pytest.fixture(scope="module")
def written(inputs, tmp_path_factory):
    """A page built from the files of a run, with what it left behind in the process."""
    folder = tmp_path_factory.mktemp("run")
    write_files(folder, inputs)
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("svg")
    figure = plt.figure()
    np.random.seed(5)  # noqa: NPY002 - pyfolio seeds the global generator
    style = dict(matplotlib.rcParams)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        path = strictly(write_report, folder)
    after = SimpleNamespace(
        backend=matplotlib.get_backend(),
        figures=plt.get_fignums(),
        own=figure.number,
        drawn=np.random.rand(),  # noqa: NPY002
        style=dict(matplotlib.rcParams) == style,
    )
    plt.close(figure)
    plt.switch_backend(backend)
    return SimpleNamespace(
        path=path, page=path.read_text(encoding="utf-8"), folder=folder, after=after, printed=printed.getvalue()
    )


def test_the_page_has_every_section_and_every_sheet(written):
    for section in ANCHORS:
        assert f'<section id="{section}">' in written.page
        assert f'href="#{section}"' in written.page
    for sheet in ("returns", "positions", "transactions", "round_trips"):
        assert f'id="tearsheet-{sheet}"' in written.page
    assert "This sheet is absent" not in written.page


def test_the_page_asks_nothing_of_the_network(written):
    markup = re.sub(r"<script>.*?</script>", "", written.page, flags=re.DOTALL)
    sources = re.findall(r'(?:src|href|srcset|data)\s*=\s*"([^"]*)"', markup)
    assert sources and all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    own = re.sub(r"base64,[A-Za-z0-9+/=]+", "", markup)
    assert not re.search(r"https?://|url\(|@import|<link|<iframe", own)


def test_only_the_pages_own_scripts_may_run(written):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', written.page)[1]
    allowed = set(re.findall(r"&#39;sha256-([^&]*)&#39;", policy))
    scripts = re.findall(r"<script>(.*?)</script>", written.page, flags=re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert len(scripts) == 2 and digests == allowed
    assert policy.startswith("default-src &#39;none&#39;") and "unsafe-eval" not in policy and "http" not in policy


def test_a_simulated_run_says_so_at_the_top_and_a_real_one_does_not(written, inputs):
    assert "<title>SIMULATED" in written.page
    assert written.page.index("<b>SIMULATED</b> The prices") < written.page.index("<h1>Simulated")
    real = replace(inputs, run=inputs.run | {"simulated": False})
    real = replace(real, config={"data": {"source": "files"}})
    page = render(real, {"account": Picture(b""), "tearsheet_returns": Sheet("returns", "Returns", b"png")})
    assert "simulated" not in page[page.index("</style>") : page.index("<script>")].lower()
    assert "simulated" not in page[: page.index("<style>")].lower()


def test_pictures_carry_the_simulated_mark():
    marked, plain = (plot_drawdowns(fake_run(30).returns, "SPY") for _ in range(2))
    assert plots.to_png(marked, simulated=True) != plots.to_png(plain, simulated=False)
    assert [text.get_text() for text in marked.texts] == ["SIMULATED DATA"]
    assert marked.get_title(loc="right") == "SIMULATED DATA"


def test_pictures_are_also_files(written):
    names = {path.name for path in written.folder.glob("*.png")}
    own = {"account", "weights", "clusters", "dendrogram"}
    sheets = {f"tearsheet_{name}" for name in ("returns", "positions", "transactions", "round_trips")}
    assert names == {f"{name}.png" for name in own | sheets}
    assert not list(written.folder.glob("*.part"))


def test_nothing_is_left_behind_in_the_process(written):
    np.random.seed(5)  # noqa: NPY002
    assert written.after.drawn == np.random.rand()  # noqa: NPY002
    assert written.after.backend == "svg"
    assert written.after.figures == [written.after.own]
    assert written.after.style


def test_figures_on_the_page_are_those_of_the_metrics(written, inputs):
    own = inputs.metrics["strategy"]
    assert f"{own['total_return']:.1%}".replace("-", "−") in written.page
    assert f"{own['costs']['total']:,.0f}" in written.page
    assert "2025-01-02 to 2025-03-26" in written.page
    assert "USD 100,000" in written.page


def test_what_the_data_says_is_text_never_markup(written):
    assert "<script>alert" not in written.page
    assert "&lt;taken&gt;" in written.page


def test_verdicts_list_every_symbol_that_was_not_simply_used(written):
    section = written.page[written.page.index('id="data"') :]
    assert "no bar after 2019-03-04" in section and "2 bars &lt;taken&gt; out" in section
    assert "<b>23</b>used" in section and "<b>1</b>dropped" in section and "<b>1</b>repaired" in section
    assert "volatility under 3 %" in section


def test_a_run_directory_reads_back_as_it_was_written(written, inputs):
    read = read_run(written.folder)
    for name in ("returns", "weights", "positions", "transactions", "clusters", "embeddings", "symbols"):
        pd.testing.assert_frame_equal(
            getattr(read, name), getattr(inputs, name), check_dtype=False, check_freq=False, rtol=1e-14,
            check_column_type=False, check_index_type=False,
        )  # fmt: skip
    pd.testing.assert_series_equal(read.gross, inputs.gross, check_freq=False, check_index_type=False, rtol=1e-14)
    assert (read.metrics, read.config, read.run) == (inputs.metrics, inputs.config, inputs.run)
    assert {"NA", "0005", "TRUE"} <= set(read.clusters["symbol"]) & set(read.symbols.index)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run_dir: .* holds no run.json"):
        read_run(tmp_path)


def sheets_of(inputs):
    groups = inputs.symbols["asset_class"].drop("DEAD")
    return tear_sheets(
        inputs.returns, inputs.positions, inputs.transactions, groups, inputs.run["currency"], inputs.run["simulated"]
    )


def test_an_account_that_held_nothing_has_no_sheets_of_its_cash(inputs):
    still = replace(inputs, positions=inputs.positions * [name == "cash" for name in inputs.positions])
    sheets = sheets_of(replace(still, transactions=inputs.transactions.iloc[:0]))
    assert sheets[0].absent == sheets[1].absent == "the strategy held nothing but cash" and not sheets[0].png


def test_pyfolio_prints_nothing(written):
    assert written.printed == ""


def test_pyfolio_computes_on_our_returns(written, inputs):
    own = inputs.metrics["strategy"]
    shown = [figure(written, name) / 100 for name in ("Cumulative returns", "Max drawdown")]
    assert shown == pytest.approx([own["total_return"], own["max_drawdown"]], abs=1e-5)


def test_round_trips_add_up_to_the_profit_before_costs(written, inputs):
    before_costs = inputs.positions.iloc[-1].sum() - 1e5 + inputs.metrics["strategy"]["costs"]["total"]
    assert figure(written, "Total profit") == pytest.approx(before_costs, rel=0.01)


def chart_data(page):
    """What each chart on a page is drawn from, by its name."""
    found = re.findall(
        r'<figure class="chart" id="chart-(\w+)">.*?<script type="application/json">(.*?)</script>', page, re.DOTALL
    )
    return {name: json.loads(text, object_hook=with_days) for name, text in found}


def with_days(found):
    """A row of days stands on a page as its first and the steps from each to the next."""
    if isinstance(x := found.get("x"), dict):
        days = pd.Timestamp(x["first"]) + pd.to_timedelta(np.cumsum([0, *x["then"]]), unit="D")
        return found | {"x": [f"{day:%Y-%m-%d}" for day in days]}
    return found


def figure(written, name):
    """The first cell of the row of that name in the tear sheets' tables."""
    cell = re.search(
        f'<tr><th scope="row">{name}</th><td>([^<]*)</td>', written.page[written.page.index('id="tearsheets"') :]
    )[1]
    return float(cell.strip("%").replace(",", "").replace("−", "-"))


@pytest.mark.parametrize("n_sessions", [1, 2])
def test_a_short_run_has_a_page_that_says_what_is_absent(n_sessions, tmp_path):
    page = strictly(write_report, tmp_path, fake_run(n_sessions, n_decisions=1)).read_text(encoding="utf-8")
    assert f"it needs 21 sessions and the run has {n_sessions}" in page
    assert ("it needs two sessions and the run has one" in page) == (n_sessions == 1)


@pytest.mark.parametrize("n_sessions", [1, 40])
def test_a_run_in_cash_has_a_page(n_sessions, tmp_path):
    cash = all_cash(n_sessions)
    write_files(tmp_path, cash)
    page = strictly(write_report, tmp_path).read_text(encoding="utf-8")
    assert "the strategy held nothing but cash" in page
    assert "Nothing was bought or sold" in page
    assert "Clusters, Cluster passports, What the embedding looks at (no decision of this run" in page


def test_a_single_trade_has_a_page(tmp_path):
    one = fake_run(21, n_assets=3, n_clusters=1, n_decisions=1, currency="EUR")
    page = strictly(write_report, tmp_path, one).read_text(encoding="utf-8")
    assert "it needs 5 round trips and the run has 1" in page
    assert "EUR 100,000" in page and "$" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page[: page.index("<script>")])


def test_trades_that_all_win_keep_the_tables_of_the_round_trips():
    winners = fake_run(5, n_decisions=1, drift=0.05, sd=0.001)
    sheet = strictly(sheets_of, winners)[3]
    assert not sheet.png and not sheet.absent and "all went the same way" in sheet.note
    assert dict(sheet.tables[0].rows)["Winning round_trips"][0] == "6.00"


def test_lots_keep_every_symbols_profit_and_close_what_is_closed():
    trades = pd.DataFrame(
        {
            "symbol": ["A", "A", "A", "B", "B"],
            "amount": [0.4, 0.35, -0.75, 3e6, -1e6],
            "price": [10.0, 20.0, 30.0, 0.01, 0.02],
        },
        pd.DatetimeIndex(["2025-01-02", "2025-01-03", "2025-01-06", "2025-01-02", "2025-01-03"]),
    )
    lots, worth = in_lots(trades)
    assert (lots["amount"] % 1 == 0).all()
    assert lots.groupby("symbol")["amount"].sum()["A"] == 0 and worth["A"] == 0
    assert lots["amount"].abs().max() <= LOTS
    spent = (lots["amount"] * lots["price"]).groupby(lots["symbol"]).sum()
    assert spent["A"] == pytest.approx(0.4 * 10 + 0.35 * 20 - 0.75 * 30, rel=0.01)
    assert spent["B"] + 0.02 * 2e6 * worth["B"] == pytest.approx(3e6 * 0.01 + 1e6 * 0.02, rel=0.01)


def test_whole_shares_stay_whole_shares():
    trades = pd.DataFrame(
        {"symbol": "A", "amount": [7.0, -3.0], "price": [10.0, 11.0]}, pd.bdate_range("2025-01-02", periods=2)
    )
    lots, worth = in_lots(trades)
    pd.testing.assert_frame_equal(lots, trades, check_freq=False)
    assert worth["A"] == 1.0


def test_calendar_table_compounds_by_month_and_year():
    days = pd.DatetimeIndex(["2024-12-30", "2024-12-31", "2025-01-02", "2025-02-03"])
    returns = pd.DataFrame({"strategy": [0.1, 0.1, -0.1, 0.2], "benchmark": [0.0, 0.01, 0.0, 0.03]}, days)
    first, second = calendar_table(returns)
    assert first["year"] == 2024 and second["year"] == 2025
    assert first["strategy"][11] == pytest.approx(0.21) and first["strategy"][0] is None
    assert second["strategy"][:2] == pytest.approx([-0.1, 0.2])
    assert second["strategy_year"] == pytest.approx(0.08) and second["benchmark_year"] == pytest.approx(0.03)


def test_picks_are_the_selected_names_of_the_last_decision(inputs):
    shown = picks(inputs)
    last = inputs.clusters[inputs.clusters["date"] == inputs.weights.index[-1]]
    assert {pick["symbol"] for pick in shown} == set(last.loc[last["selected"], "symbol"])
    assert [pick["cluster"] for pick in shown] == list(range(6))
    assert all(pick["weight"] == pytest.approx(0.98 / 6) and pick["members"] == 4 for pick in shown)


def test_transactions_are_summed_by_reason_and_side(inputs):
    rows = transaction_summary(inputs.transactions)
    assert sum(row["trades"] for row in rows) == len(inputs.transactions)
    assert sum(row["value"] for row in rows) == pytest.approx(inputs.transactions["value"].abs().sum())
    assert {(row["reason"], row["side"]) for row in rows} == {("rebalance", "buy"), ("rebalance", "sell")}
    assert sum(row["costs"] for row in rows) == pytest.approx(COST * inputs.transactions["value"].abs().sum())


def test_gross_is_net_and_the_costs_by_kind_in_money(written, inputs):
    (_, before), *costs, (_, after) = gross_to_net(inputs)
    assert [what for what, _ in costs] == ["Commission", "Half the spread", "Market impact"]
    assert after == pytest.approx(inputs.positions.iloc[-1].sum() - 1e5)
    assert before + sum(paid for _, paid in costs) == pytest.approx(after)
    assert before == pytest.approx((inputs.gross * inputs.positions.sum(axis=1).shift(1).fillna(1e5)).sum())
    assert "Market impact (USD)" in written.page and "Financing" not in written.page


def test_caveats_follow_what_was_traded(inputs):
    headings = [heading for heading, _ in caveats(inputs)]
    assert {"Currency", "Taxes", "No carry", "Simulated data"} <= set(headings)
    shares = replace(inputs, symbols=inputs.symbols.assign(asset_class="equity"), run=inputs.run | {"simulated": False})
    headings = {heading for heading, _ in caveats(shares)}
    assert "Survivorship" in headings and not {"No carry", "Simulated data"} & headings


def test_every_caveat_stands_once_on_the_page_and_the_summary_points_to_the_weightiest(inputs):
    words = {
        "claim": False, "headline": "Not judged.", "reading": "No test was made.", "supports": [], "against": [],
        "needed": [], "caveats": [["Simulated data", "Made up."], ["Trials", "The only run on record."]],
    }  # fmt: skip
    nothing = dict.fromkeys(("parts", "primary", "sharpe", "overfitting", "snooping"))
    page = strictly(render, replace(inputs, evidence={"verdict": words, "claims": [], **nothing}), {})
    shown = re.findall(r"<li><strong>([^<]*)</strong>", page)
    assert shown == ["Simulated data", "Trials", "Taxes", "Fills", "No carry", "One history"]
    weightiest = "trials.</strong> The only run on record. Also: one history, simulated data."
    assert f'{weightiest} <a href="#caveats">All 6 caveats</a>' in page
    listed = page[page.index('id="caveats"') :]
    assert page.count("Made up.") == listed.count("Made up.") == listed.count("The only run on record.") == 1


ABOUT_CLUSTERS = (
    "clusters.csv",
    "stability.csv",
    "passports.csv",
    "importance.csv",
    "embeddings.parquet",
    "maps.parquet",
)


@pytest.fixture(scope="module", params=["absent", "without rows"])
def clusterless(request, inputs, tmp_path_factory):
    """The directory of a run whose policy states no clusters."""
    folder = tmp_path_factory.mktemp("clusterless")
    write_files(folder, inputs)
    for name in ABOUT_CLUSTERS:
        (folder / name).unlink(missing_ok=True)
        if request.param == "without rows" and name.endswith("csv"):
            (folder / name).write_text("date,symbol,cluster,sharpe,selected\n", encoding="utf-8")
    return folder


def test_a_run_without_clusters_has_a_page_that_says_what_is_left_out_and_why(clusterless, inputs):
    page = strictly(write_report, clusterless).read_text(encoding="utf-8")
    line = "Clusters, Cluster passports, What the embedding looks at (no decision of this run states clusters)."
    assert page.count(line) == 1 and page.index(line) > page.index("</main>")
    for anchor in {section.anchor for section in SECTIONS} - {
        "clusters",
        "passports",
        "importance",
        "verdict",
        "promises",
        "rolling",
    }:
        assert f'<section id="{anchor}">' in page and f'href="#{anchor}"' in page
    for gone in ("promises", "clusters", "passports", "importance"):
        assert f'id="{gone}"' not in page and f'href="#{gone}"' not in page
    assert "Cluster portfolio" not in page and "Clustered at the last decision" not in page
    held = inputs.weights.iloc[-1].drop("CASH").loc[lambda weights: weights > 0]
    holdings = page[page.index('id="holdings"') : page.index('id="trading"')]
    assert (
        all(f'<tr><th scope="row">{symbol}</th>' in holdings for symbol in held.index)
        and ">Cluster</th>" not in holdings
    )
    assert not {"clusters.png", "dendrogram.png"} & {path.name for path in clusterless.iterdir()}


def test_a_run_without_training_or_record_of_it_has_a_page(clusterless):
    facts = json.loads((clusterless / "run.json").read_text())
    bare = facts | dict.fromkeys(("training", "device", "seconds", "notes", "unfilled", "excluded", "fingerprint"))
    spans = {"train_start": "2023-01-03", "train_end": "2024-12-31", "start": "2025-01-02", "end": "2025-01-31"}
    read = replace(read_run(clusterless), run=bare | {"folds": [spans, spans]})
    page = strictly(render, read, {})
    assert "Not recorded." in page and page.count("2023-01-03 to 2024-12-31") == 2


def test_a_page_with_every_section_leaves_nothing_out(inputs):
    full = [section for section in SECTIONS if not section.absent(inputs)]
    assert left_out(inputs, full) == "" and "Left out" not in render(inputs, {}, full)


def test_labels_of_a_logarithmic_axis_are_numbers(inputs, monkeypatch):
    """No label on a sheet is a formula: they are written as they stand, since a symbol may be $_$."""
    seen = []

    def drawn(figure, *args, **kwargs):
        figure.canvas.draw()
        seen.extend(label.get_text() for axes in figure.axes for which in ("major", "minor")
                    for label in axes.yaxis.get_ticklabels(which=which))  # fmt: skip
        return original(figure, *args, **kwargs)

    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", drawn)
    with matplotlib.rc_context({"text.parse_math": False}):
        tear_sheets(inputs.returns, inputs.positions, inputs.transactions, groups_held(inputs)[0], "USD", True)
    assert len(seen) > 20 and not [text for text in seen if "mathdefault" in text]


def test_a_section_of_ones_own_is_one_entry(inputs, tmp_path):
    def draw(inputs):
        ax = Figure().add_subplot()
        ax.plot(inputs.returns["strategy"])
        return {"mine": ax}

    def daily(inputs):
        line = Series("</script><b>S</b>", inputs.returns["strategy"])
        return {"daily": Lines("Daily returns", "They are <small>.", line.values.index, [Panel("Return", [line])])}

    mine = Section(
        "mine", "My <own> section",
        "<p>{{ best | percent }}</p>{{ picture('mine', 'Daily returns') }}{{ chart('daily') }}{{ chart('absent') }}",
        build=lambda inputs: {"best": inputs.returns["strategy"].max()}, draw=draw, charts=daily,
        absent=lambda inputs: "" if len(inputs.returns) > 50 else "the run is short",
    )  # fmt: skip
    others = [section for section in SECTIONS if section.anchor in ("headline", "calendar", "holdings")]
    page = write_report(tmp_path, inputs, [*others, mine]).read_text(encoding="utf-8")
    best = f"<p>{inputs.returns['strategy'].max():.1%}</p>"
    assert '<section id="mine">\n<h2>My &lt;own&gt; section</h2>' in page and best in page
    assert '<a href="#mine">My &lt;own&gt; section</a>' in page
    assert 'alt="Daily returns, simulated data"' in page and (tmp_path / "mine.png").stat().st_size
    drawn = chart_data(page)
    assert list(drawn) == ["weights", "daily"] and drawn["daily"]["x"][0] == "2025-01-02"
    series = drawn["daily"]["panels"][0]["series"][0]
    assert series["name"] == "</script><b>S</b>" and "</script><b>" not in page
    assert series["values"] == pytest.approx(inputs.returns["strategy"].tolist(), rel=1e-6)
    assert 'aria-label="They are &lt;small&gt;., simulated data"' in page
    short = replace(inputs, returns=inputs.returns.iloc[:50])
    assert "Left out: My &lt;own&gt; section (the run is short)." in render(short, {}, [*others, mine])


def test_sections_are_told_apart():
    assert (
        len({section.anchor for section in SECTIONS}) == len({section.title for section in SECTIONS}) == len(SECTIONS)
    )


def test_plots_draw_on_the_axes_they_are_given(inputs):
    ax = Figure().add_subplot()
    assert plot_drawdowns(inputs.returns, "SPY", ax=ax) is ax
    assert ax.get_ylabel() == "Below the last peak (%)"


def test_the_equity_curve_starts_at_the_capital_and_ends_at_the_account(inputs):
    ax = plot_equity(account(inputs)[0], "USD", "SPY")
    net = next(line for line in ax.lines if line.get_label().startswith("Strategy, net"))
    assert net.get_ydata()[0] == 1e5
    assert net.get_ydata()[-1] == pytest.approx(inputs.positions.iloc[-1].sum())


@pytest.mark.parametrize("n_assets", [2, 3, 9, 30])
def test_the_cluster_map_is_the_same_every_time_and_keeps_every_asset(n_assets):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(n_assets, 4)))
    first, second = project(table), project(table)
    assert first.shape == (n_assets, 2) and np.isfinite(first.to_numpy()).all()
    pd.testing.assert_frame_equal(first, second)


def test_a_walk_forward_shows_its_trainings_and_how_clusters_last(inputs):
    days = [day for day in inputs.weights.index[1:]]
    counts = {"common": 10, "joined": 0, "left": 0, "moved": 2}
    table = pd.DataFrame([{"date": day, **counts, "adjusted_rand": 0.5} for day in days])
    row = {
        "train_start": "2023-01-03", "train_end": "2024-12-31", "decides_from": "2024-12-31", "start": "2025-01-02",
        "end": "2025-01-31", "windows": 99_000, "passes": 1, "train_loss": 0.25, "holdout_loss": None, "apart": None,
        "seconds": 3.0,
    }  # fmt: skip
    folds = [row, row | {"decides_from": f"{days[0]:%Y-%m-%d}", "apart": 0.05}]
    rolling = replace(inputs, stability=table, run=inputs.run | {"folds": folds})
    assert lasting(rolling) == {"compared": len(days), "adjusted_rand": 0.5, "moved": 0.2}
    drawn = stability_chart(table, [days[0]])
    assert drawn.panels[0].series[0].values.tolist() == [0.5] * len(days) and drawn.marks[0][0] == f"{days[0]:%Y-%m-%d}"
    page = strictly(render, rolling, {})
    assert "20.0% of the assets moved" in page and "99,000" in page and page.count("2025-01-02 to 2025-01-31") == 2
    assert "From decision to decision" not in render(inputs, {})


def test_the_page_says_where_orders_fill_and_counts_symbols_and_not_files():
    assert "filled at the next open, without moving the price." in fills({"tradable": 9, "closes_only": 0})
    some = fills({"tradable": 9, "closes_only": 2})
    assert "next open" in some and "2 of 9 symbols" in some
    assert "next open" not in fills({"tradable": 9, "closes_only": 9})
    verdicts = ["used", "absent", "passed over", "exchange rate"]
    symbols = pd.DataFrame({"verdict": verdicts}, index=["A", "B", "README.md", "JPY=X"])
    assert asked_for(symbols).tolist() == [True, True, False, False]


def test_what_cash_earned_is_said_and_so_is_that_it_earned_nothing(inputs):
    rate = "a constant 3 % a year"
    run, trading = inputs.run | {"cash": rate}, inputs.config["trading"]
    on, off = (
        replace(inputs, run=run, config=inputs.config | {"trading": trading | {"cash_interest": paid}})
        for paid in (True, False)
    )
    total = round(inputs.metrics["strategy"]["interest"]["total"])
    assert ("Cash", f"earned USD {total} in the account, at {rate}; ratios over cash are over it") in facts(on)
    assert ("Cash", f"earned nothing in the account; ratios over cash are over {rate}") in facts(off)
    assert ("Cash", f"ratios over cash are over {rate}") in facts(replace(off, run=run | {"judged": {}}))
    assert "Interest on cash (USD)" in render(on, {})


def test_what_is_drawn_is_what_the_run_s_tables_hold(written, inputs):
    drawn = chart_data(written.page)
    above, below = drawn["account"]["panels"]
    value = inputs.positions.sum(axis=1)
    net = next(series for series in above["series"] if series["role"] == "strategy")
    assert drawn["account"]["x"][1:] == [f"{day:%Y-%m-%d}" for day in value.index]
    assert net["values"] == pytest.approx([1e5, *value], rel=1e-6)
    assert min(below["series"][-1]["values"]) == pytest.approx(inputs.metrics["strategy"]["max_drawdown"], rel=1e-6)
    held = {one["name"]: one["values"] for one in drawn["weights"]["views"]["By asset class"]["panels"][0]["series"]}
    assert held["cash"] == pytest.approx((inputs.positions["cash"] / value).tolist(), rel=1e-6)
    assert [sum(at) for at in zip(*held.values(), strict=True)] == pytest.approx([1.0] * len(value), rel=1e-6)
    targets = drawn["weights"]["views"]["Targets by name"]
    assert targets["x"] == [f"{day:%Y-%m-%d}" for day in inputs.weights.index]


def test_map_and_tree_have_every_asset_in_its_place_at_every_decision(written, inputs):
    drawn, tree = (chart_data(written.page)[name] for name in ("clusters", "dendrogram"))
    names = drawn["names"]
    assert [frame["label"] for frame in drawn["frames"]] == [f"{day:%Y-%m-%d}" for day in inputs.weights.index]
    for frame, leaves, (day, rows) in zip(
        drawn["frames"], tree["frames"], inputs.clusters.groupby("date"), strict=True
    ):
        at = rows.set_index("symbol").loc[names]
        assert frame["groups"] == at["cluster"].tolist() and frame["marked"] == np.flatnonzero(at["selected"]).tolist()
        assert frame["facts"]["Sharpe ratio"] == at["sharpe"].round(2).tolist()
        places = inputs.maps[inputs.maps["date"] == day].set_index("symbol").loc[names]
        assert frame["x"] == places["x"].tolist() and frame["y"] == places["y"].tolist()
        assert [places["leaf"].iloc[at] for at in leaves["leaves"]] == list(range(len(names)))
        assert leaves["heights"] == pytest.approx(places.sort_values("leaf")["height"].iloc[1:].tolist(), rel=1e-6)
    assert "The slider goes through all 3 decisions" in written.page


def test_a_run_from_before_maps_were_kept_shows_its_last_decision(inputs):
    page = render(replace(inputs, maps=None), {}, sections_of(tear_sheets=False))
    drawn = chart_data(page)
    assert [frame["label"] for frame in drawn["clusters"]["frames"]] == [f"{inputs.weights.index[-1]:%Y-%m-%d}"]
    assert sorted(drawn["dendrogram"]["frames"][0]["leaves"]) == list(range(24))
    assert "left the places of its last decision only" in page


def test_the_encoders_map_is_empty_but_at_the_last_decision(inputs):
    last = inputs.maps["date"] == inputs.maps["date"].max()
    maps = inputs.maps.assign(encoder_x=inputs.maps["y"].where(last), encoder_y=inputs.maps["x"].where(last))
    drawn = chart_data(render(replace(inputs, maps=maps, encoded=inputs.embeddings), {}, sections_of(False)))
    first, second, third = (frame["x"] for frame in drawn["encoder"]["frames"])
    assert set(first) == set(second) == {None} and "last decision alone" in drawn["encoder"]["absent"]
    assert third == drawn["clusters"]["frames"][2]["y"]


def test_where_too_many_decisions_were_made_the_page_says_how_many_it_shows(inputs):
    maps = inputs.maps[inputs.maps["date"] != inputs.weights.index[1]]
    page = render(replace(inputs, maps=maps), {}, sections_of(tear_sheets=False))
    assert "The slider goes through 2 of 3 decisions" in page
    assert len(chart_data(page)["dendrogram"]["frames"]) == 2


def test_every_table_says_what_it_holds_and_every_heading_what_it_heads(written):
    page = written.page[: written.page.index("<script>")]
    assert page.count("<table") == page.count("<caption")
    assert page.count("<th ") == len(re.findall(r'<th [^>]*scope="(?:col|row)"', page)) and "<th>" not in page


def test_a_part_year_says_so():
    days = pd.bdate_range
    assert parts(days("2024-01-02", "2025-12-31")) == ""
    assert parts(days("2024-03-14", "2025-06-30")) == "2024 from 14 Mar only and 2025 to 30 Jun only"
    assert parts(days("2024-03-14", "2024-06-28")) == "2024 from 14 Mar to 28 Jun only"


def test_a_page_may_go_without_the_tear_sheets(written, inputs):
    page = render(inputs, {}, sections_of(tear_sheets=False))
    assert 'id="tearsheets"' in written.page and "tearsheet" not in page[: page.index("<script>")]
