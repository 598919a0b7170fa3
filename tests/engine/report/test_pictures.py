"""The report's pictures, pyfolio's and our own, are what a plain way of drawing gives, at less cost."""

import warnings
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.dates import AutoDateLocator
from matplotlib.figure import Figure
from matplotlib.units import registry
from PIL import Image

from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.figures import BORDER, dates_later, drawn_once
from clusterfolio.engine.report.sections import tear_sheets
from clusterfolio.engine.report.sections.holdings import groups_held
from clusterfolio.engine.report.sections.sheet_data import merge_consecutive, rolling_beta
from tests.benchmarks.report import measure_here, plain, say
from tests.engine.report.test_report import fake_run, write_files

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", 'Module "zipline.assets" not found')
    import pyfolio.round_trips


def sheets_of(inputs):
    groups, _ = groups_held(inputs)
    with matplotlib.rc_context({"text.parse_math": False}):
        return tear_sheets.tear_sheets(
            inputs.returns, inputs.positions, inputs.transactions, groups, inputs.run["currency"], True
        )


@pytest.mark.acceptance
def test_sheets_are_to_the_pixel_what_pyfolio_draws_without_any_of_this():
    inputs = fake_run(400, n_decisions=4)
    found = sheets_of(inputs)
    with plain(drawn_once):
        expected = sheets_of(inputs)
    for sheet, other in zip(found, expected, strict=True):
        assert sheet.tables == other.tables and sheet.note == other.note
        assert np.array_equal(*(np.asarray(Image.open(BytesIO(one.png)).convert("RGB")) for one in (sheet, other)))


@pytest.mark.acceptance
def test_every_part_of_a_page_is_measured(tmp_path, capsys):
    write_files(tmp_path, fake_run())
    found = measure_here(tmp_path)
    assert list(found["stages"])[1:] == ["read", "own pictures", "tear sheets", "page", "plain sheets"]
    assert found["cpu"] > found["bare"] > 0 and found["ratio"] > 1.5
    say("a run", found)
    assert "a run: 60 sessions" in capsys.readouterr().out


def state():
    """What of the process pyfolio, pandas and pyplot could leave changed."""
    return dict(registry), matplotlib.get_backend(), pd.get_option("plotting.matplotlib.register_converters")


def test_a_sheet_is_drawn_once_asks_once_for_its_dates_and_leaves_nothing_behind(monkeypatch):
    """If a new pandas, seaborn or matplotlib asks more often, the pictures stay right and the page takes long."""
    before, drawn, asked = state(), [], []
    draw, get_locator = Figure.draw, AutoDateLocator.get_locator
    monkeypatch.setattr(Figure, "draw", lambda figure, renderer: (drawn.append(figure), draw(figure, renderer))[1])
    monkeypatch.setattr(AutoDateLocator, "get_locator", lambda *args: (asked.append(args[0]), get_locator(*args))[1])
    sheets = sheets_of(fake_run())
    assert len(drawn) == len(set(map(id, drawn))) == sum(bool(sheet.png) for sheet in sheets) == 4
    assert 4 <= len(asked) <= 2 * len(set(map(id, asked)))
    assert state() == before


def test_dates_are_there_again_after_an_error():
    before = state()
    with pytest.raises(RuntimeError, match="mine"), dates_later():
        axes = pd.Series(1.0, pd.bdate_range("2025-01-01", periods=9)).plot(ax=Figure().add_subplot(), x_compat=True)
        assert len(axes.get_xticks()) == 0
        raise RuntimeError("mine")
    assert state() == before


@pytest.mark.parametrize("reach", [0.0, 0.3, 2.6])
def test_what_reaches_beyond_the_figure_is_in_the_picture(reach):
    """A black bar that begins so many inches left of the figure."""
    figure = Figure(figsize=(2, 1))
    figure.add_artist(matplotlib.patches.Rectangle((-reach / 2, 0.5), (reach + 1.7) / 2, 0.2, color="black", lw=0))
    dark = np.asarray(drawn_once(figure, 100).convert("L")) < 100
    assert dark.shape == (20 + 2 * BORDER, round(100 * (reach + 1.7)) + 2 * BORDER)
    assert dark[BORDER:-BORDER, BORDER:-BORDER].all() and dark.sum() == 20 * round(100 * (reach + 1.7))


def test_a_picture_of_our_own_is_drawn_once_and_as_savefig_draws_it(monkeypatch):
    drawn, draw = [], Figure.draw

    def axes():
        ax = plots.new_axes(4, 3)
        plots.style(ax, "A title", "A label")
        ax.plot(pd.bdate_range("2025-01-01", periods=90), np.arange(90.0) ** 2, label="one")
        plots.date_axis(ax)
        plots.legend(ax)
        return ax

    plain = BytesIO()
    axes().figure.savefig(plain, format="png", dpi=plots.DPI, facecolor="white")
    monkeypatch.setattr(Figure, "draw", lambda figure, renderer: (drawn.append(figure), draw(figure, renderer))[1])
    found = plots.to_png(axes(), simulated=False)
    assert found == plots.compact(Image.open(plain), plots.COLORS) and len(drawn) == 1


trade = st.tuples(
    st.sampled_from("ABC"), st.integers(0, 3), st.sampled_from([0, 1, 2]), st.sampled_from([-7.0, -1.0, 2.0, 30.0]),
    st.floats(0.01, 1e4),
)  # fmt: skip


@given(st.lists(trade, min_size=1, max_size=14))
@settings(max_examples=20, deadline=None)
def test_trades_of_a_session_are_merged_as_pyfolio_merges_them(trades):
    symbol, day, hour, amount, price = zip(*sorted(trades, key=lambda one: one[1:3]), strict=True)
    index = pd.Timestamp("2025-01-02", tz="UTC") + pd.to_timedelta(np.array(day) * 24 + np.array(hour) * 4, "h")
    table = pd.DataFrame({"symbol": symbol, "amount": amount, "price": price}, index)
    own = pyfolio.round_trips._groupby_consecutive(table)
    pd.testing.assert_frame_equal(merge_consecutive(table), own, check_like=True, rtol=1e-14)


@pytest.mark.parametrize("sessions", [8, 20, 21, 90])
def test_rolling_beta_is_pyfolios(sessions):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(sessions, 2)), pd.bdate_range("2025-01-02", periods=sessions))
    found, own = (beta(table[0], table[1], 20) for beta in (rolling_beta, pyfolio.timeseries.rolling_beta))
    pd.testing.assert_series_equal(found, own, rtol=1e-12)
