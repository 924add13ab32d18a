"""Dates and figures: well formed, cited, and counted as they say."""

import math
import re
from pathlib import Path

import pytest

from companion.history.landmarks import (
    LANES,
    Landmark,
    _landmark,
    doubling_months,
    load_events,
    load_landmarks,
    load_winters,
)

BIBLIOGRAPHY = (Path(__file__).resolve().parents[2] / "book" / "references.bib").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^@\w+\{([^,]+),(.*?)^\}", BIBLIOGRAPHY, re.M | re.S))
MODELS = {model.name: model for model in load_landmarks()}
# The work that is cited is not always the first to say it: a thesis, a preprint, a talk came before.
OTHER_YEAR = {"Dartmouth meeting", "reverse differentiation", "MYCIN", "R1 at work", "attention", "BERT"}
OTHER_YEAR |= {"the market for Lisp machines falls"}


@pytest.mark.parametrize("event", load_events(), ids=lambda event: event.name)
def test_an_event_is_dated_and_cited(event):
    assert event.lane in LANES and event.who
    work = re.search(r"\byear\s*=\s*\{(\d{4})\}", ENTRIES[event.key])
    assert event.name in OTHER_YEAR or int(work[1]) == int(event.year)
    years = re.findall(r"\b(\d{4})\b", event.when)
    assert years == [str(int(event.year))] or event.when == "early 1970s"
    assert event.seen == "" or re.match("https?://", event.seen)


def test_the_order_is_that_of_time_and_the_winters_are_two():
    years = [event.year for event in load_events()]
    assert years == sorted(years) and len({event.name for event in load_events()}) == len(years)
    assert len(load_winters()) == 2
    assert all(winter.start < winter.end and winter.key in ENTRIES for winter in load_winters())


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_model_is_cited_and_what_was_counted_says_how(model):
    assert model.key in ENTRIES and model.parameters > 0
    assert model.how == "not published" if model.operations is None else model.operations > model.parameters
    if model.counted:
        assert re.search(r"\d|trillion", model.how)


def test_the_factors_are_those_in_the_words():
    assert MODELS["LeNet-5"].operations == 6 * 340_908 * 60_000 * 20
    assert MODELS["PaLM"].operations == pytest.approx(6 * 540e9 * 780e9)
    assert MODELS["DeepSeek-V3"].operations == pytest.approx(6 * 37e9 * 14.8e12)
    assert 128 * 0.9 + 512 * 0.1 == pytest.approx(166.4)


def test_the_multiplications_of_alexnet_are_those_of_its_layers():
    # output side, maps, kernel, maps seen: in layers 2, 4 and 5 each half of the maps sees half of those below
    layers = [(55, 96, 11, 3), (27, 256, 5, 48), (13, 384, 3, 256), (13, 384, 3, 192), (13, 256, 3, 192)]
    convolutions = sum(side**2 * maps * kernel**2 * seen for side, maps, kernel, seen in layers)
    dense = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert MODELS["AlexNet"].operations == 6 * (convolutions + dense) * 1.2e6 * 90


def test_the_connections_of_lenet_5_are_those_of_its_layers():
    # LeCun et al. 1998, section II.B; S2 and S4 have a weight and a bias a map, C3 sees the maps in part (table 1)
    window, partial = 5 * 5, 6 * 3 + 9 * 4 + 6
    c3 = partial * window + 16
    parameters = [6 * (window + 1), 6 * 2, c3, 16 * 2, 120 * (16 * window + 1), 84 * (120 + 1)]
    connections = [28**2 * 6 * (window + 1), 14**2 * 6 * 5, 10**2 * c3, 5**2 * 16 * 5, *parameters[4:], 84 * 10]
    assert sum(parameters) == MODELS["LeNet-5"].parameters
    assert MODELS["LeNet-5"].operations == 6 * sum(connections) * 60_000 * 20


def test_two_published_figures_agree_with_the_rule_of_six():
    assert MODELS["GPT-3"].operations == pytest.approx(6 * 175e9 * 300e9, rel=0.01)
    assert not MODELS["GPT-3"].counted and not MODELS["Transformer, big"].counted


def test_doubling():
    a, b = MODELS["AlexNet"], MODELS["GPT-3"]
    months = doubling_months(a, b)
    assert a.operations * 2 ** (12 * (b.year - a.year) / months) == pytest.approx(b.operations)
    with pytest.raises(ValueError, match="exchange them"):
        doubling_months(b, a)
    with pytest.raises(ValueError, match="not known"):
        doubling_months(a, MODELS["GPT-2"])


def test_two_figures_for_one_model_are_refused():
    entry = {"year": 2000.0, "name": "x", "parameters": 1, "how": "", "key": "", "operations": 1.0, "factors": [2]}
    with pytest.raises(ValueError, match="not both"):
        _landmark(entry)
    del entry["operations"]
    assert _landmark(entry) == Landmark(2000.0, "x", 1, math.prod([2]), True, "", "")
