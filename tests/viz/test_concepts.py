"""Pictures of the basic ideas show what they were given."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from companion.viz.concepts import _layout, computation, descents, nested, wiring
from companion.viz.positional import STYLES


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_links_with_one_weight_have_one_look():
    places = {name: (float(i), 0.0) for i, name in enumerate("pqrs")}
    ax = wiring(places, [("p", "q", "a"), ("q", "r", "b"), ("r", "s", "a"), ("p", "s", "")], title="t")
    looks = [(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in ax.lines[:4]]
    assert looks[0] == looks[2] and len(set(looks)) == 3
    assert looks[0][1] != looks[1][1], "told apart without color too"
    assert [line.get_xdata().tolist() for line in ax.lines[:4]] == [[0, 1], [1, 2], [2, 3], [0, 3]]
    assert [text.get_text() for text in ax.texts] == list("pqrs")
    assert wiring(places, [("p", "q", "")], title="t").get_legend() is None


def test_wiring_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"without a place: \['z'\]"):
        wiring({"a": (0, 0)}, [("a", "z", "")], title="")
    with pytest.raises(ValueError, match="7 shared weights"):
        wiring({"a": (0, 0)}, [("a", "a", str(i)) for i in range(len(STYLES) + 1)], title="")


def test_a_value_stands_right_of_what_it_was_made_from():
    edges = [(0, 2), (1, 2), (2, 4), (3, 4), (2, 5), (4, 5)]  # 3 is given, and used late
    places = _layout(6, edges)
    assert all(places[parent][0] < places[child][0] for parent, child in edges)
    assert len(set(places)) == 6
    assert places[3][0] == places[4][0] - 1
    assert [places[i][1] for i in (2, 4, 5)] == [0, 0, 0]
    ax = computation([f"v{i}" for i in range(6)], edges, title="t")
    assert [text.get_text() for text in ax.texts[:6]] == [f"v{i}" for i in range(6)]
    assert len(ax.texts) == 12  # six values, six arrows
    with pytest.raises(ValueError, match="later one"):
        computation(["a", "b"], [(1, 0)])


def test_paths_are_drawn_over_heights():
    path = [[-4.0, 2.0], [1.0, 0.5]]
    ax = descents(lambda p: (p**2).sum(-1), {"one": path}, title="t", window=((-5, 5), (-3, 3)))
    assert np.allclose(ax.lines[0].get_xydata(), path)
    assert ax.get_xlim() == (-5, 5) and ax.get_ylim() == (-3, 3) and len(ax.collections) == 1
    with pytest.raises(ValueError, match="steps, 2"):
        descents(lambda p: p[..., 0], {"one": [1.0, 2.0]}, title="", window=((0, 1), (0, 1)))
    with pytest.raises(ValueError, match="0 paths"):
        descents(lambda p: p[..., 0], {}, title="", window=((0, 1), (0, 1)))


def test_each_set_lies_within_the_one_before():
    ax = nested(["a", "b", "c"], ["x", "y", "z"], title="t")
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    for outer, inner in pairwise(boxes):
        assert outer.x0 < inner.x0 and inner.x1 < outer.x1 and outer.y0 < inner.y0 and inner.y1 < outer.y1
    with pytest.raises(ValueError, match="2 sets and 1 contents"):
        nested(["a", "b"], ["x"], title="")
