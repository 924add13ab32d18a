"""The API reference: an entry for everything public in companion, and links between entries and chapters, both ways.

- An ```{api} fence names a package or module; below it stand, by themselves, all its public modules and what they
  define, from the docstrings (autodoc). The lines of the fence say which modules come first.
- An ```{api-names} fence lists what `from companion import ...` gives.
- A role such as {func}`attention` in a chapter finds the entry as Python would: as a name in `companion`, in the module
  whose docstring it stands in, or with the whole path. Each entry leads back to the chapters that name it so.
"""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import api_autodoc
from api_names import (
    PACKAGE,
    canonical,
    definition_lines,
    documented,
    imports,
    public_homes,
    public_modules,
    source,
)
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext import intersphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[2]
PAGES = "book/api"  # what their names begin with
CHAPTER = re.compile(r"book/0*(\d+)_\w+")
FENCE = re.compile(r"^```\{(api|api-names)\}(?: +([\w.]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS_A_CHAPTER = 2  # that an entry leads back to
LONGEST_VALUE = 60  # characters of a constant that are shown
logger = logging.getLogger(__name__)

Mention = tuple[str, str, str]  # what is named, id and title of the section


def fences(root: Path = ROOT) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, module, lines) of every fence in the pages of the reference."""
    for page in sorted([*root.glob(f"{PAGES}.md"), *root.glob(f"{PAGES}/*.md")]):
        for kind, name, body in FENCE.findall(page.read_text(encoding="utf-8")):
            yield kind, f"{PACKAGE}.{name}" if name else PACKAGE, body.split()


def unlisted(root: Path = ROOT) -> list[str]:
    """Packages and modules directly below companion that no page of the reference shows."""
    shown = {module for kind, module, _ in fences(root) if kind == "api"}
    return sorted({".".join(name.split(".")[:2]) for name in public_modules() if name != PACKAGE} - shown)


# The text of the pages


def entries(module: str, first: list[str]) -> str:
    """The sections of a package: one for itself, and one for each of its modules, those named first in this order."""
    names = public_modules(module)
    order = [f"{module}.{name}" for name in first]
    strange = sorted(set(order) - set(names))
    if strange:
        raise ValueError(f"the {{api}} fence of {module} names {strange}; there are {names}")
    rest = [name for name in names if name not in [module, *order]]
    sections = [entry(name, level=2 if name == module else 3) for name in [module, *order, *rest]]
    return "\n".join(sections)


def entry(module: str, level: int) -> str:
    """One module: its docstring, and what it defines itself in the order of the source."""
    return (
        f"{'#' * level} `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n"
        "   :member-order: bysource\n   :show-inheritance:\n```\n"
    )


def public_names() -> str:
    """What ``from companion import ...`` gives: a list for each package, one line a name."""
    package = importlib.import_module(PACKAGE)
    homes = public_homes()
    tops = sorted({home.split(".")[1] for home in homes.values()})
    lines = []
    for top in tops:
        about = first_sentence(importlib.import_module(f"{PACKAGE}.{top}").__doc__)
        lines += [f".. py:currentmodule:: {PACKAGE}.{top}", "", f"**{PACKAGE}.{top}.** {about}", ""]
        for name in sorted((n for n, home in homes.items() if home.split(".")[1] == top), key=str.lower):
            value = getattr(package, name)
            role = "class" if inspect.isclass(value) else "func" if callable(value) else "data"
            lines += [f".. py:currentmodule:: {homes[name]}", "", f":py:{role}:`{name} <{PACKAGE}.{name}>`"]
            lines += [f"    {first_sentence(documented(source(homes[name]))[name])}", ""]
    indented = [f"   {line}".rstrip() for line in lines]
    return "\n".join(["```{eval-rst}", ".. container:: lm-api-names", "", *indented, "```", ""])


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring up to its first full stop, colon included."""
    paragraph = " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the text of the fences into a page of the reference before it is read."""
    if not docname.startswith(PAGES):
        return

    def text(match: re.Match[str]) -> str:
        kind, name, body = match.groups()
        return public_names() if kind == "api-names" else entries(f"{PACKAGE}.{name}", body.split())

    source[0] = FENCE.sub(text, source[0])


def check_all_listed(app: Sphinx) -> None:
    """A module that nobody put on a page is an error of the build: warnings are."""
    for name in unlisted():
        logger.warning(f"{name} stands on no page of the API reference; add it to an {{api}} fence in {PAGES}/*.md")


# Where the code stands


def source_link(domain: str, info: dict[str, str]) -> str:
    """The lines of the repository where an entry's code stands."""
    file, lines = source_lines(info["module"])
    first, last = lines.get(info["fullname"], (1, 1))
    return f"{repository()}/{file}#L{first}" + (f"-L{last}" if last > first else "")


@cache
def source_lines(module: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The file of a module in the repository, and the first and last line of all that it defines."""
    path = Path(inspect.getfile(importlib.import_module(module)))
    return path.relative_to(ROOT).as_posix(), definition_lines(source(module))


_address: dict[str, str] = {}


def repository() -> str:
    """Where the files of the repository are shown."""
    return _address["files"]


def configure(app: Sphinx, config: Any) -> None:
    """The repository's address from Jupyter Book's setting; and linkcode's function, which YAML cannot name."""
    theme = config.html_theme_options
    _address["files"] = f"{theme['repository_url']}/blob/{theme['repository_branch']}"
    config.linkcode_resolve = source_link


# References


def resolve(app: Sphinx, env: BuildEnvironment, node: Any, contnode: Any) -> Any:
    """Find the entry of a name as Python would find the object; what others define has a link or none, but no fault."""
    if node.get("refdomain") != "py":
        return None
    target, module = node["reftarget"], node.get("py:module") or PACKAGE
    domain: Any = env.get_domain("py")
    path = canonical(target, module)
    found = domain.objects.get(path)
    if found is not None:
        alias = found.objtype == "data" and node["reftype"] == "class"  # a type alias in a signature
        fits = alias or found.objtype in domain.objtypes_for_role(node["reftype"])
        place = found.docname, found.node_id
        return make_refnode(app.builder, node["refdoc"], *place, [contnode], target) if fits else None
    if path is not None:  # ours, but without an entry: right for an alias that needs no words, and for nothing else
        value = pkgutil.resolve_name(path)
        return None if node["reftype"] != "class" or inspect.isclass(value) or inspect.ismodule(value) else contnode
    root, *rest = target.split(".")
    outside = imports(module).get(root, root if rest else "")
    if not outside or outside.split(".")[0] == PACKAGE or importlib.util.find_spec(outside.split(".")[0]) is None:
        return None
    node["reftarget"] = ".".join([outside, *rest])
    return intersphinx.missing_reference(app, env, node, contnode) or contnode


def tidy(app: Sphinx, doctree: nodes.document) -> None:
    """In the reference: attributes under their own name, and no constant whose value is longer than a line."""
    if not app.env.docname.startswith(PAGES):
        return
    for name in doctree.findall(nodes.field_name):
        if name.astext() == "Variables":  # napoleon's word
            name.children[:] = [nodes.Text("Attributes")]
    for value in list(doctree.findall(addnodes.desc_annotation)):
        if value.astext().startswith(" = ") and (len(value.astext()) > LONGEST_VALUE or " at 0x" in value.astext()):
            value.parent.remove(value)
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("refdomain") == "py" and hasattr(builtins, node["reftarget"]):
            node.replace_self(node.children)  # int and None lead nowhere; looking them up took a second
        else:
            node["refspecific"] = False  # no name is searched for in all modules: `resolve` knows where it stands


# From the entries back to the chapters


def note_mentions(app: Sphinx, doctree: nodes.document) -> None:
    """Remember which sections of a chapter name an entry."""
    docname = app.env.docname
    if CHAPTER.fullmatch(docname):
        mentions(app.env)[docname] = list(mentions_of(doctree))


def mentions_of(doctree: nodes.document) -> Iterator[Mention]:
    """What each role of a chapter names, in order."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        name = node.get("refdomain") == "py" and canonical(node["reftarget"], PACKAGE)
        section = node.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        if name and section is not None:
            yield name, section["ids"][0], section[0].astext()


def mentions(env: BuildEnvironment) -> dict[str, list[Mention]]:
    """The mentions of each chapter; Sphinx keeps the environment between builds."""
    if not hasattr(env, "api_mentions"):
        env.api_mentions = {}  # type: ignore[attr-defined]
    return env.api_mentions  # type: ignore[attr-defined, no-any-return]


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A chapter that is read again may name other things."""
    mentions(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment) -> None:
    """What another process read."""
    mentions(env).update({name: found for name, found in mentions(other).items() if name in docnames})


def explained(env: BuildEnvironment, name: str) -> Iterator[tuple[str, str, str]]:
    """(chapter, section, title) of the first sections of each chapter that name this."""
    for docname, found in sorted(mentions(env).items()):
        sections = dict.fromkeys(mention[1:] for mention in found if mention[0] == name)
        for section, title in list(sections)[:SECTIONS_A_CHAPTER]:
            yield docname, section, title


def lead_back(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Below the first sentence of each entry: how to import it, if it is a public noun, and where it is explained."""
    if not docname.startswith(PAGES):
        return
    short = {f"{home}.{name}": name for name, home in public_homes().items()}
    for description in doctree.findall(addnodes.desc):
        signature, content = description[0], description[-1]
        name = f"{signature['module']}.{signature['fullname']}"
        line = nodes.paragraph(classes=["lm-api-where"])
        if name in short:
            line += nodes.literal(text=f"from {PACKAGE} import {short[name]}")
        for chapter, section, title in explained(app.env, name):
            number = CHAPTER.fullmatch(chapter)[1]  # type: ignore[index]
            uri = f"{app.builder.get_relative_uri(docname, chapter)}#{section}"
            link = nodes.reference("", f"Chapter {number}: {title}", internal=True, refuri=uri)
            line += [nodes.Text(" "), link]
        if line.children:
            paragraphs = [i for i, child in enumerate(content) if isinstance(child, nodes.paragraph)]
            sentences = [i for i in paragraphs if not content[i].astext().startswith("Bases: ")]
            content.insert(sentences[0] + 1 if sentences else 0, line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    api_autodoc.connect(app)
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("config-inited", configure)
    app.connect("builder-inited", check_all_listed)
    app.connect("source-read", fill_in)
    app.connect("doctree-read", tidy)
    app.connect("doctree-read", note_mentions)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("missing-reference", resolve, priority=100)  # before any inventory of others
    app.connect("doctree-resolved", lead_back)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
