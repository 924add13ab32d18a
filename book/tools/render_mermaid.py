"""Draw each new ```mermaid fence of the book once, as book/diagrams/<hash of its source>.svg: `make diagrams`.

The pages then need no diagram script. Drawing needs npm (it brings mermaid) and a Chromium, Chrome or Edge on this
machine; COMPANION_CHROMIUM names one that is not found. The colors are CSS variables of the page, so that one picture
serves light and dark. Diagrams that no page shows any more are removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from book_ext import DIAGRAMS, diagram_file  # noqa: E402  (the folder is no package)

MERMAID = "mermaid@11.17.2"
FENCE = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# Mermaid wants colors it can compute with; each stands for a variable of book.css and is replaced in the drawing.
COLORS = {
    "#010203": "var(--lm-diagram-fill, #eaf1f8)",
    "#040506": "var(--lm-diagram-line, #134a7c)",
    "#070809": "var(--pst-color-text-base, #1d232b)",
    "#0a0b0c": "var(--pst-color-background, #fff)",
}
FILL, LINE, TEXT, PAGE = COLORS
OPTIONS = {
    "startOnLoad": False,
    "deterministicIds": True,
    "htmlLabels": False,  # SVG text only, which every viewer draws
    "flowchart": {"htmlLabels": False, "curve": "basis", "padding": 12},
    "theme": "base",
    "themeCSS": ".edgeLabel rect { fill: #0a0b0c; opacity: 1; } .label text { font-weight: 400; }",
    "themeVariables": {
        **dict.fromkeys(("primaryColor", "mainBkg", "nodeBkg", "secondaryColor", "tertiaryColor"), FILL),
        **dict.fromkeys(("primaryBorderColor", "nodeBorder", "lineColor", "arrowheadColor"), LINE),
        **dict.fromkeys(("primaryTextColor", "nodeTextColor", "textColor", "titleColor"), TEXT),
        **dict.fromkeys(("edgeLabelBackground", "background", "clusterBkg"), PAGE),
        "clusterBorder": LINE,
        "fontFamily": "system-ui, sans-serif",
        "fontSize": "15px",
    },
}


def texts(file: Path) -> Iterator[str]:
    """The Markdown of a page."""
    content = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        yield content
        return
    for cell in json.loads(content)["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])


def diagrams() -> dict[Path, str]:
    """Every diagram of the book: the file it belongs in, and its source."""
    pages = sorted([*(ROOT / "book").glob("*.md"), *(ROOT / "book").glob("*.ipynb")])
    sources = [source for page in pages for text in texts(page) for source in FENCE.findall(text)]
    return {diagram_file(source): source for source in sources}


def mermaid_script(folder: Path) -> Path:
    """Mermaid as one script, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is needed to draw a diagram and was not found; install Node.js")
    subprocess.run([npm, "pack", "--silent", MERMAID], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("mermaid-*.tgz"))) as archive:
        archive.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package" / "dist" / "mermaid.min.js"


def browser_program() -> str:
    """The browser to draw with."""
    program = os.environ.get("COMPANION_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("no Chromium, Chrome or Edge was found; set COMPANION_CHROMIUM to its program")
    return program


def tidy(svg: str) -> str:
    """The drawing in the page's colors; as wide as it was drawn, or narrower if the page's style says so."""
    for color, variable in COLORS.items():
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        svg = svg.replace(color, variable).replace(f"rgb({red}, {green}, {blue})", variable)
    return re.sub(r'width="100%"(.*?) style="max-width: ([\d.]+)px;"', r'width="\2"\1', svg, count=1).strip() + "\n"


def draw(todo: dict[Path, str]) -> None:
    """Draw the diagrams in a browser."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        script = mermaid_script(Path(folder))
        # Chromium refuses to run its sandbox as root, which is who runs in most containers.
        arguments = ["--no-sandbox"] if sys.platform != "win32" and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=browser_program(), args=arguments)
        page = browser.new_page()
        page.set_content("<!doctype html><body></body>")
        page.add_script_tag(path=str(script))
        page.evaluate("options => mermaid.initialize(options)", OPTIONS)
        for file, source in todo.items():
            render = "([id, source]) => mermaid.render(id, source).then(result => result.svg)"
            svg = page.evaluate(render, [f"diagram-{file.stem}", source])
            file.write_text(tidy(svg), encoding="utf-8", newline="\n")
            print(f"drew {file.relative_to(ROOT).as_posix()}")
        browser.close()


def main() -> None:
    DIAGRAMS.mkdir(exist_ok=True)
    wanted = diagrams()
    for file in set(DIAGRAMS.glob("*.svg")) - set(wanted):
        file.unlink()
        print(f"removed {file.relative_to(ROOT).as_posix()}, which no page shows")
    todo = {file: source for file, source in wanted.items() if not file.is_file()}
    if todo:
        draw(todo)
    else:
        print("every diagram is drawn")


if __name__ == "__main__":
    main()
