"""What this book adds to Jupyter Book: the widgets' script, diagrams, and lighter pages.

- The pages load nothing that they do not use: no thebe (it fetches from another server), no icon script, MathJax only
  where there is math, and of the widgets' scripts only those of the interactive figures on it.
- A build takes two processes where it can, and does not look up the same thing hundreds of times.
- A ```mermaid fence shows the SVG that `book/tools/render_mermaid.py` drew of it; JupyterLab and GitHub draw the same
  fence themselves.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pybtex.plugin
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from companion.widgets.bundle import bundle, stylesheet

DIAGRAMS = Path(__file__).resolve().parent.parent / "diagrams"
ICON_SCRIPT = re.compile(r'\s*<script[^>]* src="[^"]*scripts/fontawesome\.js[^"]*"></script>')
WIDGET = re.compile(r'data-afm="(\w+)"')
PARAMETERS = re.compile(r'<dl>\s*(<dd><em class="sig-param">.*?)</dl>', re.DOTALL)
ARROW = '<summary><span class="toctree-toggle"'
MATH = re.compile(r'class="[^"]*\bmath\b')
# A formula in a line of text, with the punctuation that touches it.
TOUCHED = re.compile(r'[(\[“]*<span class="math notranslate nohighlight">[^<]*</span>[.,;:?!)\]”’]+')
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def diagram_file(source: str) -> Path:
    """The SVG of a mermaid diagram, named by what its source says, so that a changed source has no old picture."""
    return DIAGRAMS / f"{hashlib.sha256(source.strip().encode()).hexdigest()[:12]}.svg"


class Mermaid(SphinxDirective):
    """A ```mermaid fence; its accTitle and accDescr lines are what a screen reader says."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The committed SVG, inline, so that it takes the page's colors, light or dark."""
        source = "\n".join(self.content)
        if "accTitle:" not in source or "accDescr" not in source:
            raise self.error("the diagram has no text for those who cannot see it: give it accTitle: and accDescr:")
        file = diagram_file(source)
        if not file.is_file():
            raise self.error(f"no picture of this diagram at {file.name}; run book/tools/render_mermaid.py")
        self.env.note_dependency(str(file))
        figure = f'<figure class="diagram">{file.read_text(encoding="utf-8")}</figure>'
        return [nodes.raw("", figure, format="html")]


def work_in_parallel(app: Sphinx) -> None:
    """Read and write with two processes; Jupyter Book has no option for it.

    Two extensions of its own do not say whether this is safe: one does nothing but for LaTeX, and the other numbers the
    sections when all is read.
    """
    app.parallel = min(2, os.cpu_count() or 1)
    for name in ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering"):
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def drop_thebe(app: Sphinx, config: Any) -> None:
    """Disconnect sphinx-thebe, which Jupyter Book always loads: its scripts fail and ask another server."""
    for event in app.events.listeners.values():
        event[:] = [listener for listener in event if listener.handler.__module__ != "sphinx_thebe"]
    app.registry.css_files[:] = [file for file in app.registry.css_files if "thebe" not in file[0]]


def draw_cards_on_one_page(app: Sphinx) -> None:
    """Let the one-page edition (builder singlehtml, for printing) draw what only the html builder was told to."""
    handlers = app.registry.translation_handlers
    if app.builder.name == "singlehtml":
        handlers["singlehtml"] = handlers["html"] | handlers.get("singlehtml", {})


def write_widgets(app: Sphinx, body: str) -> str | None:
    """Write the script of the widgets in this html, and the style sheet of all; the script's name, None without any.

    A classic script, since modules do not load from file://. It is named by what is in it, so that pages with the same
    widgets share it; what the widgets share is in it once.
    """
    names = sorted(set(WIDGET.findall(body)))
    if not names:
        return None
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    script = f"widgets-{'-'.join(names)}.js"
    (static / script).write_text(bundle(names), encoding="utf-8", newline="\n")
    (static / "widgets.css").write_text(stylesheet(), encoding="utf-8", newline="\n")
    return script


def load_what_is_used(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Load a page's own widgets and MathJax where there are any, and on no page a kernel's widget state."""
    body = context.get("body", "")
    script = write_widgets(app, body)
    if script:
        app.add_js_file(script, loading_method="defer")
        app.add_css_file("widgets.css")
    scripts = context.get("script_files", [])
    if not MATH.search(body):  # Sphinx also gives MathJax to the parent of a page that needs it
        scripts[:] = [script for script in scripts if "mathjax" not in str(script.filename)]
    scripts[:] = [script for script in scripts if script.attributes.get("type") != WIDGET_STATE]


def keep_punctuation(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Let no line begin with the comma after a formula: a browser may break on both sides of what MathJax draws."""
    if "body" in context:
        context["body"] = TOUCHED.sub(r'<span class="lm-together">\g<0></span>', context["body"])


def name_citations(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Call a work in the list of references a list item; the role that docutils writes is deprecated."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def plain_lines(found: re.Match[str]) -> str:
    """The parameters of a signature of several lines: lines, where Sphinx makes a list of definitions of no terms."""
    return found[1].replace("<dd>", '<span class="lm-parameter">').replace("</dd>", "</span>")


def mend_theme(app: Sphinx, exception: Exception | None) -> None:
    """Remove fontawesome.js, 1.5 MB that draw the icons a second time: the style sheet's fonts already do.

    And give a name to the arrows that unfold a part of the contents, which the theme leaves without.
    """
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = ICON_SCRIPT.sub("", text).replace(ARROW, ARROW.replace(">", ' aria-label="show or hide the parts">', 1))
        text = PARAMETERS.sub(plain_lines, text)
        page.write_text(text, encoding="utf-8", newline="\n")
    for file in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        file.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    # Each citation asks for a plugin by name, and each time pybtex searched all that is installed.
    pybtex.plugin.find_plugin = cache(pybtex.plugin.find_plugin)
    app.add_directive("mermaid", Mermaid)
    app.connect("builder-inited", work_in_parallel)
    app.connect("config-inited", drop_thebe)
    app.connect("builder-inited", draw_cards_on_one_page)
    app.connect("html-page-context", load_what_is_used, priority=900)
    app.connect("html-page-context", keep_punctuation)
    app.connect("html-page-context", name_citations)
    app.connect("build-finished", mend_theme)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
