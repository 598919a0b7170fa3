"""The site that `make docs` builds: every public name is on it, no warning, no request to another host."""

import re
import subprocess
import sys

import pytest

import clusterfolio
from tests.pages import ROOT

#: What makes a browser ask for something, unlike a link that somebody follows.
ASKS = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?([^"'\s>]+)|<link\b[^>]*\bhref=["']?([^"'\s>]+)""")
STYLES = re.compile(r"""(?:@import\s+|url\()\s*["']?([^"')\s]+)""")


def test_every_public_name_is_on_the_page_of_public_names():
    named = re.findall(r"^::: clusterfolio\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.M)
    assert sorted(named) == sorted(clusterfolio.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.acceptance
def test_the_site_builds_without_a_warning_and_documents_every_public_name(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in clusterfolio.__all__:
        assert re.search(rf'id="clusterfolio\.(?:\w+\.)*{name}"', page), name
    assert "&gt;&gt;&gt;" not in re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL), "an example that is no code"


@pytest.mark.acceptance
def test_no_page_of_the_site_asks_another_host(site):
    pages = [page for page in site.rglob("*.html") if page.parent.name != "gallery"]  # reports have a test of their own
    assert len(pages) > 25
    for page in pages:
        asked = [a or b for a, b in ASKS.findall(page.read_text(encoding="utf-8")) if not (a or b).startswith("data:")]
        assert not [url for url in asked if re.match(r"(https?:)?//", url)], page.name
    for style in site.rglob("*.css"):
        asked = STYLES.findall(style.read_text(encoding="utf-8"))
        assert not [url for url in asked if re.match(r"(https?:)?//", url)], style.name
