"""What can be said about the built pages without a browser: each check takes pages and returns what it found wrong.

An empty list means sound. test_checkers.py feeds every check a page that it must refuse.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import yaml
from bs4 import BeautifulSoup, NavigableString, Tag

ROOT = Path(__file__).resolve().parents[2]
LINKS = {"a": "href", "area": "href", "link": "href", "img": "src", "script": "src", "iframe": "src", "source": "src"}
# Left over when a role, a reference or maths was not understood. Code, maths and scripts are taken out first.
LEFTOVER = re.compile(
    r"\{(?:ref|numref|eq|doc|cite\S*|term|math|prf:\S+)\}`|\[\?\]|\\\(|\\\[|\\begin\{|\\frac|\$\$|\$[^\s$](?:[^$\n]*[^\s$])?\$(?!\d)"
)

NO_PROSE = ({"pre", "code", "script", "style", "svg"}, {"math", "output"})  # tags, classes

REPEATED = ("exercise-content", "solution-content")  # sphinx-exercise gives every exercise the same two; none is linked


def toc_pages(root: Path = ROOT) -> list[str]:
    """The pages that the table of contents lists, in order: "book/intro.html", ..."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = [toc["root"]]

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "file" in node:
                found.append(node["file"])
            for key in ("parts", "chapters", "sections"):
                walk(node.get(key))
        for item in node if isinstance(node, list) else []:
            walk(item)

    walk({key: value for key, value in toc.items() if key != "root"})
    return [re.sub(r"\.(md|ipynb|rst)$", "", name) + ".html" for name in found]


def notebook_pages(root: Path = ROOT) -> list[str]:
    """Those of them that are made from a notebook."""
    return [page for page in toc_pages(root) if (root / page).with_suffix(".ipynb").is_file()]


def api_pages(root: Path = ROOT) -> list[str]:
    """Those of them that are the API reference."""
    return [page for page in toc_pages(root) if page.startswith("book/api")]


def repository(root: Path = ROOT) -> str:
    """The address of the repository, from its one home."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["urls"]["Repository"]


class Page:
    """One html page of a built site."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.html = (folder / name).read_text(encoding="utf-8")

    @cached_property
    def soup(self) -> BeautifulSoup:
        return BeautifulSoup(self.html, "html.parser")

    @cached_property
    def anchors(self) -> set[str]:
        return {str(tag[key]) for key in ("id", "name") for tag in self.soup.find_all(attrs={key: True})}

    @cached_property
    def article(self) -> Tag:
        found = self.soup.select_one("article.bd-article") or self.soup.select_one("article")
        assert found, f"{self.name} has no <article>"
        return found

    @cached_property
    def links(self) -> list[tuple[str, str]]:
        """(tag, address) of everything that the page links to or loads."""
        return [(t.name, str(t[LINKS[t.name]])) for t in self.soup.find_all(list(LINKS)) if t.get(LINKS[t.name])]

    @cached_property
    def text(self) -> str:
        """The article's prose: no code, maths, scripts or drawings."""
        return " ".join(words(self.article))


def words(tag: Tag) -> Iterator[str]:
    """The pieces of prose within a tag."""
    for child in tag.children:
        if isinstance(child, Tag):
            skipped = child.name in NO_PROSE[0] or not NO_PROSE[1].isdisjoint(child.get_attribute_list("class"))
            if not skipped and "data-afm" not in child.attrs:
                yield from words(child)
        elif type(child) is NavigableString:  # a comment is a kind of its own
            yield child


@cache
def page(folder: Path, name: str) -> Page:
    """One page of a site that stays as it is: parsing takes most of the time of all checks."""
    return Page(folder, name)


class Site:
    """All html pages of a folder, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        names = sorted(name for name in self.files if name.endswith(".html") and not name.startswith("_"))
        self.pages = {name: page(folder, name) for name in names}


def resolve(page: str, path: str) -> str:
    """The file, relative to the site, that a relative address on a page means."""
    parts = [] if path.startswith("/") else page.split("/")[:-1]
    for part in unquote(path).split("/"):
        if part == "..":
            if not parts:
                return "(above the site)"
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts + ["index.html"] * (path.endswith("/") or not parts))


def broken_links(site: Site) -> list[str]:
    """Files and anchors that a page names and that are not there; names are compared case by case."""
    wrong = []
    for name, page in site.pages.items():
        for tag, address in page.links:
            url = urlsplit(address)
            if url.scheme or url.netloc:
                if url.scheme not in ("https", "mailto", "data", "javascript"):
                    wrong.append(f"{name}: <{tag}> {address} is neither inside the site nor https")
                continue
            target = resolve(name, url.path) if url.path else name
            fragment = unquote(url.fragment)
            if target not in site.files:
                wrong.append(f"{name}: <{tag}> {address} leads to no file")
            elif fragment and target in site.pages and fragment not in site.pages[target].anchors:
                wrong.append(f"{name}: <{tag}> {address} leads to no anchor")
    return wrong


def repository_links(page: Page, address: str, root: Path = ROOT) -> list[str]:
    """Links into the repository, and through Colab and Binder, that name no file of it or have another form."""
    owner = urlsplit(address).path.strip("/")
    wrong = []
    for _, link in page.links:
        url = urlsplit(link)
        path = unquote(url.path).strip("/")
        inside = None
        if url.netloc == urlsplit(address).netloc and path != owner:
            match = re.fullmatch(
                rf"{re.escape(owner)}/(?:(?:blob|edit|raw|tree)/main/(.+)|issues(?:/new)?|actions.*)", path
            )
            inside = match and (match[1] or ".")
        elif url.netloc == "colab.research.google.com":
            match = re.fullmatch(rf"github/{re.escape(owner)}/blob/main/(book/\w+\.ipynb)", path)
            inside = match and match[1]
        elif url.netloc == "mybinder.org":
            query = parse_qs(url.query).get("urlpath", [""])[0]
            match = re.fullmatch(r"(?:lab/)?tree/(book/\w+\.(?:ipynb|md))", query)
            inside = match and path == f"v2/gh/{owner}/main" and match[1]
        else:
            continue
        if not inside:
            wrong.append(f"{page.name}: {link} is not of the agreed form")
        elif not (root / inside).exists():
            wrong.append(f"{page.name}: {link} names {inside}, which is not in the repository")
    return wrong


def missing_launchers(page: Page) -> list[str]:
    """A chapter must offer Colab, Binder and the notebook itself."""
    source = page.name.removesuffix(".html") + ".ipynb"
    links = [unquote(link) for _, link in page.links]
    wrong = [
        f"{page.name}: no {host} link to {source}"
        for host in ("colab.research.google.com", "mybinder.org")
        if not any(urlsplit(link).netloc == host and link.endswith(source) for link in links)
    ]
    inside = [urlsplit(link).path for tag, link in page.links if tag == "a" and not urlsplit(link).netloc]
    downloads = [path for path in inside if path.endswith(".ipynb")]
    if not downloads:
        wrong.append(f"{page.name}: no download of the notebook")
    for link in downloads:
        file = page.folder / resolve(page.name, link)
        try:
            nbformat.validate(json.loads(file.read_text(encoding="utf-8")), version=4)
        except (OSError, ValueError, nbformat.ValidationError) as error:
            wrong.append(f"{page.name}: the download {link} is no notebook: {error}")
    return wrong


def bare_images(page: Page) -> list[str]:
    """Images without a description; the name of a file, which Sphinx puts there by default, is none."""
    wrong = []
    for image in page.soup.find_all("img"):
        alt, source = image.get("alt"), str(image.get("src", ""))[:80]
        if alt is None:
            wrong.append(f"{page.name}: {source} has no alt")
        elif page.article in image.parents and (len(alt) < 10 or re.search(r"\.(png|svg|jpe?g)$", alt)):
            wrong.append(f"{page.name}: {source} has alt {alt!r}, which describes nothing")
    return wrong


def disordered_headings(page: Page) -> list[str]:
    """One h1, first; no level left out on the way down."""
    heads = [(int(h.name[1]), h.get_text(" ", strip=True)) for h in page.article.find_all(re.compile("^h[1-6]$"))]
    levels = [level for level, _ in heads]
    wrong = []
    if levels.count(1) != 1 or levels[:1] != [1]:
        wrong.append(f"{page.name}: exactly one h1, as the first heading; got levels {levels}")
    for (before, _), (level, words) in pairwise(heads):
        if level > before + 1:
            wrong.append(f"{page.name}: h{level} {words!r} follows an h{before}")
    return wrong


def untitled(page: Page) -> list[str]:
    """The page's language, and a <title> that begins with its heading."""
    wrong = []
    html = page.soup.find("html")
    if not isinstance(html, Tag) or html.get("lang") != "en":
        wrong.append(f"{page.name}: <html> does not say lang=en")
    heading = page.article.find("h1")
    words = re.sub(r"\W+", " ", heading.get_text() if heading else "").strip()
    title = re.sub(r"\W+", " ", page.soup.title.get_text() if page.soup.title else "").strip()
    if not words or not title.startswith(words):
        wrong.append(f"{page.name}: the title {title!r} does not begin with the heading {words!r}")
    return wrong


def leftovers(page: Page) -> list[str]:
    """Markup that was not understood and stands in the prose as it was typed, and references that lead nowhere."""
    wrong = [f"{page.name}: {match[0][:60]!r} was not rendered" for match in LEFTOVER.finditer(page.text)]
    for tag in page.article.select(".problematic, .system-message, span.xref"):
        if tag.name == "a" or tag.find_parent("a"):
            continue
        wrong.append(f"{page.name}: {tag.get_text()[:60]!r} was not resolved")
    return wrong


def repeated_ids(page: Page) -> list[str]:
    """An id that stands twice: a link to it, or a label, finds only the first."""
    ids = Counter(str(tag["id"]) for tag in page.soup.find_all(id=True))
    return [f"{page.name}: id {name!r} stands {n} times" for name, n in ids.items() if n > 1 and name not in REPEATED]


def figure_bytes(page: Page) -> dict[str, int]:
    """The size of every picture of the article."""
    sizes = {}
    for image in page.article.find_all("img"):
        source = str(image.get("src", ""))
        if source.startswith("data:"):
            sizes[source[:40]] = len(source)
        else:
            name = resolve(page.name, urlsplit(source).path)
            sizes[name] = (page.folder / name).stat().st_size
    return sizes
