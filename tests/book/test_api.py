"""The API reference: nothing public is missing, entries and chapters lead to each other, and to the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import site_checks
from bs4 import Tag

import companion

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))
ROLE = re.compile(r"\{(?:func|class|meth|data|mod|attr)\}`(?:[^`<]*<)?~?([\w.]+)>?`")
PAGES = site_checks.api_pages()


sys.path.insert(0, str(BOOK / "_ext"))
api = importlib.import_module("api_ext")


def defined() -> dict[str, object]:
    """Every public class and function, by the path of its definition."""
    found = {}
    for name in api.public_modules():
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            public = not key.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
            if public and value.__module__ == name and value.__name__ == key:
                found[f"{name}.{key}"] = value
    return found


# Without a built book


def test_every_public_module_stands_on_a_page() -> None:
    assert api.unlisted() == []
    assert len(api.public_modules()) > 30 and "companion.exercises._answers" not in api.public_modules()


def test_a_module_that_is_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "book" / "api").mkdir(parents=True)
    (tmp_path / "book" / "api.md").write_text("# API\n\n```{api-names}\n```\n\n```{api} nn\nmasks\n```\n", "utf-8")
    (tmp_path / "book" / "api" / "more.md").write_text("```{api} config\n```\n", "utf-8")
    missing = api.unlisted(tmp_path)
    assert "companion.viz" in missing and "companion.errors" in missing
    assert "companion.nn" not in missing and "companion.config" not in missing


def test_a_fence_becomes_a_section_a_module() -> None:
    text = api.entries("companion.nn", ["masks", "losses"])
    heads = re.findall(r"^(#+) `(.+)`$", text, re.MULTILINE)
    assert heads[:3] == [("##", "companion.nn"), ("###", "companion.nn.masks"), ("###", "companion.nn.losses")]
    assert sorted(name for _, name in heads) == sorted(api.public_modules("companion.nn"))
    with pytest.raises(ValueError, match=r"names \['companion.nn.mask'\]; there are"):
        api.entries("companion.nn", ["mask"])


def test_every_public_noun_has_a_line_that_says_what_it_is() -> None:
    homes = api.public_homes()
    assert sorted(homes) == sorted(companion.__all__)
    assert {homes["attention"], homes["IGNORE"]} == {"companion.nn.attention", "companion.nn.losses"}
    said = {name: api.first_sentence(api.documented(api.source(home))[name]) for name, home in homes.items()}
    assert all(len(words) > 10 for words in said.values()), said
    assert said["IGNORE"] == "The label of a position that is not predicted."
    text = api.public_names()
    assert all(f"`{name} <companion.{name}>`" in text for name in companion.__all__)


@pytest.mark.parametrize(
    ("name", "module", "home"),
    [
        ("attention", "companion", "companion.nn.attention.attention"),
        ("companion.attention", "companion.viz", "companion.nn.attention.attention"),
        ("causal_mask", "companion.nn.attention", "companion.nn.masks.causal_mask"),
        ("companion.nn.attention", "companion", "companion.nn.attention"),
        ("TransformerConfig.preset", "companion", "companion.config.transformer.TransformerConfig.preset"),
        ("IGNORE", "companion", "companion.nn.losses.IGNORE"),
        ("companion.nn.positional.RoPE", "companion", "companion.nn.positional.RoPE"),
        ("companion.widgets.RotaryDial", "companion", "companion.widgets.rotary_dial.RotaryDial"),
        ("RoPE", "companion", None),
        ("companion.nothing", "companion", None),
        ("torch.Tensor", "companion", None),
        ("torch.Tensor", "companion.nn.masks", None),
    ],
)
def test_a_name_means_what_it_means_in_python(name: str, module: str, home: str | None) -> None:
    assert api.canonical(name, module) == home


def test_source_links_lead_to_the_lines_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api._address, "files", "https://host/o/r/blob/main")
    checked = 0
    for path, value in defined().items():
        info = {"module": value.__module__, "fullname": value.__qualname__}
        link = api.source_link("py", info)
        match = re.fullmatch(r"https://host/o/r/blob/main/(companion/[\w/]+\.py)#L(\d+)-L(\d+)", link)
        assert match, f"{path}: {link}"
        lines = (ROOT / match[1]).read_text(encoding="utf-8").splitlines()[int(match[2]) - 1 : int(match[3])]
        assert ast.parse("\n".join(lines)).body[0].name == value.__name__, path
        checked += 1
    assert checked > 100
    link = api.source_link("py", {"module": "companion.nn.losses", "fullname": "IGNORE"})
    line = int(link.rpartition("#L")[2])
    assert (ROOT / "companion/nn/losses.py").read_text(encoding="utf-8").splitlines()[line - 1] == "IGNORE = -100"


@pytest.mark.parametrize("file", sorted((BOOK / "_ext" / "inventories").glob("*.txt")), ids=lambda file: file.stem)
def test_what_an_inventory_names_exists(file: Path) -> None:
    """The documentation of others is not asked, but a class that was renamed or moved is noticed here."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Sphinx inventory version 1" and len(lines) > 3
    for line in lines[3:]:
        path, kind, page = line.split()
        module, _, name = path.rpartition(".")
        assert kind == "class" and page.endswith(".html")
        assert inspect.isclass(getattr(importlib.import_module(module), name)), path


def cells(notebook: Path, kind: str) -> str:
    content = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in content if cell["cell_type"] == kind)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_links_what_it_imports(chapter: Path) -> None:
    """Each public noun that a chapter imports from companion is named once by a role, such as {func}`attention`."""
    imported = set()
    code = "\n".join(line for line in cells(chapter, "code").splitlines() if not line.lstrip().startswith("%"))
    for block in re.findall(r"^from companion import (?:\(([^)]*)\)|(.*))$", code, re.MULTILINE):
        imported |= set(re.findall(r"\w+", re.sub(r"#.*", "", " ".join(block))))
    linked = {api.canonical(name, "companion") for name in ROLE.findall(cells(chapter, "markdown"))}
    assert None not in linked, "a role names nothing"
    homes = api.public_homes()
    missing = sorted(name for name in imported if f"{homes[name]}.{name}" not in linked)
    assert not missing, f"write {{func}}`name` or {{class}}`name` where the text first speaks of {missing}"


# The built book


@pytest.fixture(scope="module")
def built(site: Path) -> dict[str, site_checks.Page]:
    return {name: site_checks.page(site, name) for name in [*PAGES, *(f"book/{c.stem}.html" for c in CHAPTERS)]}


Entries = dict[str, tuple[str, Tag]]


@pytest.fixture(scope="module")
def entries(built: dict[str, site_checks.Page]) -> Entries:
    """(page, heading) of every entry, by its path."""
    return {str(tag["id"]): (name, tag) for name in PAGES for tag in built[name].article.select("dl.py > dt[id]")}


@pytest.mark.browser
def test_everything_public_has_an_entry(built: dict[str, site_checks.Page], entries: Entries) -> None:
    missing = sorted(path for path in defined() if path not in entries)
    assert not missing, missing
    assert all(f"{home}.{name}" in entries for name, home in api.public_homes().items())
    modules = {str(tag["id"]) for name in PAGES for tag in built[name].article.select("[id^=module-companion]")}
    assert {f"module-{name}" for name in api.public_modules() if name != "companion"} <= modules


@pytest.mark.browser
def test_entries_lead_to_their_source(built: dict[str, site_checks.Page], entries: Entries) -> None:
    address = site_checks.repository()
    for path, (page, heading) in entries.items():
        links = [link["href"] for link in heading.select("a[href]") if "source" in link.get_text()]
        assert len(links) == 1, f"{page}#{path}: {links}"
        assert re.fullmatch(rf"{re.escape(address)}/blob/main/companion/[\w/]+\.py#L\d+(-L\d+)?", links[0]), links
        assert (ROOT / urlsplit(links[0]).path.partition("/blob/main/")[2]).is_file()


@pytest.mark.browser
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_what_a_chapter_names_leads_there_and_back(
    built: dict[str, site_checks.Page], entries: Entries, chapter: Path
) -> None:
    page = built[f"book/{chapter.stem}.html"]
    named = {api.canonical(name, "companion") for name in ROLE.findall(cells(chapter, "markdown"))}
    objects = {name for name in named if name not in api.public_modules()}
    targets = [site_checks.resolve(page.name, urlsplit(a["href"]).path) + "#" + unquote(urlsplit(a["href"]).fragment)
               for a in page.article.select("a.reference.internal[href*='#']")]  # fmt: skip
    for name in sorted(objects):
        where, heading = entries[name]
        assert f"{where}#{name}" in targets, f"{chapter.stem} names {name}, but no link leads to {where}"
        back = heading.find_next_sibling("dd").select_one(".lm-api-where")
        links = [urlsplit(a["href"]) for a in back.select("a[href]")] if back else []
        homes = [u.fragment for u in links if site_checks.resolve(where, u.path) == page.name]
        assert 1 <= len(homes) <= api.SECTIONS_A_CHAPTER, f"{name} does not lead back to {page.name}"
        for home in homes:
            section = page.soup.find(id=home)
            if section.name != "section":  # a label stands just before its section, or in it
                section = section.find_parent("section") or section.find_next("section")
            mentions = [a for a in section.select("a.reference.internal") if a["href"].endswith(f"#{name}")]
            assert mentions, f"{name} leads back to {page.name}#{home}, which does not name it"


@pytest.mark.browser
def test_docstrings_were_understood(built: dict[str, site_checks.Page]) -> None:
    text = " ".join(built[name].text for name in PAGES)
    assert ":param" not in text and "Args:" not in text and "Raises :" in text and "Alias for field" not in text
    code = [block.get_text() for name in PAGES for block in built[name].article.select("pre")]
    assert sum(">>>" in block for block in code) > 50
    assert not re.search(r" at 0x[0-9a-f]{6}", "".join(built[name].html for name in PAGES))


@pytest.mark.browser
def test_search_finds_an_entry(open_page: Callable) -> None:
    page = open_page("search.html?q=faster_backend")
    page.wait_for_function(
        "/found/.test((document.querySelector('#search-results .search-summary') || {}).textContent)"
    )
    hits = page.locator("#search-results ul.search li a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert any("book/api/layers.html#companion.nn.attention.faster_backend" in hit for hit in hits), hits
    assert page.problems == []
