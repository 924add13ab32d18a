"""The errors of the source about history, shown by the years of the works in the bibliography, not by the landmarks."""

import re
from datetime import date
from pathlib import Path

import numpy as np

from companion.history.perceptron import perceptron_output, train_perceptron

BIBLIOGRAPHY = (Path(__file__).resolve().parents[2] / "book" / "references.bib").read_text(encoding="utf-8")


def year(key: str) -> int:
    entry = re.search(rf"^@\w+\{{{key},(.*?)^\}}", BIBLIOGRAPHY, re.M | re.S)
    assert entry, key
    found = re.search(r"\byear\s*=\s*\{(\d{4})\}", entry[1])
    assert found, key
    return int(found[1])


def test_neurons_and_perceptrons_are_older_than_the_eighties() -> None:
    assert [1980 - year(key) for key in ("mcculloch1943logical", "rosenblatt1958perceptron")] == [37, 22]
    assert year("linnainmaa1976taylor") < 1980 < year("rumelhart1986learning")
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    either = np.array([-1, 1, 1, 1])
    learned = train_perceptron(corners, either)  # the rule of 1962 learns
    assert learned.converged and (perceptron_output(learned.weights, corners) == either).all()


def test_of_the_three_only_the_transformer_came_after_2006() -> None:
    convolution = ("fukushima1980neocognitron", "lecun1989backpropagation", "lecun1998gradient")
    recurrence = ("jordan1986attractor", "elman1990finding", "hochreiter1997long")
    assert max(map(year, convolution + recurrence)) < year("hinton2006fast") == 2006 < year("vaswani2017attention")


def test_most_of_the_eighties_were_no_winter() -> None:
    winters = [range(1974, 1981), range(1987, 1994)]
    eighties = [y for y in range(1980, 1990) if not any(y in winter for winter in winters)]
    assert len(eighties) > 5 and year("mcdermott1982r1") in eighties
    assert year("lighthill1973artificial") < 1974 and year("crevier1993ai") <= 1993


def test_the_proposal_came_before_the_meeting() -> None:
    assert (date(1956, 6, 18) - date(1955, 8, 31)).days == 292
    assert "Dated August 31, 1955" in BIBLIOGRAPHY and year("mccarthy1955proposal") == 1955
