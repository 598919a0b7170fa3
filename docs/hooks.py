"""What the site has besides docs/*.md, and the few words in which a page on GitHub differs from one on the site."""

import ast
import json
import re
import shutil
from pathlib import Path

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "feeds", "models", "strategies")

#: Pages that lie elsewhere for GitHub's sake, by their name on the site, and the picture of the first.
ELSEWHERE = {"index.md": ROOT / "README.md", "changelog.md": ROOT / "CHANGELOG.md"}
PICTURE = "tests/readme/report.png"

#: Where `make gallery` leaves its pages; they are on the site if it has been called.
GALLERY = ROOT / "build" / "gallery"

#: A line of an example in a docstring, those that go on with it, and what it prints up to the next empty line.
EXAMPLE = re.compile(r"^>>> .*\n(?:.+\n)*", flags=re.MULTILINE)


class FencedExamples(griffe.Extension):
    """Examples in docstrings stand bare, as doctest reads them; Markdown would take `>>>` for a quotation."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>```\n", obj.docstring.value + "\n").rstrip()


def on_startup(command: str, dirty: bool) -> None:
    """Lay the rooms under the package's name, as they are installed: mkdocstrings reads files, and follows no link."""
    package = ROOT / "build" / "api" / "clusterfolio"
    shutil.rmtree(package, ignore_errors=True)
    for source, target in [("clusterfolio", package), *((room, package / room) for room in ROOMS)]:
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))


def on_files(files: Files, config) -> Files:
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    files.append(File.generated(config, PICTURE, abs_src_path=str(ROOT / PICTURE)))
    for path in sorted((ROOT / "examples").iterdir()):
        if path.suffix in (".py", ".ipynb"):
            shown = program_page(path) if path.suffix == ".py" else notebook_page(path)
            files.append(File.generated(config, f"examples/{path.stem}.md", content=shown))
    for report in sorted(GALLERY.glob("*.html")):
        files.append(File.generated(config, f"gallery/{report.name}", abs_src_path=str(report)))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    if page.file.src_uri in ELSEWHERE:
        markdown = markdown.replace("](docs/", "](")
    markdown = markdown.replace("](../README.md", "](index.md")
    markdown = re.sub(r"\]\(\.\./examples/(\w+)\.\w+\)", r"](examples/\1.md)", markdown)
    markdown = re.sub(r"^```(\w+) title=(\S+)$", r'```\1 title="\2"', markdown, flags=re.MULTILINE)
    return re.sub(
        r"^!\[.*\]\((gallery/[\w-]+)\.webp\)$", lambda found: to_its_report(found, files), markdown, flags=re.M
    )


def to_its_report(picture: re.Match, files: Files) -> str:
    """The picture, a link to the whole report where that has been made."""
    report = f"{picture[1]}.html"
    return f"[{picture[0]}]({report})" if files.get_file_from_path(report) else picture[0]


def program_page(path: Path) -> str:
    """A program under what it says of itself."""
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text))
    return f"# {path.name}\n\n{said}\n\n```python\n{text.partition(said)[2].partition(chr(10) * 2)[2]}```\n"


def notebook_page(path: Path) -> str:
    """A notebook's cells, one after the other."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    shown = re.sub(r"\]\((\w+)\.py\)", r"](\1.md)", "\n\n".join(parts))
    return shown.replace("](../docs/", "](../")
