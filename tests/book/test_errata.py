"""Each error of the source: what is written about it is computed, every reason is shown, and the book has a section."""

import ast
import math
import re
from collections.abc import Mapping

import pytest
import torch
from notebooks import ROOT, pages, read_notebook, shown_texts, verified

from companion import attention, attention_weights
from companion.errata import COMPUTATIONS, Erratum, disagreements, load_errata, printed, recompute, source_example

ERRATA = load_errata()
CHAPTER = ROOT / "book" / "errata.ipynb"
each = pytest.mark.parametrize("erratum", ERRATA.values(), ids=lambda erratum: erratum.id)


def prose(text: str) -> str:
    return " ".join(text.split())


@each
def test_what_is_written_is_what_is_computed(erratum: Erratum) -> None:
    if erratum.expected:
        assert disagreements(erratum, recompute(erratum.id)) == []
    else:
        assert erratum.id not in COMPUTATIONS, "its values belong into errata.toml"


def test_every_computation_belongs_to_an_entry() -> None:
    assert set(COMPUTATIONS) <= set(ERRATA)


@each
def test_the_numbers_in_words_are_the_numbers_in_the_tables(erratum: Erratum) -> None:
    """In words, 20.5061 cannot differ from the table: every number with a point, or of two digits, stands there."""
    from prose_tokens import prose_numbers

    from companion.errata import numbers

    tables: list[Mapping[str, object]] = [erratum.printed_values, erratum.correct_values, erratum.reasons]
    known = {abs(n) for table in tables for value in table.values() for n in numbers(value)}  # type: ignore[arg-type]
    for text in (erratum.printed, erratum.correct, erratum.why):
        for number in prose_numbers(text):
            if "." in number.text or abs(number.value) >= 10:
                assert abs(number.value) in known, f"{erratum.id}: {number.text} in {prose(text)}"


@each
def test_the_errata_chapter_runs_it(erratum: Erratum) -> None:
    cells = read_notebook(CHAPTER)["cells"]
    starts = [i for i, cell in enumerate(cells) if f"({erratum.anchor})=" in cell["source"]]
    assert len(starts) == 1, f"{erratum.anchor} must be the target of one section"
    start = starts[0]
    assert f"## {erratum.id}:" in cells[start]["source"]
    end = next((i for i in range(start + 1, len(cells)) if "\n## " in "\n" + cells[i]["source"]), len(cells))
    section = cells[start:end]
    if erratum.expected:
        code = [
            cell for cell in section if cell["cell_type"] == "code" and f'confirm("{erratum.id}")' in cell["source"]
        ]
        assert len(code) == 1 and verified(code[0])
        shown = "".join(text for text, _ in shown_texts(code[0]))
        assert re.search(rf"^{erratum.id}: \d+ numbers recomputed; every digit", shown, re.M)
    words = " ".join(cell["source"] for cell in section if cell["cell_type"] == "markdown")
    assert "**Printed**" in words and "**Right**" in words and "**Why" in words
    assert erratum.quote in words.replace("$", "")
    assert f"{{ref}}`{erratum.where.split('#')[1]}`" in words, "a link to the chapter that treats it"


@each
def test_the_page_that_treats_it_has_the_anchor_and_a_box(erratum: Erratum) -> None:
    page, anchor = erratum.where.split("#")
    path = next((path for path in pages() if path.stem == page), None)
    assert path, f"{page} is no page of the book"
    text = "\n\n".join(c["source"] for c in read_notebook(path)["cells"] if c["cell_type"] == "markdown")
    assert f"({anchor})=" in text, f"{page} has no anchor {anchor}"
    assert f"In the source: {erratum.id}\n" in text, f"{page} has no box for {erratum.id}"
    assert f"<{erratum.anchor}>`" in text, f"the box for {erratum.id} does not link to {erratum.anchor}"


@each
def test_the_test_and_the_references_exist(erratum: Erratum) -> None:
    file, name = erratum.test.split("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, erratum.test
    keys = set(re.findall(r"^@\w+\{\s*([^,\s]+)", (ROOT / "book/references.bib").read_text(encoding="utf-8"), re.M))
    assert set(erratum.references) <= keys


def test_the_list_in_the_chapter_is_complete() -> None:
    table = next(cell for cell in read_notebook(CHAPTER)["cells"] if cell["id"] == "table")
    (shown,) = [text for text, kind in shown_texts(table) if kind == "markdown"]
    rows = shown.splitlines()[2:]
    assert len(rows) == len(ERRATA)
    for row, erratum in zip(rows, ERRATA.values(), strict=True):
        assert f"[{erratum.id}](#{erratum.anchor}) | {erratum.section} | {erratum.kind} |" in row


# --- every reason, shown without companion.errata's own computations


@pytest.fixture
def Q() -> torch.Tensor:
    return torch.tensor([[-2.0, 5], [-2, 11], [-2, 17]], dtype=torch.float64)


def test_a_product_with_x_keeps_the_middle_row_in_the_middle(Q: torch.Tensor) -> None:
    X, W = source_example()
    assert torch.equal(X @ W, Q)
    middle = torch.tensor([-0.5, 1, -0.5], dtype=torch.float64)
    assert torch.equal(middle @ X, torch.zeros(3, dtype=torch.float64))  # so middle @ (X W) = 0 for every W
    claimed = printed("N1", "QKV")
    assert (middle @ claimed).abs().min() > 0.4
    residual = claimed - X @ torch.linalg.pinv(X) @ claimed
    assert [f"{worst:.2f}" for worst in residual.abs().amax(dim=0).tolist()] == ["0.33", "0.67"]


def test_the_printed_scores_have_too_high_a_rank(Q: torch.Tensor) -> None:
    claimed = printed("N2", "scaled_scores")
    (a, b, c), (d, e, f), (g, h, i) = (map(int, row) for row in claimed.tolist())
    assert a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) == 154
    assert torch.linalg.matrix_rank(claimed) == 3
    assert torch.linalg.matrix_rank(Q @ Q.mT) == 2
    own = printed("N1", "QKV") @ printed("N1", "QKV").mT
    assert not torch.equal(own, claimed) and not torch.equal((own / math.sqrt(2)).round(), claimed)
    assert torch.equal(claimed, claimed.round())


def test_the_printed_weights_sum_to_one_along_no_axis(Q: torch.Tensor) -> None:
    claimed = printed("N3", "weights")
    one = torch.ones(3, dtype=torch.float64)
    assert ((claimed.sum(dim=1) - one).abs() > 0.2).all() and ((claimed.sum(dim=0) - one).abs() > 0.2).all()
    assert abs(claimed.sum() - 1) > 1
    torch.testing.assert_close(claimed, claimed.mT)
    right = attention_weights(Q, Q)
    torch.testing.assert_close(right.sum(dim=1), one)
    assert right[0, 0].item() == pytest.approx(math.exp((29 - 89) / math.sqrt(2)), rel=1e-8)
    assert right[0, 1].item() == pytest.approx(math.exp((59 - 89) / math.sqrt(2)), rel=1e-8)
    from_printed = printed("N2", "scaled_scores").softmax(dim=1)
    assert (from_printed - claimed).abs().max() > 0.5


def test_the_printed_output_leaves_the_range_of_its_values(Q: torch.Tensor) -> None:
    V, claimed = printed("N1", "QKV"), printed("N4", "output")
    assert (claimed > V.amax(dim=0)).tolist() == [[False, False], [False, True], [True, True]]
    assert (printed("N3", "weights") @ V - claimed).abs().max() > 1
    right = attention(Q, Q, Q)
    torch.testing.assert_close(right, Q[2].expand(3, 2), atol=5e-9, rtol=0)


def test_the_formula_with_v_gives_no_weights(Q: torch.Tensor) -> None:
    assert attention(Q, Q, Q).shape == (3, 2) and attention_weights(Q, Q).shape == (3, 3)
    assert (attention(Q, Q, Q).sum(dim=1) - 1).abs().min() > 1
    torch.testing.assert_close(attention_weights(Q, Q) @ Q, attention(Q, Q, Q))


def test_the_printed_sum_over_positions_ignores_queries_and_keys(Q: torch.Tensor) -> None:
    torch.manual_seed(0)
    for q, k in ((Q, Q), (torch.randn_like(Q), torch.randn_like(Q))):
        terms = [attention(q[i, None], k[i, None], Q[i, None]) for i in range(3)]
        torch.testing.assert_close(sum(terms), Q.sum(dim=0, keepdim=True))
    assert not torch.allclose(attention(Q, Q, Q), Q.sum(dim=0))


def test_values_may_have_a_width_of_their_own(Q: torch.Tensor) -> None:
    assert attention(Q, Q, torch.ones(3, 5, dtype=torch.float64)).shape == (3, 5)
    with pytest.raises(ValueError, match="same width d_k"):
        attention(Q, torch.ones(3, 5, dtype=torch.float64), Q)


def test_the_axis_of_the_softmax_matters(Q: torch.Tensor) -> None:
    scores = Q @ Q.mT / math.sqrt(2)
    assert (scores.softmax(dim=0) - scores.softmax(dim=1)).abs().max() > 0.9
    with pytest.raises(RuntimeError, match="must match"):
        source_example()[0] + printed("F8", "positional_table")


def test_the_scale_controls_the_variance_only_under_its_premise(Q: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    for width in (4, 64):
        q, k = (torch.randn(3000, width, generator=generator, dtype=torch.float64) for _ in range(2))
        assert (q @ k.mT / math.sqrt(width)).var().item() == pytest.approx(1, abs=0.05)
        assert ((q + 5) @ (k + 5).mT / math.sqrt(width)).var().item() > 10
    assert (Q @ Q.mT / math.sqrt(2)).var(correction=0).item() == pytest.approx(3192)


def test_the_softmax_as_printed_overflows(Q: torch.Tensor) -> None:
    scores = (Q @ Q.mT / math.sqrt(2)).float()
    literally = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    assert literally.isnan().tolist() == [[False, False, False], [False, False, True], [False, True, True]]
    assert torch.isfinite(scores.softmax(dim=1)).all()
    assert torch.isfinite(torch.tensor(88.7228).exp()) and torch.isinf(torch.tensor(88.7229).exp())
