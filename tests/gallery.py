"""``python -m tests.gallery``: the commands of docs/gallery.md, run in build/gallery, and a picture of each page.

The pictures are what stands in the page; without Chromium they stay as they are.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.pages import ROOT, commands, write_files

PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "build" / "gallery"

#: Pixels of the window, and of the picture's width.
WINDOW, WIDTH = (1280, 960), 720


def make_pages() -> list[Path]:
    """The pages that the commands write, each under a name of its own: its run directory's, or that of its file."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    write_files(PAGE, FOLDER)
    command = Path(sys.executable).with_name("clusterfolio")
    env = os.environ | {"CLUSTERFOLIO_LEDGER": str(FOLDER / "ledger.sqlite")}  # no trials of the user's
    found = []
    for arguments in commands(PAGE):
        done = subprocess.run([command, *arguments], cwd=FOLDER, env=env, check=True, stdout=subprocess.PIPE, text=True)
        written = FOLDER / done.stdout.split()[-1]  # the last line is where it is
        page = FOLDER / f"{written.parent.name if written.name == 'report.html' else written.stem}.html"
        if written != page:
            shutil.copy(written, page)
        found.append(page)
    return found


def take_picture(browser: str, page: Path) -> None:
    """The first screen of a page, small."""
    shot = FOLDER / "shot.png"
    window = f"--window-size={WINDOW[0]},{WINDOW[1]}"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", window, f"--screenshot={shot}"]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)
    picture = Image.open(shot).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    target = PAGE.parent / "gallery" / f"{page.stem}.webp"
    target.parent.mkdir(exist_ok=True)
    picture.save(target, quality=80, method=6)


def main() -> None:
    pages = make_pages()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for page in pages if browser else ():
        take_picture(browser, page)
    print(f"{len(pages)} pages in {FOLDER}" + ("" if browser else "; no Chromium: the pictures are as they were"))


if __name__ == "__main__":
    main()
