"""The report's page in Chromium, with the network off: what it draws, how it is used, and by whom."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clusterfolio.engine.jobs.report import compare_results
from clusterfolio.engine.report.page import sections_of, write_report
from tests.engine.evidence.test_side_by_side import write_run
from tests.engine.report.test_importance import made_up
from tests.engine.report.test_report import chart_data, fake_run
from tests.engine.report.test_report_passport import fake_passports

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"phone": (390, 844), "tablet": (768, 1024), "desk": (1280, 800)}


def full_run():
    """A made-up run with all that a page can show, pyfolio's sheets aside."""
    plain = fake_run(300, n_decisions=8)
    drawn = np.random.default_rng(0).normal(0.1, 0.05, 200)
    place = {"own": 0.12, "percentile": 0.66, "p_value": 0.34, "mean": 0.1, "low": 0.02, "high": 0.18}
    words = {
        "claim": False, "headline": "No evidence of skill: luck alone does as well in 1 case in 3.",
        "reading": "One test.", "supports": [], "against": ["That it beats 1/N: by 0.1."], "needed": ["Years: six."],
        "caveats": [["Simulated data", "Made up."]],
    }  # fmt: skip
    evidence = {
        "verdict": words, "claims": [], "parts": {}, "primary": None, "sharpe": None, "overfitting": None,
        "snooping": None, "luck": {"picks": {"total_return": place, "sharpe": place, "portfolios": 200}},
        "benchmark": "SPY",
    }  # fmt: skip
    days = plain.weights.index[1:]
    stability = pd.DataFrame({"date": days, "common": 24, "joined": 0, "left": 0, "moved": 1, "adjusted_rand": 0.9})
    baselines = pd.DataFrame(
        {"total_return": [0.1, 0.05], "volatility": 0.1, "sharpe": [1.0, 0.5], "max_drawdown": -0.1, "turnover": 2.0,
         "cost_bps": 9.0}, pd.Index(["this strategy", "1/N"], name="policy"),
    )  # fmt: skip
    return replace(
        plain, passports=fake_passports(plain), importance=made_up(), evidence=evidence, stability=stability,
        luck=pd.DataFrame({"kind": "picks", "total_return": drawn, "sharpe": drawn}), baselines=baselines,
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs():
    return full_run()


@pytest.fixture(scope="module")
def path(inputs, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run"), inputs, sections_of(tear_sheets=False))


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: extra test-browser")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    """The page of three results, and their folders."""
    runs = tmp_path_factory.mktemp("runs")
    folders = [write_run(runs / name, seed, claim=f"{name} is luck.") for seed, name in enumerate("abc")]
    return compare_results(folders), folders


@pytest.fixture
def open_page(chromium, path):
    """Opens a page in a window of that size; whatever the browser complains of or asks for fails the test."""
    contexts, wrong, asked, opened = [], [], [], set()

    def call(width="desk", path=path, **options):
        opened.add(path.as_uri())
        wide, high = WIDTHS[width]
        phone = {"has_touch": True, "is_mobile": True} if width == "phone" else {}
        context = chromium.new_context(viewport={"width": wide, "height": high}, offline=True, **phone, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function(
                "[...document.querySelectorAll('figure.chart')].every((f) => f.chart || f.querySelector('table'))"
            )
        return page

    yield call
    for context in contexts:
        context.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == opened


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("which", ["of one run", "of several"])
def test_nothing_is_cut_or_sticks_out(open_page, path, side_by_side, which, width):
    page = open_page(width, path if which == "of one run" else side_by_side[0])
    wide = WIDTHS[width][0]
    assert page.evaluate("document.documentElement.scrollWidth") == wide
    for plot in page.locator(".plot").all():
        box = plot.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= wide and box["width"] >= 280
    shown = page.evaluate("[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
                          ".map((e) => [e.tabIndex, e.getAttribute('aria-label')])")  # fmt: skip
    assert all(reached == 0 and said for reached, said in shown)
    assert width != "phone" or not shown  # there, what is wide becomes cards


@pytest.mark.parametrize(("width", "scheme"), [("desk", "light"), ("desk", "dark"), ("phone", "light")])
@pytest.mark.parametrize("which", ["of one run", "of several"])
def test_axe_finds_nothing_serious(open_page, path, side_by_side, which, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(width, path if which == "of one run" else side_by_side[0], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if which == "of one run":
        page.get_by_role("button", name="Passport of cluster 3").click()
    found = axe.Axe().run(page).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"][:120], one["nodes"][0]["failureSummary"][:200]) for one in found
               if one["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []


def test_the_first_screen_holds_verdict_figures_and_curve(open_page):
    page = open_page()
    for part in (".sentence", ".tile >> nth=4", "#chart-account .plot"):
        box = page.locator(part).bounding_box()
        assert box["y"] + min(box["height"], 250) <= 800, part


def drawn(page, name):
    """What ECharts was given to draw, by series."""
    series = page.evaluate(
        f"document.getElementById('chart-{name}').chart.getOption().series.map((s) => [s.name, s.data])"
    )
    return {(name, at): data for at, (name, data) in enumerate(series)}


def test_what_is_drawn_is_what_the_data_says(open_page, path, inputs):
    page, data = open_page(), chart_data(path.read_text(encoding="utf-8"))
    value = inputs.positions.sum(axis=1)
    curves = drawn(page, "account")
    net = [y for _, y in curves["Strategy", 2]]
    assert net == pytest.approx([1e5, *value], rel=1e-6)
    assert [x for x, _ in curves["Strategy", 2]] == data["account"]["x"]
    points = [point for series in drawn(page, "clusters").values() for point in series]
    assert {point["name"] for point in points} == set(inputs.embeddings["symbol"])
    ringed = {point["name"] for point in points if point["symbolSize"] > 10}
    last = inputs.last_clusters()
    assert ringed == set(last.index[last["selected"]])


def test_ranges_logarithms_series_and_keys(open_page, inputs):
    page = open_page()
    figure = page.locator("#chart-account")
    says = figure.locator("output.view")
    whole = says.inner_text()
    figure.get_by_role("button", name="3M").click()
    assert (
        says.inner_text() != whole and figure.get_by_role("button", name="3M").get_attribute("aria-pressed") == "true"
    )
    first, last = says.inner_text().split(":")[0].split(" to ")
    value = inputs.positions.sum(axis=1)
    grown = value[last] / value[first] - 1
    assert f"Strategy {grown:+.2%}".replace("-", "−") in says.inner_text()
    figure.get_by_role("button", name="Log").click()
    assert page.evaluate("document.getElementById('chart-account').chart.getOption().yAxis[0].type") == "log"
    figure.get_by_role("button", name="Before costs").click()
    assert drawn(page, "account")["Before costs", 0] == []
    plot = figure.locator(".plot")
    plot.focus()
    plot.press("0")
    page.wait_for_function(
        "(text) => document.querySelector('#chart-account output.view').textContent === text", arg=whole
    )
    plot.press("End")
    spoken = figure.locator("[role=status]").inner_text()
    assert spoken.startswith(f"{value.index[-1]:%Y-%m-%d}") and f"{value.iloc[-1]:,.0f}" in spoken
    plot.press("+")
    page.wait_for_function(
        "(text) => document.querySelector('#chart-account output.view').textContent !== text", arg=whole
    )


def test_pointing_at_a_day_shows_its_values(open_page, inputs):
    page = open_page()
    box = page.locator("#chart-account .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120)
    tip = page.locator("#chart-account .tip").locator("xpath=..")
    tip.wait_for()
    day = tip.locator("strong").inner_text()
    assert f"{inputs.positions.sum(axis=1)[day]:,.0f}" in tip.inner_text()


def test_one_slider_takes_map_and_tree_through_the_decisions(open_page, inputs):
    page = open_page()
    figure, tree = page.locator("#chart-clusters"), page.locator("#chart-dendrogram")
    slider = figure.get_by_role("slider")
    for key, at in (("Home", 0), ("ArrowRight", 1), ("End", -1)):
        slider.focus()
        slider.press(key)
        day = inputs.weights.index[at]
        for one in (figure, tree):
            assert one.locator("output").inner_text().startswith(f"{day:%Y-%m-%d}: 24 assets, 6 clusters")
        decided = inputs.clusters[inputs.clusters["date"] == day].set_index("symbol")
        places = inputs.maps[inputs.maps["date"] == day].set_index("symbol")
        points = {point["name"]: point for series in drawn(page, "clusters").values() for point in series}
        assert {name: tuple(point["value"]) for name, point in points.items()} == {
            name: (row["x"], row["y"]) for name, row in places.iterrows()
        }
        assert {name for name, point in points.items() if point["symbolSize"] > 10} == set(
            decided.index[decided["selected"]]
        )
        leaves = {
            point["name"]: point["value"][0] for series in series_of(page, "dendrogram", "scatter") for point in series
        }
        assert leaves == places["leaf"].to_dict()
    slider = tree.get_by_role("slider")
    slider.press("Home")
    assert figure.locator("output").inner_text() == tree.locator("output").inner_text()


def series_of(page, name, kind):
    """The data of a chart's series of that kind."""
    option = f"document.getElementById('chart-{name}').chart.getOption()"
    return page.evaluate(f"{option}.series.filter((one) => one.type === '{kind}').map((one) => one.data)")


def heights_drawn(page):
    """Heights at which branches of the tree meet, as drawn."""
    points = [point for line in series_of(page, "dendrogram", "line") for point in line if point[0] is not None]
    return sorted({round(y, 6) for _, y in points if y > 0})


def test_a_tree_is_looked_at_from_afar_and_closely(open_page, inputs):
    page = open_page("phone")
    figure = page.locator("#chart-dendrogram")
    places = inputs.maps[inputs.maps["date"] == inputs.weights.index[-1]].set_index("symbol")
    joined = sorted(round(float(f"{one:.7g}"), 6) for one in places["height"].dropna())
    option = "document.getElementById('chart-dendrogram').chart.getOption()"
    named = f"{option}.series.flatMap((s) => s.data).filter((d) => d.label && d.label.show).map((d) => d.name)"
    last = inputs.last_clusters()
    assert set(page.evaluate(named)) <= set(last.index[last["selected"]])  # from afar only picks are named
    figure.get_by_label("Look closely at").select_option("3")
    zoom = page.evaluate(f"{option}.dataZoom[0]")
    mine = places.loc[last.index[last["cluster"] == 3], "leaf"]
    assert zoom["start"] == pytest.approx(100 * mine.min() / 25) and zoom["end"] == pytest.approx(
        100 * (mine.max() + 2) / 25
    )
    figure.get_by_role("combobox").first.fill("0005")
    figure.get_by_role("combobox").first.press("Tab")
    assert "0005" in page.evaluate(named) and len(page.evaluate(named)) == 24  # those in view have room for a name
    assert heights_drawn(page) == joined
    figure.locator(".plot").press("0")
    page.wait_for_function(f"{named}.length < 24")


@pytest.mark.parametrize("name", ["clusters", "dendrogram"])
def test_a_symbol_is_found(open_page, name):
    page = open_page()
    found = page.locator(f"#chart-{name}")
    found.get_by_role("combobox").first.fill("0005")
    found.get_by_role("combobox").first.press("Tab")
    said = found.locator(".tip").locator("xpath=..").inner_text()
    assert said.startswith("0005")
    assert all(word in said for word in ("Cluster", "Sharpe ratio", "Picked", "Class"))


def test_views_tables_and_passports(open_page, inputs):
    page = open_page()
    weights = page.locator("#chart-weights")
    weights.get_by_role("button", name="Targets by name").click()
    targets = drawn(page, "weights")
    assert sum(data[-1] for data in targets.values()) == pytest.approx(1.0, rel=1e-6)
    cash = next(data for (name, _), data in targets.items() if name == "cash")
    assert cash == pytest.approx(inputs.weights["CASH"].tolist(), rel=1e-6)
    table = page.locator("#passports table.sortable")
    heading = table.get_by_role("columnheader", name="Stability")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    column = [float(text.split()[0]) for text in table.locator("tbody td:nth-child(6)").all_inner_texts()]
    assert column == sorted(column, reverse=True)
    page.get_by_role("button", name="Passport of cluster 3").click()
    dialog = page.get_by_role("dialog")
    assert "Runner-up" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Passport of cluster 2").click()
    page.get_by_role("button", name="Close").click()
    assert page.get_by_role("dialog").count() == 0


def visible_rows(figure):
    return [row.inner_text().split("\t") for row in figure.locator("tbody tr").all() if row.is_visible()]


def test_a_long_table_is_searched_sorted_and_shown_whole(open_page, inputs):
    page = open_page()
    figure, trades = page.locator("#chart-trades"), inputs.transactions
    all_of_them = figure.get_by_role("button", name="Show all")
    assert len(visible_rows(figure)) == 6 and figure.locator("output").inner_text() == f"6 of {len(trades)}"
    all_of_them.click()
    rows = visible_rows(figure)
    assert len(rows) == len(trades) and all_of_them.get_attribute("aria-pressed") == "true"
    assert [row[:2] for row in rows] == [[f"{one.date:%Y-%m-%d}", one.symbol] for one in trades.iloc[::-1].itertuples()]
    value = figure.get_by_role("columnheader", name="Value (USD)")
    value.get_by_role("button").click()
    shown = [int(row[6].replace(",", "")) for row in visible_rows(figure)]
    assert shown == sorted(shown, reverse=True)
    assert shown == pytest.approx(sorted(trades["value"].abs(), reverse=True), abs=0.51)
    all_of_them.click()
    search = figure.get_by_role("searchbox")
    search.fill("true")  # a symbol, in letters of either kind
    assert {row[1] for row in visible_rows(figure)} == {"TRUE"}
    assert len(visible_rows(figure)) == (trades["symbol"] == "TRUE").sum()
    search.fill("no such name")
    assert visible_rows(figure) == [] and figure.locator("output").inner_text() == f"0 of {len(trades)}"


def test_on_a_phone_a_wide_table_is_cards_under_the_same_headings(open_page, inputs):
    page = open_page("phone")
    table = page.locator("#holdings .scroll table")
    assert table.get_attribute("class").split() == ["sortable", "cards"]
    cell = table.get_by_role("row").filter(has=page.get_by_role("rowheader")).first.get_by_role("cell").last
    last = inputs.positions.iloc[-1]
    symbol = table.get_by_role("rowheader").first.inner_text().strip()
    assert cell.get_attribute("data-label").startswith("On ")
    assert cell.inner_text().split()[-1] == f"{last[symbol] / last.sum():.2%}"
    table.get_by_role("button", name="Cluster").click()  # what sorts is still there
    heads = table.get_by_role("rowheader").all_inner_texts()
    assert heads[0].strip() != symbol
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("!document.querySelector('.cards')")
    assert table.locator("td").first.get_attribute("role") is None


def test_the_page_of_several_results_draws_their_returns(open_page, side_by_side):
    path, folders = side_by_side
    page = open_page(path=path)
    own = {folder.name: pd.read_csv(folder / "returns.csv")["strategy"] for folder in folders}
    curves = drawn(page, "curves")
    for at, (name, returns) in enumerate(own.items()):
        assert curves[name, at][-1][1] == pytest.approx(100 * (1 + returns).prod(), rel=1e-6)
    figures = page.locator("#chart-figures")
    total = {row[0]: row[1] for row in visible_rows(figures)}
    assert {name: total[name] for name in own} == {
        name: f"{(1 + returns).prod() - 1:,.2%}".replace("-", "\u2212") for name, returns in own.items()
    }
    figures.get_by_role("columnheader", name="Total return").get_by_role("button").click()
    order = [row[0] for row in visible_rows(figures) if row[0] in own]
    assert order == sorted(own, key=lambda name: -(1 + own[name]).prod())
    page.locator("#chart-curves").get_by_role("button", name="a", exact=True).click()
    assert drawn(page, "curves")["a", 0] == []


def test_in_the_dark_charts_change_their_tones(open_page):
    page = open_page(color_scheme="light")
    tone = "document.getElementById('chart-account').chart.getOption().series[2].color"
    light = page.evaluate(tone)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(before) => {tone} !== before", arg=light)


#: The main charts, which have pictures.
STILLS = {"account", "luck", "weights", "clusters", "dendrogram"}


def test_without_scripts_pictures_stand_for_the_main_charts(open_page):
    page = open_page(java_script_enabled=False)
    shown = {figure.get_attribute("id").removeprefix("chart-") for figure in page.locator("figure.chart").all()
             if figure.locator("img").count() and figure.locator("img").is_visible()}  # fmt: skip
    assert shown == STILLS
    assert all(len(text) > 30 for text in page.locator("figure.chart img").evaluate_all("all => all.map((i) => i.alt)"))


def test_printed_on_a4_pictures_stand_for_charts_and_nothing_is_cut(open_page):
    page = open_page()
    page.emulate_media(media="print")
    assert not any(plot.is_visible() for plot in page.locator("figure:has(img) .plot").all())
    assert all(plot.is_visible() for plot in page.locator("figure.chart:not(:has(img)) .plot").all())
    assert {f for f in STILLS if page.locator(f"#chart-{f} img").is_visible()} == STILLS
    page.set_viewport_size({"width": 702, "height": 1000})  # A4 within its margins
    reach = "Math.max(...[...document.querySelectorAll('main *:not(.sr)')].map((e) => e.getBoundingClientRect().right))"
    assert page.evaluate(reach) <= 702
    assert page.pdf(format="A4", prefer_css_page_size=True).startswith(b"%PDF")
