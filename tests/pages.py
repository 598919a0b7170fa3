"""The pages for readers, README.md and docs/*.md, and what stands between their fences.

``python -m tests.pages`` writes the table of the configuration into its page anew.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from clusterfolio.engine.config.run import RunConfig, describe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: The page with the table, and the table on it.
CONFIGURATION = ROOT / "docs" / "configuration.md"
TABLE = re.compile(r"(?<=<!-- configuration -->\n).*?(?=\n<!-- end of configuration -->)", flags=re.DOTALL)

FENCE = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the file it is said to be ("" = none) and its text."""

    language: str
    title: str
    text: str


def label(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(page: Path) -> list[Fence]:
    return [Fence(*match) for match in FENCE.findall(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def commands(page: Path) -> list[list[str]]:
    """The arguments of every line that begins with the command's name."""
    lines = [line for fence in fences(page) if fence.language == "bash" for line in fence.text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("clusterfolio ")]


def program(page: Path, title: str) -> str:
    """The text of the file that a page shows under this name."""
    (text,) = [fence.text for fence in fences(page) if fence.title == title]
    return text


def write_files(page: Path, folder: Path) -> None:
    """Put the files that a page shows into a folder, as a reader would."""
    for fence in fences(page):
        if fence.title:
            (folder / fence.title).write_text(fence.text, encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def configuration_table() -> str:
    """Every key of the configuration, its default and its meaning."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for section, key, _, default, meaning in describe(RunConfig()):
        lines.append(f"| `{section}.{key}` | `{default!r}` | {meaning.replace('|', '/')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    written = TABLE.sub(lambda _: configuration_table(), CONFIGURATION.read_text(encoding="utf-8"))
    CONFIGURATION.write_text(written, encoding="utf-8")
