"""The tokenizer of the number scan, on text that is hard to read."""

from decimal import Decimal

import pytest
from prose_tokens import output_numbers, prose_numbers


def bound(source: str) -> list[str]:
    return [number.text for number in prose_numbers(source) if number.must_be_bound]


def values(source: str) -> list[Decimal]:
    return [number.value for number in prose_numbers(source) if number.must_be_bound]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("It falls to 0.5. Then .25 more, 3.", ["0.5", ".25"]),
        ("99 is small, 100 is not; 25,000 reviews, 1,234.5 s", ["100", "25,000", "1,234.5"]),
        ("80 % and 10% and 5 percent of them; $14.7\\%$ too", ["80 %", "10%", "5 percent", "14.7\\%"]),
        ("a range of 0.1-0.5 or 0.1–0.5", ["0.1", "0.5", "0.1", "0.5"]),
        ("minus: -0.5, −2.5 and (-1.5)", ["-0.5", "−2.5", "-1.5"]),
        ("tiny 3.75e-19, $3.75\\times10^{-19}$, 3.75×10⁻¹⁹, $10^{-12}$, `1e-12`",
         ["3.75e-19", "3.75×     10^{-19}", "3.75×10⁻¹⁹", "10^{-12}", "1e-12"]),
        ("$10^6$ is large, $10^{1}$ is not, nor is $2^{10}$", ["10^6"]),
        ("$25{,}000$ and $25\\,000$, but $(100,200)$ is two", ["25{,}000", "25\\,000", "100", "200"]),
        ("In 1986 and the 1990s, by 2017; but 2,048 and $2048$ and `2048` and 2099.5 and 1950 %",
         ["2,048", "2048", "2048", "2099.5", "1950 %"]),
        ("See section 4.1.2, sections 3.1 and 4.2, equation (4.12), Table 3.4, figures 1.1-1.3, §3.2 and p. 123.", []),
        ("section 4.1 prints 7.25, table 2 has 0.5", ["7.25", "0.5"]),
        ("accuracy in table 3: 91.5 %; chapter 3, 200 words", ["91.5 %", "200"]),
        ("float64, int8.5x, W3, N1, x_100, GPT-3.5", ["3.5"]),
        ("[0.75](https://example.org/0.5/200) and <https://a.b/300> and ![at 0.9](fig_0.5.png)", ["0.75", "0.9"]),
        ('[words 0.5](<a 0.6> "0.7") and [r][400] \n\n[400]: https://example.org/500\n', ["0.5"]),
        ("{cite}`maas2011learning` {cite:p}`a100,b200` {ref}`the 0.5 box <fig-0.7>` {eq}`eq-300` {math}`a=0.25`",
         ["0.5", "0.25"]),
        ("<div data-x=\"0.5\" style='width:300px'>0.75</div> <!-- 0.9 --> &#8730; &frac12;", ["0.75"]),
        ("```python\nx = 0.5\n```\n0.25\n~~~\n300\n~~~\n", ["0.25"]),
        ("````\n```\n0.5\n```\n300\n````\n0.25", ["0.25"]),
        ("```{admonition} In the source: 0.5\n:class: w300\n:width: 400\n\n0.75.\n:not: an option 0.85\n```\n0.25",
         ["0.5", "0.75", "0.85", "0.25"]),
        ("```{figure} plot_0.5.png\n---\nwidth: 500px\n---\nThe caption, 0.75.\n```", ["0.75"]),
        ("```{math}\n:label: eq-0.5\na = 0.75 \\tag{4.12}\n```", ["0.75"]),
        (":::{note}\n0.5\n:::\n```{mermaid}\nA[0.9] --> B\n```\n```{code-block} python\nx = 300\n```", ["0.5"]),
        ("```{exercise} A title\n:label: ex-100\n\n```{code-cell}\n0.5\n```\n```\n0.25", ["0.25"]),
        ("(errata-0.5)=\n## 4.1 A heading of 200\n100. a list\n% a comment 0.5\n", ["200"]),
        ("---\ntitle: 0.5\n---\n0.25", ["0.25"]),
        ("| a | b |\n|---|---|\n| 0.5 | 120 |\n", ["0.5", "120"]),
        ("$$\\begin{bmatrix} 0.5 & -1.5 \\\\[0.5em] 2.5 & 100 \\end{bmatrix}$$", ["0.5", "-1.5", "2.5", "100"]),
        ("\\begin{array}{cc} 1.5 \\\\ 2.5 \\end{array}", ["1.5", "2.5"]),
        ("$x-0.5$, $x - 0.5$, $=-0.5$, $2\\times -0.5$, $\\sqrt{2}\\cdot0.5$, $e^{-42.5}$",
         ["0.5", "0.5", "-0.5", "-0.5", "0.5", "-42.5"]),
        ("Python 3.11, torch 2.13.0 and jupyter-book 1.0.4 run it in 2.5 s", ["2.5"]),
        ("costs $5.50 and \\$100", ["5.50", "100"]),
        ("arXiv:1706.03762, doi:10.1000/182.5", []),
        ("第3.1.1节说0.5，也说100个", ["0.5", "100"]),
    ],
)  # fmt: skip
def test_what_must_be_bound(source: str, expected: list[str]) -> None:
    assert bound(source) == expected


def test_values_and_their_last_digit() -> None:
    numbers = list(prose_numbers("0.50, 25,000, 3.75e-19, $10^{-12}$, 1.5 × 10⁶, -0.0, 12 %"))
    assert [str(n.value.normalize()) for n in numbers] == ["0.5", "2.5E+4", "3.75E-19", "1E-12", "1.5E+6", "0", "12"]
    assert [n.exponent for n in numbers] == [-2, 0, -21, -12, 5, -1, 0]
    assert [n.percent for n in numbers] == [False] * 6 + [True]


def test_every_number_keeps_its_place() -> None:
    source = "```\n0.1\n```\n{cite}`x2000` says $a = 0.25$,\n[so](y) it is 14.7 %."
    numbers = [n for n in prose_numbers(source) if n.must_be_bound]
    assert [source[n.start : n.end].strip() for n in numbers] == ["0.25", "14.7 %"]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("tensor([[2.0506e+01, -4.1719e+01]], dtype=torch.float64)", "text", ["20.506", "-41.719"]),
        ("[1. 2.5 -0. ]", "text", ["1", "2.5", "0"]),
        ("loss 0.6931 after 1,000 steps (12.5%)", "text", ["0.6931", "1000", "12.5"]),
        (r"$\begin{bmatrix} 20.5061 & -1.0000 \\ 0.0000 & 3 \end{bmatrix}$", "math", ["20.5061", "-1", "0", "3"]),
        ("{'a': (100,200)}", "text", ["100200"]),  # Python itself writes (100, 200)
    ],
)
def test_numbers_of_outputs(text: str, kind: str, expected: list[str]) -> None:
    assert [n.value for n in output_numbers(text, kind)] == [Decimal(e) for e in expected]
