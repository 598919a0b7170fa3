"""The page a run ends with: everything in a run directory, in one self-contained HTML file.

What stands on it is the business of its sections (``engine.report.contents``); here they are only put together.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes

from clusterfolio.engine.report.contents import SECTIONS
from clusterfolio.engine.report.layout import plots
from clusterfolio.engine.report.layout.section import Drawn, Section
from clusterfolio.engine.report.layout.text import money, number, percent, signed
from clusterfolio.engine.run_dir.tables import ReportInputs, read_run
from clusterfolio.feeds.writing import replacing

logger = logging.getLogger(__name__)

PAGE, STYLE = (Path(__file__).with_name(f"page.{kind}") for kind in ("html", "css"))


@dataclass(frozen=True)
class Picture:
    """A picture drawn by one of our own functions."""

    png: bytes


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
    environment = _environment(pictures, bool(inputs.run["simulated"]))
    seen = {"run": inputs.run, "metrics": inputs.metrics, "weights": inputs.weights, "pictures": pictures}
    shown = [section for section in sections if not section.absent(inputs)]
    bodies = [Markup(_template(environment, section).render(seen | section.build(inputs))) for section in shown]
    return environment.get_template(str(PAGE)).render(
        seen,
        css=Markup(STYLE.read_text(encoding="utf-8")),
        first=inputs.returns.index[0].date(),
        last=inputs.returns.index[-1].date(),
        sessions=len(inputs.returns),
        clustered=not inputs.clusters.empty,
        left_out=left_out(inputs, sections),
        parts=[(section, section.css_class(inputs), body) for section, body in zip(shown, bodies, strict=True)],
    )


def left_out(inputs: ReportInputs, sections: Sequence[Section] = SECTIONS) -> str:
    """Which sections a run's page goes without and why, in one line; "" where all are there."""
    by_reason: dict[str, list[str]] = {}
    for section in sections:
        if why := section.absent(inputs):
            by_reason.setdefault(why, []).append(section.title)
    return "; ".join(f"{', '.join(titles)} ({why})" for why, titles in by_reason.items())


def _environment(pictures: Mapping[str, Drawn], simulated: bool) -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda path: Path(path).read_text(encoding="utf-8")), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip

    def picture(name: str, alt: str) -> Markup:
        if name not in pictures:
            return Markup()
        alt += ", simulated data" if simulated else ""
        return Markup('<figure><img src="{}" alt="{}"></figure>').format(_data_uri(pictures[name].png), alt)

    environment.filters |= {"percent": percent, "number": number, "money": money, "picture": _data_uri}
    environment.globals |= {"picture": picture, "signed": signed}
    return environment


def _template(environment: Environment, section: Section):
    if isinstance(section.template, Path):
        return environment.get_template(str(section.template))
    return environment.from_string(section.template)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
