"""The file of errata is checked on reading; written numbers are compared to the digits that are written."""

import tomllib
from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest
import torch

from companion import errata
from companion.errata import Erratum, as_tensor, disagreements, numbers, parse_errata, recompute, rounds_to
from companion.errata.computations import confirm

ENTRY = """
[[erratum]]
id = "N9"
section = "4.2"
kind = "number"
printed = "a = 1.0"
correct = "a = 0.5"
why = "it is half of 1"
where = "04_x#anchor"
test = "tests/x.py::test_x"
[erratum.correct_values]
a = [0.50, 2]
"""
HISTORY = """
[[erratum]]
id = "H4"
section = "1.1"
kind = "history"
printed = "first proposed at the meeting"
correct = "in the proposal for it"
why = "its date"
where = "01_history#ai"
test = "tests/x.py::test_x"
references = ["mccarthy1955proposal"]
"""


def test_an_entry_is_read_with_its_digits() -> None:
    entry = parse_errata(ENTRY)["N9"]
    assert entry.anchor == "errata-n9"
    assert [str(n) for n in numbers(entry.correct_values["a"])] == ["0.50", "2"]
    assert entry.expected == {"a": (Decimal("0.50"), Decimal(2))}
    assert as_tensor(entry.correct_values["a"]).tolist() == [0.5, 2.0]
    with pytest.raises(FrozenInstanceError):
        entry.id = "N8"  # type: ignore[misc]
    with pytest.raises(TypeError):
        entry.correct_values["a"] = Decimal(1)  # type: ignore[index]


def test_the_scheme_holds_for_history_and_code() -> None:
    code = HISTORY.replace('"H4"', '"C2"').replace('"history"', '"code"').replace("references", "# references")
    both = parse_errata(ENTRY + HISTORY + code)
    assert list(both) == ["N9", "H4", "C2"]
    assert both["H4"].references == ("mccarthy1955proposal",)
    assert both["H4"].expected == both["C2"].expected == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY + ENTRY, "erratum N9 stands twice"),
        (ENTRY.replace('why = "it is half of 1"\n', ""), r"erratum N9: the keys \['why'\] are missing"),
        (ENTRY.replace('id = "N9"\n', ""), r"erratum number 1: the keys \['id'\] are missing"),
        (ENTRY.replace("why =", "because ="), r"unknown keys \['because'\]; known are"),
        (ENTRY.replace('"a = 1.0"', '" "'), "printed must be text"),
        (ENTRY.replace('"a = 1.0"', "1.0"), "printed must be text"),
        (ENTRY.replace('kind = "number"', 'kind = "typo"'), "kind='typo' is not known; choose one of"),
        (ENTRY.replace("04_x#anchor", "04_x"), "must be page#anchor"),
        (ENTRY.replace("::", ":"), "must be file::function"),
        (ENTRY.replace("0.50", '"0.50"'), r"correct_values.a must hold numbers .* got '0.50'"),
        (ENTRY.replace("0.50", "true"), "must hold numbers"),
        (ENTRY + "[erratum.reasons]\na = 1\n", r"\['a'\] stand in correct_values and in reasons"),
        (ENTRY.replace("[erratum.correct_values]\na = [0.50, 2]", ""), "give correct_values or reasons to compute"),
        (ENTRY.replace("[erratum.correct_values]\na = [0.50, 2]", "reasons = 3"), "reasons must be a table"),
        (HISTORY.replace('["mccarthy1955proposal"]', '"mccarthy1955proposal"'), "references must be a list"),
        (HISTORY.replace('["mccarthy1955proposal"]', "[]"), "give correct_values or reasons to compute, or references"),
        (HISTORY + "[errata]\n", r"unknown tables \['errata'\]"),
    ],
)
def test_a_wrong_entry_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_errata(text)


def test_a_file_that_is_no_toml_is_refused() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_errata("[[erratum]\n")


@pytest.mark.parametrize(
    ("value", "written", "same"),
    [
        (2 / 3, "0.67", True),
        (2 / 3, "0.66", False),
        (2 / 3, "0.670", False),
        (3.75357e-19, "3.7536e-19", True),
        (3.75357e-19, "3.7536e-18", False),
        (153.99999999999997, "154", True),
        (154.6, "154", False),
        (0.125, "0.13", True),
        (float("nan"), "0", False),
        (float("inf"), "0", False),
        (torch.tensor(4.5), "4.50", True),
    ],
)
def test_rounding_to_the_digits_written(value: object, written: str, same: bool) -> None:
    assert rounds_to(value, Decimal(written)) is same


def test_arrays_must_have_the_same_shape() -> None:
    written = ((Decimal(1), Decimal(2)), (Decimal(3),))
    assert rounds_to([torch.tensor([1.0, 2.0]), torch.tensor([3.0])], written)
    assert not rounds_to([[1.0, 2.0]], written)
    assert not rounds_to([[1.0], [3.0]], written)
    assert not rounds_to(1.0, (Decimal(1),))
    assert not rounds_to([1.0], Decimal(1))


def test_a_changed_digit_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    text = errata.data._read()
    assert disagreements(parse_errata(text)["N2"], recompute("N2")) == []
    wrong = parse_errata(text.replace("determinant = 154", "determinant = 155"))["N2"]
    (found,) = disagreements(wrong, recompute("N2"))
    said, computed = found.rsplit(maxsplit=1)
    assert said == "N2: determinant is written 155, but computed"
    assert float(computed) == pytest.approx(154, abs=1e-9)  # its last digits are the processor's
    monkeypatch.setattr(errata.data, "load_errata", lambda: {**parse_errata(text), "N2": wrong})
    with pytest.raises(ValueError, match="determinant is written 155"):
        confirm("N2")


def test_a_name_on_one_side_only_is_a_disagreement() -> None:
    entry: Erratum = parse_errata(ENTRY)["N9"]
    found = disagreements(entry, {"b": 1})
    assert found == ["N9: a is written only", "N9: b is computed only"]


def test_unknown_names_are_explained() -> None:
    with pytest.raises(ValueError, match="no erratum 'N99'; choose one of"):
        recompute("N99")
    with pytest.raises(ValueError, match=r"no printed value 'Q'; choose one of \['QKV'\]"):
        errata.printed("N1", "Q")
