"""What the tests of the figures ask axe-core can be answered with no."""

from __future__ import annotations

import pytest

from companion.widgets import RotaryDial

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("within", [None, ".lm-widget[data-widget]"])
def test_a_pale_text_and_a_nameless_button_are_found(figures, within):
    figure = figures([RotaryDial()])[0]
    assert figure.violations(within) == []
    figure.root.locator(".lm-text").evaluate(
        "e => { e.style.color = '#ccc'; e.append(document.createElement('button')); }"
    )
    assert [rule for rule, _ in figure.violations(within)] == ["button-name", "color-contrast"]
