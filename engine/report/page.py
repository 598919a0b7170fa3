"""The page a run ends with: everything in a run directory, in one self-contained HTML file.

What stands on it is the business of its sections (``engine.report.contents``); here they are only put together.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes

from clusterfolio.engine.report.contents import SECTIONS
from clusterfolio.engine.report.layout import charts, plots
from clusterfolio.engine.report.layout.section import Drawn, Section
from clusterfolio.engine.report.layout.text import money, number, percent, shade, signed
from clusterfolio.engine.report.layout.tones import cluster_css
from clusterfolio.engine.run_dir.tables import ReportInputs, read_run
from clusterfolio.feeds.writing import replacing

logger = logging.getLogger(__name__)

PAGE, STYLE = (Path(__file__).with_name(f"page.{kind}") for kind in ("html", "css"))
#: Our own script, which stands on the page as one: its parts, by subject, in the order they need one another.
SCRIPT = tuple(
    Path(__file__).parent / "script" / f"{name}.js" for name in ("words", "lines", "points", "figure", "tables", "page")
)
#: What all pages have: style, scripts, and the policy that lets nothing else run.
FRAME = Path(__file__).with_name("frame.html")
#: Apache ECharts as released; its licence and notice lie beside it.
LIBRARY = Path(__file__).parent / "vendor" / "echarts.common.min.js"
#: The anchor of what a page may be asked to go without.
TEAR_SHEETS = "tearsheets"


@dataclass(frozen=True)
class Picture:
    """A picture drawn by one of our own functions."""

    png: bytes


def sections_of(tear_sheets: bool) -> list[Section]:
    """The page's sections, with or without pyfolio's sheets, which take most of the time."""
    return [section for section in SECTIONS if tear_sheets or section.anchor != TEAR_SHEETS]


def write_report(run_dir: Path, inputs: ReportInputs | None = None, sections: Sequence[Section] = SECTIONS) -> Path:
    """Write ``report.html`` and its pictures (PNG) into ``run_dir``; returns the page's path.

    Args:
        inputs: what to show; read from ``run_dir`` where not given.
        sections: of the page, in order.
    """
    run_dir = Path(run_dir)
    inputs = read_run(run_dir) if inputs is None else inputs
    pictures = draw(inputs, sections)
    for name, picture in pictures.items():
        if picture.png:
            with replacing(run_dir / f"{name}.png") as part:
                part.write_bytes(picture.png)
    path = run_dir / "report.html"
    with replacing(path) as part:
        part.write_text(render(inputs, pictures, sections), encoding="utf-8")
    logger.info("report written: %s", path)
    return path


def draw(inputs: ReportInputs, sections: Sequence[Section] = SECTIONS) -> dict[str, Drawn]:
    """The pictures of all sections that a run has, by name; one that has nothing to show is left out."""
    simulated = bool(inputs.run["simulated"])
    shown = [section for section in sections if not section.absent(inputs)]
    with rc_context({"text.parse_math": False}):  # a symbol may be $_$
        drawn = {name: one for section in shown for name, one in section.draw(inputs).items()}
        return {
            name: Picture(plots.to_png(one, simulated)) if isinstance(one, Axes) else one for name, one in drawn.items()
        }


def render(inputs: ReportInputs, pictures: Mapping[str, Drawn], sections: Sequence[Section] = SECTIONS) -> str:
    """The page's HTML, everything inside it.

    Args:
        pictures: by name; a section does without those that are not there.
    """
    shown = [section for section in sections if not section.absent(inputs)]
    drawn = {name: one for section in shown for name, one in section.charts(inputs).items()}
    environment = environment_of(pictures, drawn, bool(inputs.run["simulated"]))
    seen = {"run": inputs.run, "metrics": inputs.metrics, "weights": inputs.weights, "pictures": pictures}
    bodies = [Markup(_template(environment, section).render(seen | section.build(inputs))) for section in shown]
    return environment.get_template(str(PAGE)).render(
        seen | framed(tones_of(inputs)),
        simulated=bool(inputs.run["simulated"]),
        first=inputs.returns.index[0].date(),
        last=inputs.returns.index[-1].date(),
        sessions=len(inputs.returns),
        clustered=not inputs.clusters.empty,
        left_out=left_out(inputs, sections),
        parts=[(section, section.css_class(inputs), body) for section, body in zip(shown, bodies, strict=True)],
    )


def tones_of(inputs: ReportInputs) -> str:
    """The clusters' tones, as CSS; "" where there are none."""
    return "" if inputs.clusters.empty else cluster_css(int(inputs.clusters["cluster"].max()) + 1)


def framed(tones: str = "") -> dict:
    """What ``FRAME`` is shown on every page; ``tones`` is CSS that goes before the page's own."""
    own = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPT)
    scripts = [Markup(LIBRARY.read_text(encoding="utf-8")), Markup(f'(() => {{\n"use strict";\n{own}}})();')]
    style = Markup(tones + STYLE.read_text(encoding="utf-8"))
    return {"frame": str(FRAME), "css": style, "scripts": scripts, "policy": content_policy(scripts)}


def left_out(inputs: ReportInputs, sections: Sequence[Section] = SECTIONS) -> str:
    """Which sections a run's page goes without and why, in one line; "" where all are there."""
    by_reason: dict[str, list[str]] = {}
    for section in sections:
        if why := section.absent(inputs):
            by_reason.setdefault(why, []).append(section.title)
    return "; ".join(f"{', '.join(titles)} ({why})" for why, titles in by_reason.items())


def content_policy(scripts: Sequence[str]) -> str:
    """The page's Content-Security-Policy: these scripts and nothing else run, and nothing is asked of any network."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def environment_of(pictures: Mapping[str, Drawn], drawn: Mapping[str, charts.Chart], simulated: bool) -> Environment:
    """What templates are rendered with: how figures are written, and ``chart`` and ``picture`` by name."""
    environment = Environment(
        loader=FunctionLoader(lambda path: Path(path).read_text(encoding="utf-8")), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made_up = ", simulated data" if simulated else ""

    def image(name: str, alt: str) -> Markup:
        return Markup('<img src="{}" alt="{}">').format(_data_uri(pictures[name].png), alt + made_up)

    def picture(name: str, alt: str) -> Markup:
        return Markup("<figure>{}</figure>").format(image(name, alt)) if name in pictures else Markup()

    def chart(name: str) -> Markup:
        if name not in drawn:
            return Markup()
        one = drawn[name]
        still = image(name, one.finding) if name in pictures else Markup('<p class="note">{}</p>').format(NEEDS_SCRIPT)
        return CHART.format(name, one.title, made_up, one.height, one.finding + made_up, still, charts.to_json(one))

    environment.filters |= {"percent": percent, "number": number, "money": money, "picture": _data_uri}
    environment.globals |= {"picture": picture, "chart": chart, "signed": signed, "shade": shade}
    return environment


#: A chart's place on the page: heading, tools, plot, what stands for it without a script, and its data.
CHART = Markup("""<figure class="chart" id="chart-{}">
<figcaption>{}<span class="made-up">{}</span></figcaption><div class="tools" hidden></div>
<div class="plot" style="--tall:{}px" tabindex="0" role="group" aria-roledescription="chart" aria-label="{}"></div>
<div class="still">{}</div>
<script type="application/json">{}</script>
</figure>""")
NEEDS_SCRIPT = "Drawn in the browser, by JavaScript; the figures are in the files beside this page."


def _template(environment: Environment, section: Section):
    if isinstance(section.template, Path):
        return environment.get_template(str(section.template))
    return environment.from_string(section.template)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
