"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect
import math

from answer_tests import make_tests

from companion.exercises import history as exercises

CHECKS = [f for name, f in inspect.getmembers(exercises, inspect.isfunction) if name.startswith("check_")]


def parity(unit, a, b, c):
    def xor(p, q):
        return unit([unit([p, q], [1, -1], 1), unit([p, q], [-1, 1], 1)], [1, 1], 1)

    return xor(xor(a, b), c)


RIGHT = {
    "check_nand": [-1, -1, 1.5],
    "check_correction": [3, 2, 1.5],
    "check_bound": 6 / 4.5,
    "check_parity": parity,
    "check_what_follows": ["air escapes", "patch the tube", "take the wheel off"],
    "check_energy": -15,
    "check_sharing": [156, 122_304],
    "check_hidden": 0.7311,
    "check_reach": 44,
    "check_growth": 4.9,
}
WRONG = [
    ("check_nand", [1, 1, -1.5], r"\(0, 0\) it should say yes"),
    ("check_nand", [-1, -1, 3], r"\(1, 1\) it should say no"),
    ("check_nand", [1, 2], "three numbers"),
    ("check_correction", [1, -1, 0.5], "is a mistake"),
    ("check_correction", [-1, -4, -0.5], "do not subtract"),
    ("check_correction", [3, 2, 0.5], "correct it too"),
    ("check_correction", [1, 2, 3], "its last input"),
    ("check_correction", [3, 2], "three numbers"),
    ("check_bound", 5 / 4.5, "third input"),
    ("check_bound", 6 / math.sqrt(4.5), "square"),
    ("check_bound", 6 / 9, "by its length"),
    ("check_bound", 10, "the longest"),
    ("check_parity", 1, "a function"),
    ("check_parity", lambda unit, a, b, c: unit([a, b, c], [1, 1, 1], 1), r"\(0, 1, 1\)"),
    ("check_parity", lambda unit, a, b, c: (a + b + c) % 2, "use the units"),
    ("check_parity", lambda unit, a, b, c: "odd", "0 or 1"),
    ("check_parity", lambda a: a, "raised TypeError"),
    ("check_what_follows", "air escapes", "a list"),
    ("check_what_follows", ["tyre soft", "air escapes"], "new facts only"),
    ("check_what_follows", ["air escapes", "oil the chain"], "oil the chain.* does not follow"),
    ("check_what_follows", ["air escapes"], "once more"),
    ("check_energy", 15, "negative"),
    ("check_energy", -30, "the half"),
    ("check_energy", -18, "diagonal"),
    ("check_energy", -1, "all pairs"),
    ("check_sharing", [150, 122_304], "a bias too"),
    ("check_sharing", [26, 1], "six maps"),
    ("check_sharing", [156, 159_744], "28 times"),
    ("check_sharing", [156, 156], "26 for each"),
    ("check_sharing", 156, "two numbers"),
    ("check_hidden", 1.0, "its sigmoid"),
    ("check_hidden", 2.0, "between 0 and 1"),
    ("check_hidden", 0.8176, "bias"),
    ("check_hidden", 0.2689, r"p\(h = 0\)"),
    ("check_hidden", 0.5, "that are 1"),
    ("check_reach", 43.7, "whole number"),
    ("check_reach", 43, "not below"),
    ("check_reach", 45, "before that"),
    ("check_growth", 0.408, "in years"),
    ("check_growth", 96 / math.log(8e5), "base 2"),
    ("check_growth", 96 / math.log10(8e5), "twofold"),
    ("check_growth", 12, "months in all"),
]


(
    test_every_check_is_tested,
    test_the_right_answer_and_the_stub,
    test_a_wrong_answer_gets_its_hint,
    test_the_default_dtype_of_the_notebook_does_not_matter,
) = make_tests(CHECKS, RIGHT, WRONG)
