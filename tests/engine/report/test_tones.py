"""Every tone of the page stands out from what it is drawn on, by day and at night."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterfolio.engine.report.layout.tones import PAPER, cluster_color, cluster_css, contrast
from clusterfolio.engine.report.page import STYLE

DRAWN = ("strategy", "benchmark", "gross", "cash", "good", "bad", *(f"c{at}" for at in range(10)))
WRITTEN = ("ink", "muted", "strategy", "benchmark-ink", "good", "bad")


def tones(scheme):
    """The page's own, by name; at night those of the day that it does not change stay."""
    light, dark, *_ = re.findall(r":root {(.*?)}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    said = light if scheme == "light" else light + dark
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", said))


@pytest.mark.parametrize("scheme", PAPER)
def test_what_is_drawn_has_a_contrast_of_3_and_what_is_written_of_4_and_a_half(scheme):
    known = tones(scheme)
    assert known["paper"] == PAPER[scheme]
    assert {
        name: contrast(known[name], known["paper"]) for name in DRAWN if contrast(known[name], known["paper"]) < 3
    } == {}
    for ground in ("paper", "ground"):
        low = {name for name in WRITTEN if contrast(known[name], known[ground]) < 4.5}
        assert not low, ground
    assert contrast(known["notice"], known["notice-ground"]) >= 4.5


@given(st.integers(1, 200), st.sampled_from(sorted(PAPER)), st.data())
def test_clusters_of_any_number_stand_out_and_neighbours_differ(n_clusters, scheme, data):
    label = data.draw(st.integers(-1, n_clusters - 1))
    tone = cluster_color(label, n_clusters, scheme)
    assert contrast(tone, PAPER[scheme]) > 3.1
    if label >= 0:
        assert contrast(tone, cluster_color(label + 1, n_clusters, scheme)) > 1.2


def test_the_style_has_a_tone_for_every_cluster_and_for_none():
    assert set(re.findall(r"--(k-?\d+):", cluster_css(3))) == {"k-1", "k0", "k1", "k2"}
    assert f"--k2:{cluster_color(2, 3, 'dark')};" in cluster_css(3).split("@media")[1]
