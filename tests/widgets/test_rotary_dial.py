"""The kernel's side of the rotary dial."""

import math

import pytest
import torch

from companion.nn.positional import apply_rope, rope_angles
from companion.widgets import RotaryDial


@pytest.mark.parametrize(
    ("m", "n", "score"), [(3, 3, 8.5), (2, 0, 7.2663), (7, 5, 7.2663), (102, 100, 7.2663), (0, 2, 12.5621)]
)
def test_the_scores_of_the_specification(m, n, score):
    assert round(RotaryDial(m, n).score, 4) == score


def test_the_other_numbers_of_the_specification():
    assert round(RotaryDial(pairing="half").score, 4) == 2.8452
    q, _ = RotaryDial(m=1).turned
    assert [round(v, 4) for v in q.tolist()] == [-1.1426, 1.9221, 2.9599, 4.0298]
    for m in (0, 1, 77, 256):
        assert round(RotaryDial(m=m).turned[0].norm().item(), 4) == 5.4772


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
def test_it_is_the_packages_rotation(pairing):
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=g, dtype=torch.float64)
    dial = RotaryDial(11, 4, q=q, k=k, base=77.0, pairing=pairing)
    angles = rope_angles(12, 8, base=77.0, dtype=torch.float64)
    torch.testing.assert_close(dial.turned[0], apply_rope(q[None], angles[11:12], pairing=pairing)[0])
    torch.testing.assert_close(dial.turned[1], apply_rope(k[None], angles[4:5], pairing=pairing)[0])
    assert dial.score == pytest.approx(RotaryDial(107, 100, q=q, k=k, base=77.0, pairing=pairing).score, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"m": 257}, "m=257 must be from 0 to 256"),
        ({"n": -1}, "n=-1 must be from 0 to 256"),
        ({"q": [1.0, 2.0]}, "q and k must both have 2, 4 or 8 numbers; got 2 and 4"),
        ({"q": [1.0] * 6, "k": [1.0] * 6}, "got 6 and 6"),
        ({"k": [1.0, math.nan, 0.0, 0.0]}, "q and k must hold finite numbers"),
        ({"base": 2.0}, "base=2.0 must be from 10 to 1000000"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        RotaryDial(**arguments)


def test_html_and_repr():
    dial = RotaryDial()
    assert repr(dial) == "RotaryDial(m=2, n=0, d=4)"
    markup = dial._repr_html_()
    assert markup == RotaryDial()._repr_html_()
    assert markup.count("<table>") == 2 and "<td>7.2663</td>" in markup
