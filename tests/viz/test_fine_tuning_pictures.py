"""Tables and pictures of fine-tuning show the numbers that they were given, and whatever is recorded so far."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from companion.viz.fine_tuning import COLUMNS, NONE, label_curves, reliability, results_table

EMPTY = dict.fromkeys(
    ("spread", "accuracy_without_shared", "seconds", "parameters", "trained", "operations", "ece", "calibrated_ece")
)


def row(model, labels, accuracy, seeds=3, **values):
    return SimpleNamespace(
        **{**EMPTY, "bfloat16": 0, "model": model, "labels": labels, "seeds": seeds, "accuracy": accuracy, **values}
    )


ROWS = [
    row("full", 1000, 0.85, spread=0.01),
    row("full", 10, 0.6, seeds=10, spread=0.05),
    row("nb", 10, 0.55, seeds=1),
    row(
        "full",
        25_000,
        0.91234,
        spread=0.0021,
        seconds=(1250.0, 5400.0),
        bfloat16=2,
        trained=1_900_000.0,
        operations=3.21e14,
    ),
]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_a_table_has_a_line_for_each_row_of_a_named_model():
    lines = results_table(ROWS, {"full": "all of it"}, columns=list(COLUMNS)).splitlines()
    assert len(lines) == 2 + 3 and len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == [
        *("all of it", "25,000", "3", "91.23%", "0.21%", NONE, "21–90", "2", NONE, "1,900,000", "3.2e+14", NONE, NONE),
    ]
    once = results_table([row("nb", 10, 0.5, seconds=(66.0, 68.0))], {"nb": "x"}, columns=["minutes"])
    assert once.endswith("| x | 1.1 |")
    assert results_table([], {"nb": "x"}).count("\n") == 1
    with pytest.raises(ValueError, match="no column"):
        results_table(ROWS, {}, columns=["price"])


def test_curves_are_sorted_by_labels_and_show_what_there_is():
    ax = label_curves(ROWS, {"full": "all of it", "nb": "linear", "tfidf": "not yet"}, title="t", reference=("r", 0.9))
    assert [list(line.lines[0].get_xdata()) for line in ax.containers] == [[10, 1000, 25_000], [10]]
    assert [list(line.lines[0].get_ydata()) for line in ax.containers] == [[0.6, 0.85, 0.91234], [0.55]]
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.55, 0.65)) and ax.get_xscale() == "log"
    caps = np.array([cap.get_ydata() for cap in ax.containers[1].lines[1]], dtype=float)
    assert caps.size and np.isnan(caps).all()  # measured once: no bar, rather than one of no height
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["r", "all of it", "linear"]
    with pytest.raises(ValueError, match="nothing is recorded"):
        label_curves([], {"full": "x"}, title="t")
    with pytest.raises(ValueError, match="7 models"):
        label_curves(ROWS, {str(i): "x" for i in range(7)}, title="t")


def test_honest_probabilities_lie_on_the_diagonal():
    sure = np.repeat([0.62, 0.97], [50, 100])
    right = np.concatenate([np.arange(50) < 31, np.arange(100) < 97])
    ax = reliability({"honest one": (sure, right), "few": ([0.9] * 4, [1] * 4)}, title="t")
    _, line, few = ax.lines
    assert np.allclose(line.get_xdata(), [0.62, 0.97]) and np.allclose(line.get_ydata(), [0.62, 0.97])
    assert len(few.get_xdata()) == 0
    with pytest.raises(ValueError, match="truths"):
        reliability({"a": ([0.9], [1, 0])}, title="t")
