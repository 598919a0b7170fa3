"""Tones of clusters: hues around the circle, each as light or dark as it must be to stand out from the page."""

from __future__ import annotations

import colorsys
from functools import cache

#: What the page is drawn on, by day and at night (``--paper`` in ``page.css``).
PAPER = {"light": "#ffffff", "dark": "#18202a"}
#: Contrasts with it that neighbouring numbers take in turn; WCAG asks 3 of what is drawn.
CONTRASTS = (7.5, 4.9, 3.4)
SATURATION = 0.55
#: Of what is in no cluster.
NONE = {"light": "#858e99", "dark": "#8b95a1"}


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2)."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2): 1 = the same, 21 = black and white.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@cache
def cluster_color(label: int, n_clusters: int, scheme: str = "light") -> str:
    """The tone of a cluster of so many; grey for noise (-1)."""
    if label < 0:
        return NONE[scheme]
    paper, asked = PAPER[scheme], CONTRASTS[label % 3]
    low, high = 0.0, 1.0
    for _ in range(12):  # the lightness at which the contrast is what is asked
        middle = (low + high) / 2
        enough = contrast(_color(label / max(n_clusters, 1), middle), paper) >= asked
        low, high = (middle, high) if enough == (scheme == "light") else (low, middle)
    return _color(label / max(n_clusters, 1), low if scheme == "light" else high)


def cluster_css(n_clusters: int) -> str:
    """The tones as ``--k0``, ``--k1`` ... and ``--k-1`` in the page's style, for either scheme."""
    light, dark = (
        "".join(f"--k{label}:{cluster_color(label, n_clusters, scheme)};" for label in range(-1, n_clusters))
        for scheme in PAPER
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _color(hue: float, lightness: float) -> str:
    parts = colorsys.hls_to_rgb(hue, lightness, SATURATION)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
