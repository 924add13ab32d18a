"""Labels that are no class: what is said tells all of them, and what to do, in a training and in a test."""

import json
import re
import tomllib

import pytest

from companion.data.labelled import read_labelled
from companion.data.labelled_files import set_labels


def write(path, labels):
    rows = ({"text": f"A film, number {i}.", "label": label} for i, label in enumerate(labels))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.as_posix()


def test_the_labels_that_are_there_are_listed_ready_to_paste(tmp_path):
    for labels in (["0", "1", "10", "2"], [10, 0, 2, 1], [1, 0, "10", 2]):
        with pytest.raises(
            ValueError, match=r"line 1: the label .* is not in the class list \['neg', 'pos'\]"
        ) as error:
            read_labelled(write(tmp_path / "a.jsonl", labels))
        said = str(error.value)
        assert said.endswith(
            """; mend it, or name all classes that are there: --set 'data.labels=["0", "1", "2", "10"]'"""
        )
        names = tomllib.loads(re.search(r"--set 'data\.(labels=.*)'$", said)[1])["labels"]
        assert read_labelled(write(tmp_path / "a.jsonl", labels), names).counts == dict.fromkeys(names, 1)


def test_a_folder_of_files_is_read_to_the_end_for_its_labels(tmp_path):
    write(tmp_path / "a.jsonl", ["neg", "good"])
    write(tmp_path / "b.jsonl", ["pos", "so so"])
    with pytest.raises(
        ValueError, match=r"a\.jsonl, line 2: the label 'good' .*=\[\"good\", \"neg\", \"pos\", \"so so\"\]'$"
    ):
        read_labelled(tmp_path.as_posix())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["good"], "'good' is not .*, nor is there another label; a classifier learns from two or more: give texts of"),
        (["neg", 0.5], "the label 0.5 is not .*; a label is a word or a whole number: mend it, or leave the row out"),
        (["neg", True], "the label True is not .*; a label is a word or a whole number"),
        (
            [*range(101)],
            "there are 101 different labels; name the right column with --set data.label=..., or all classes",
        ),
    ],
)
def test_what_cannot_be_pasted_is_said_otherwise(tmp_path, labels, words):
    with pytest.raises(ValueError, match=words):
        read_labelled(write(tmp_path / "a.jsonl", labels))


@pytest.mark.parametrize(
    ("labels", "way_out"),
    [(["neg", "so so", "pos", 5], r"the rows with \['so so', '5'\]"), (["neg", None, "pos"], "such rows")],
)
def test_a_trained_classifier_is_not_told_to_know_other_classes(tmp_path, labels, way_out):
    with pytest.raises(
        ValueError, match="and the classifier knows no other class; rename or leave out " + way_out
    ) as error:
        read_labelled(write(tmp_path / "a.jsonl", labels), trained=True)
    assert "--set" not in str(error.value)


def test_a_column_of_a_test_with_very_many_labels_is_not_listed(tmp_path):
    with pytest.raises(
        ValueError, match=r"there are 101 different labels; name the right column .*, or leave out the other"
    ):
        read_labelled(write(tmp_path / "a.jsonl", range(101)), trained=True)


def test_quotes_in_a_label_survive_the_shell():
    assert set_labels(["it's", "好"]) == """--set 'data.labels=["it'"'"'s", "好"]'"""
