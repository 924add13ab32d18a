"""Every number in the book's prose is bound to something that is checked, and a wrong digit is noticed."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import prose_numbers as scan
import pytest
from notebooks import ROOT, pages
from prose_tokens import Number, output_numbers, prose_numbers

Cells = list[tuple[str, str, list[Number]]]
ACCIDENTS = 0.04  # of all wrong digits, how many may make a number that something else shows


def said(text: str) -> Number:
    return next(prose_numbers(text))


def shown(text: str) -> Number:
    return next(output_numbers(text))


def by(*cells: tuple[str, str] | tuple[str, str, str], page: str = "page") -> dict[str, str | None]:
    """What binds the numbers of a small page; a cell is (name, Markdown) or (name, "", output)."""
    loaded = [(name, source, [n for text in rest for n in output_numbers(text)]) for name, source, *rest in cells]
    return {found.number.text: found.by for found in scan.scan_cells(page, loaded)}


@pytest.mark.parametrize("page", pages(), ids=scan.page_name)
def test_every_number_is_bound(page: Path) -> None:
    report = scan.unbound(scan.scan(page))
    assert not report, f"{len(report)} numbers that nothing shows:\n" + "\n".join(report)


def wrong_digits(number: Number, source: str, chance: random.Random) -> Iterator[str]:
    """The sources in which one digit of this number is another one, in any order.

    Only those in which the number is still one that must be bound; each is made when it is asked for, since the first
    is usually enough.
    """
    places = [at for at in range(number.start, number.end) if source[at] in "0123456789"]
    changes = [(at, digit) for at in places for digit in "0123456789".replace(source[at], "")]
    chance.shuffle(changes)
    for at, digit in changes:
        changed = source[:at] + digit + source[at + 1 :]
        again = [n for n in prose_numbers(changed) if n.start == number.start]
        if again and again[0].must_be_bound and again[0].value != number.value:
            yield changed


def around(cells: Cells, place: int) -> slice:
    """The cells of the sections that this cell has a part in: from the heading before it to the heading after it."""
    headed = [i for i, (_, source, _) in enumerate(cells) if scan.headings(source)]
    first = max((i for i in headed if i < place), default=0)
    last = min((i for i in headed if i > place), default=len(cells) - 1)
    return slice(first, last + 1)


@pytest.mark.parametrize("page", pages(), ids=scan.page_name)
def test_what_stands_in_other_sections_changes_nothing(page: Path) -> None:
    """So the next test may look at the sections around a cell alone."""
    cells = scan.load(page)
    whole = scan.scan_cells(scan.page_name(page), cells)
    for place, (name, _, _) in enumerate(cells):
        near = scan.scan_cells(scan.page_name(page), cells[around(cells, place)])
        assert [f for f in near if f.cell == name] == [f for f in whole if f.cell == name]


@pytest.mark.parametrize("page", pages(), ids=scan.page_name)
def test_a_wrong_digit_is_noticed(page: Path) -> None:
    """For every bound number: change one digit, by chance; if the result happens to be shown too, try another."""
    chance = random.Random(0)
    cells = scan.load(page)
    tried = accidents = 0

    def missing(cells: Cells, cell: str) -> int:
        found = scan.scan_cells(scan.page_name(page), cells)
        return sum(one.by is None and one.cell == cell for one in found)

    for place, (name, source, shows) in enumerate(cells):
        numbers = [n for n in prose_numbers(source) if n.must_be_bound]
        near = cells[around(cells, place)]
        at = near.index(cells[place])
        before = missing(near, name) if numbers else 0
        for number in [] if before else numbers:
            for changed in wrong_digits(number, source, chance):
                tried += 1
                mutated: Cells = [*near[:at], (name, changed, shows), *near[at + 1 :]]
                if missing(mutated, name) > before:
                    break
                accidents += 1
            else:
                pytest.fail(f"{page.name}, cell {name}: no wrong digit in {number.text!r} is noticed")
    print(f"{page.name}: {accidents} of {tried} wrong digits made another number that is shown")
    assert accidents <= max(3, ACCIDENTS * tried), f"{accidents} of {tried} wrong digits passed"


def test_the_claims_are_used_and_their_references_exist() -> None:
    bibliography = ROOT / "book" / "references.bib"
    keys = set(re.findall(r"^@\w+\{\s*([^,\s]+)", bibliography.read_text(encoding="utf-8"), re.M))
    stems = {scan.page_name(page): page for page in pages()}
    for claim in scan.entries(scan.CLAIMS, "claim"):
        assert set(claim) == {"chapter", "text", "number", "reference", "place"}, claim
        assert all(isinstance(value, str) and value.strip() for value in claim.values()), claim
        assert claim["reference"] in keys, f"{claim['reference']} is not in references.bib"
        assert claim["number"] in claim["text"], claim
        used = [f for f in scan.scan(stems[claim["chapter"]]) if f.number.text == claim["number"]]
        assert any(f.by == f"claim {claim['reference']}" for f in used), f"nothing needs the claim {claim['text']!r}"


def test_the_exemptions_are_few_used_and_have_a_reason() -> None:
    exemptions = scan.entries(scan.EXEMPTIONS, "exemption")
    assert len(exemptions) <= 2 * len(pages())
    stems = {scan.page_name(page): page for page in pages()}
    for entry in exemptions:
        assert set(entry) == {"chapter", "text", "number", "reason"}, entry
        assert len(entry["reason"].split()) >= 3, entry
        assert any(f.by == f"exempt: {entry['reason']}" for f in scan.scan(stems[entry["chapter"]])), entry


@pytest.mark.parametrize(
    ("prose", "output", "agree"),
    [
        ("0.5", "0.5", True),
        ("0.50", "0.5", True),
        ("0.33", "0.3333", True),
        ("0.34", "0.3333", False),
        ("0.3", "0.3333", False),  # one digit is no rounding that could be checked
        ("0.3333", "0.33", False),  # more digits than were shown
        ("0.13", "0.125", True),
        ("0.12", "0.125", True),
        ("207", "207.1823", True),
        ("208", "207.1823", False),
        ("-0.5", "0.5", False),
        ("0.5", "-0.5", False),
        ("-0.5", "-0.5", True),
        ("3192", "3192.0", True),
        ("3,200", "3192", False),
        ("about 3,200", "3192", True),
        ("about 3,300", "3192", False),
        ("about 3,000", "3192", False),  # one digit again
        ("14.7 %", "0.1468", True),
        ("14.6 %", "0.1468", False),
        ("14.7 %", "14.68%", True),
        ("14.7 %", "14.68", False),  # not shown as a percentage
        ("80 %", "0.8", True),
        ("0.8", "80%", False),
        ("3.75e-19", "3.7536e-19", True),
        ("$3.75\\times10^{-19}$", "3.7536e-19", True),
        ("$3.75\\times10^{-18}$", "3.7536e-19", False),
        ("$10^{-12}$", "1e-12", True),
        ("$10^{-12}$", "1.2e-12", False),
        ("$10^{6}$", "1,000,000", True),
    ],
)
def test_equal_or_correctly_rounded(prose: str, output: str, agree: bool) -> None:
    assert scan.agrees(said(prose), shown(output)) is agree


def test_an_output_counts_in_its_own_section_only() -> None:
    head = ("a", "# Title\n\n## One\n\nIt is 0.25.")
    assert by(head, ("b", "", "0.25")) == {"0.25": "output"}
    assert by(("b", "", "0.25"), head) == {"0.25": None}
    assert by(head, ("c", "## Two"), ("b", "", "0.25")) == {"0.25": None}
    assert by(head, ("c", "### Deeper"), ("b", "", "0.25")) == {"0.25": "output"}
    assert by(head, ("c", "```python\n## no heading\n```"), ("b", "", "0.25")) == {"0.25": "output"}


def test_a_heading_in_the_middle_of_a_cell_ends_the_section() -> None:
    assert by(("a", "## One\n\nIt is 0.25.\n\n## Two\n\nIt is 0.75."), ("b", "", "0.75 0.25")) == {
        "0.25": None,
        "0.75": "output",
    }


def test_an_erratum_counts_where_it_is_named() -> None:
    assert by(("a", "## The source (N3)\n\nIt prints 0.0028, 0.9999.")) == {"0.0028": "erratum N3", "0.9999": None}
    assert by(("a", "## X\n\nIt prints 0.0028 ([so](errata.ipynb#errata-n3)).")) == {"0.0028": "erratum N3"}
    assert by(("a", "## The source\n\nIt prints 0.0028.")) == {"0.0028": None}
    assert by(("a", "## N33\n\nIt prints 0.0028.")) == {"0.0028": None}


def test_a_claim_vouches_for_its_number_in_its_text_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = tmp_path / "claims.toml"
    claims.write_text(
        '[[claim]]\nchapter = "page"\ntext = "with 512 of 840\\nparts"\nnumber = "512"\nreference = "r"\nplace = "p"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(scan, "CLAIMS", claims)
    assert by(("a", "one with 512\nof 840 parts")) == {"512": "claim r", "840": None}
    assert by(("a", "one with 513 of 840 parts")) == {"513": None, "840": None}
    assert by(("a", "another with 512 parts")) == {"512": None}
    assert by(("a", "one with 512 of 840 parts"), page="other") == {"512": None, "840": None}


def test_outputs_that_nbval_does_not_compare_bind_nothing(tmp_path: Path) -> None:
    import nbformat

    def page(**change: object) -> Path:
        output = nbformat.v4.new_output("stream", name="stdout", text="0.25\n")
        cell = nbformat.v4.new_code_cell("print(0.25)", id="b", execution_count=1, outputs=[output])
        cell.update(change)
        note = nbformat.v4.new_markdown_cell("It is 0.25.", id="a")
        nbformat.write(nbformat.v4.new_notebook(cells=[note, cell]), tmp_path / "x.ipynb")
        return tmp_path / "x.ipynb"

    assert [f.by for f in scan.scan(page())] == ["output"]
    assert [f.by for f in scan.scan(page(metadata={"tags": ["nbval-ignore-output"]}))] == [None]
    assert [f.by for f in scan.scan(page(execution_count=None))] == [None]
    stderr = nbformat.v4.new_output("stream", name="stderr", text="0.25\n")
    assert [f.by for f in scan.scan(page(outputs=[stderr]))] == [None]
    html = nbformat.v4.new_output("display_data", data={"text/html": "0.25"})
    assert [f.by for f in scan.scan(page(outputs=[html]))] == [None]
    latex = nbformat.v4.new_output("display_data", data={"text/latex": r"$\frac{1}{4} = 0.25$"})
    assert [f.by for f in scan.scan(page(outputs=[latex]))] == ["output"]


def test_the_words_of_a_picture_are_prose(tmp_path: Path) -> None:
    import nbformat

    cell = nbformat.v4.new_code_cell("", id="b", metadata={"mystnb": {"image": {"alt": "A curve that ends at 0.75."}}})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "x.ipynb")
    assert [(f.number.text, f.by) for f in scan.scan(tmp_path / "x.ipynb")] == [("0.75", None)]


def test_the_report_names_cell_number_and_sentence() -> None:
    cells: Cells = [("intro", "## Speed\n\nIt is fast. It takes 0.25 s\nto run. It is good.", [])]
    report = scan.unbound(scan.scan_cells("03_x", cells))
    assert report == ["03_x, 'Speed', cell intro: '0.25' in: It takes 0.25 s to run."]
