"""The pictures of chapter 1 show what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from companion.viz.history import MARKERS, decision_plane, image_row, landmark_chart, timeline


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_a_timeline_has_a_mark_and_a_label_for_each_event():
    years = [1943.0, 1958.0, 1958.0, 1986.0]
    figure = timeline(years, list("abcd"), ["x", "x", "y", "x"], bands=[(1974, 1980, "winter")], title="t")
    (ax,) = figure.axes
    texts = {text.get_text(): text.get_position() for text in ax.texts}
    assert set(texts) == {"a", "b", "c", "d", "winter"}
    heights = [texts[name][1] for name in "abcd"]
    assert heights == sorted(heights) and len(set(heights)) == 4  # in order, none on another
    marks = [line for line in ax.lines if line.get_marker() in MARKERS]
    assert sorted(year for line in marks for year in line.get_ydata()) == years
    assert [line.get_marker() for line in marks] == list(MARKERS[:2])
    low, high = ax.get_ylim()
    assert low > 1986 > 1943 > high  # later is further down


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], ["a"], ["x", "x"]), "2 years, 1 labels"),
        (([2, 1], ["a", "b"], ["x", "x"]), "in order"),
        ((range(5), list("abcde"), list("abcde")), "5 kinds"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        timeline(*arguments, title="t")


def test_landmarks_on_a_logarithmic_scale():
    ax = landmark_chart([1989, 2012], [1e4, 6e7], ["a", "b"], filled=[True, False], title="t", y_label="y")
    assert ax.get_yscale() == "log" and [text.get_text() for text in ax.texts] == ["a", "b"]
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(1989, 1e4), (2012, 6e7)]
    assert marks[0].get_markerfacecolor() != marks[1].get_markerfacecolor()
    with pytest.raises(ValueError, match="positive"):
        landmark_chart([1], [0], ["a"], title="t", y_label="y")
    with pytest.raises(ValueError, match="2 names"):
        landmark_chart([1], [1], ["a", "b"], title="t", y_label="y")


def test_names_of_the_same_years_keep_apart():
    values = [1e9, 1.1e9, 1.2e9, 1e3]
    ax = landmark_chart([2022, 2023, 2024, 1990], values, list("abcd"), title="t", y_label="y")
    heights = {text.get_text(): np.log10(text.get_position()[1]) for text in ax.texts}
    step = (np.log10(1.2e9) - 3) / 20
    assert np.diff([heights[name] for name in "abc"]) == pytest.approx([step, step])
    assert heights["d"] == 3 and np.mean([heights[name] for name in "abc"]) == pytest.approx(
        np.log10(values[:3]).mean()
    )


def test_a_plane_is_shaded_where_the_output_is_positive():
    corners = [[0, 0], [0, 1], [1, 0], [1, 1]]
    ax = decision_plane(lambda x: x[:, 1] - 0.5, corners, [False, True, False, True], title="t")
    shade = np.asarray(ax.images[0].get_array())
    assert (shade[-1] == 1).all() and (shade[0] == 0).all()  # the second input points up
    assert {line.get_label(): len(line.get_xdata()) for line in ax.lines} == {"yes": 2, "no": 2}
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        decision_plane(lambda x: x[:, 0], [1, 2], [True, True], title="t")
    with pytest.raises(ValueError, match="1 labels"):
        decision_plane(lambda x: x[:, 0], corners, [True], title="t")


def test_a_row_of_images():
    pictures = np.arange(27).reshape(3, 9) / 26
    figure = image_row(pictures, ["a", "b", "c"], columns=2)
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == ["a", "b", "c"] and len(figure.axes) == 3
    assert np.array_equal(shown[1].images[0].get_array(), pictures[1].reshape(3, 3))
    with pytest.raises(ValueError, match="side²"):
        image_row(np.zeros((2, 5)), ["a", "b"])
    with pytest.raises(ValueError, match="1 titles"):
        image_row(pictures, ["a"])
