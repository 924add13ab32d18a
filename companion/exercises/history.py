"""Checks for the exercises of the chapter on history. The right answers are computed here, never written down."""

import itertools
import math
from typing import Any

import numpy as np

from companion.exercises._answers import as_number, as_tensor, called, check, expect, near
from companion.history.boltzmann import RBM
from companion.history.cnn import parameter_counts
from companion.history.expert_system import forward_chain, parse_rules
from companion.history.hopfield import energy, store
from companion.history.perceptron import novikoff_bound, with_bias

# Exercise "What follows?": a knowledge base about bicycles, and what is seen.
RULES = """\
B1: if chain dry and noise           then oil the chain
B2: if tyre soft                     then air escapes
B3: if air escapes and thorn seen    then patch the tube
B4: if air escapes and valve loose   then tighten the valve
B5: if patch the tube                then take the wheel off"""
FACTS = ("tyre soft", "thorn seen", "noise")
# Exercise "One correction": weights (the bias last), an example and its label.
WEIGHTS, EXAMPLE, LABEL = np.array([1.0, -1.0, 0.5]), np.array([2.0, 3.0]), 1
# Exercise "How many corrections?": examples, labels, and a direction that separates them.
POINTS = np.array([[2.0, 1.0], [1.0, 2.0], [-2.0, -1.0], [-1.0, -2.0]])
LABELS, DIRECTION = np.array([1, 1, -1, -1]), np.array([1.0, 1.0, 0.0])
# Exercise "A valley": the pattern that is stored.
PATTERN = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
# Exercise "A hidden unit": weights, bias and what is seen.
HIDDEN_WEIGHTS, HIDDEN_BIAS, SEEN = (1.0, -2.0, 0.5), -0.5, (1, 0, 1)
# Exercise "How far does it reach?": what one step passes on, and the share below which nothing is left.
FACTOR, SHARE = 0.9, 0.01
# Exercise "How fast did it grow?": two trainings, (year, operations).
EARLIER, LATER = (2012.5, 4e17), (2020.5, 3.2e23)


@check
def check_nand(answer: Any) -> str:
    """(w1, w2, bias) of a perceptron that says yes unless both inputs are 1."""
    given = as_tensor(answer, "three numbers: two weights and a bias")
    expect(given.shape == (3,), "give three numbers: two weights and a bias")
    w1, w2, bias = given.tolist()
    for a, b in itertools.product((0, 1), repeat=2):
        says, should = w1 * a + w2 * b + bias > 0, not (a and b)
        expect(says == should, f"for ({a}, {b}) it should say {_yes(should)}; yours says {_yes(says)}")
    return "not both; every other gate can be built of this one"


@check
def check_correction(answer: Any) -> str:
    """The weights after EXAMPLE with LABEL was shown to a perceptron with WEIGHTS, the bias last."""
    given = as_tensor(answer, "three numbers: the weights, the bias last")
    expect(given.shape == (3,), "give three numbers: the weights, the bias last")
    right = WEIGHTS + LABEL * np.append(EXAMPLE, 1.0)
    expect(not near(given, WEIGHTS), "w · x + b is negative, but the label is +1: that is a mistake, so add y x")
    expect(not near(given, WEIGHTS - LABEL * np.append(EXAMPLE, 1.0)), "add y x, do not subtract it")
    expect(not near(given, np.append(right[:2], WEIGHTS[2])), "the bias is the weight of an input of 1: correct it too")
    expect(near(given, right), "add y times the example, its last input being 1")
    return f"w · x + b was {_field(WEIGHTS):.1f} and is {_field(right):.1f}"


@check
def check_bound(answer: Any) -> str:
    """The bound (R / margin)² for POINTS, LABELS and DIRECTION."""
    given = as_number(answer, "a number of corrections")
    inputs = with_bias(POINTS)
    radius = float((inputs**2).sum(axis=1).max())
    margin = float((LABELS * (inputs @ DIRECTION)).min() / np.linalg.norm(DIRECTION))
    expect(not near(given, (radius - 1) / margin**2), "each example has a third input, 1, which makes it longer")
    expect(not near(given, radius / margin), "square the margin too")
    expect(not near(given, radius / (LABELS * (inputs @ DIRECTION)).min() ** 2), "divide the direction by its length")
    expect(
        near(given, novikoff_bound(POINTS, LABELS, DIRECTION)), "R² is the longest example's, γ the smallest y u · x"
    )
    return "so one mistake at most, in whatever order the examples come"


@check
def check_parity(answer: Any) -> str:
    """A function (unit, a, b, c): 1 if an odd number of the three is 1, made of threshold units alone."""
    expect(callable(answer), f"the answer should be a function of (unit, a, b, c); got {answer!r}")
    for bits in itertools.product((0, 1), repeat=3):
        calls: list[int] = []

        def unit(inputs: Any, weights: Any, threshold: float, calls: list[int] = calls) -> int:
            calls.append(1)
            return int(sum(x * w for x, w in zip(inputs, weights, strict=True)) >= threshold)

        given = called(answer, unit, *bits)
        expect(given in (0, 1), f"it should return 0 or 1; for {bits} yours returned {given!r}")
        expect(given == sum(bits) % 2, f"for {bits} it should return {sum(bits) % 2}; yours returned {given}")
        expect(bool(calls), "use the units: call unit(inputs, weights, threshold)")
    return "no single unit can do it, a second layer can"


@check
def check_what_follows(answer: Any) -> str:
    """The new facts that follow from FACTS by RULES, in any order."""
    expect(
        isinstance(answer, list | tuple | set) and all(isinstance(fact, str) for fact in answer),
        f"the answer should be a list of facts; got {type(answer).__name__}",
    )
    given, right = {" ".join(fact.split()) for fact in answer}, set(forward_chain(parse_rules(RULES), FACTS).derived)
    expect(not given & set(FACTS), "give the new facts only, not those that were seen")
    wrong = sorted(given - right)
    expect(not wrong, f"{wrong[:1]} does not follow: one of its conditions is not known")
    expect(given == right, f"there are more than {len(given)}: go round once more with what you have found")
    return f"{len(right)} facts, one more in each round"


@check
def check_energy(answer: Any) -> str:
    """The energy of PATTERN in the net that stores it alone."""
    given = as_number(answer, "an energy")
    right, n = float(energy(store(PATTERN[None]), PATTERN)), len(PATTERN)
    expect(not near(given, -right), "the energy of a valley is negative")
    expect(not near(given, 2 * right), "the half in front of the sum: each pair is counted twice")
    expect(not near(given, -(n**2) / 2), "no unit is joined to itself: leave the diagonal out")
    expect(near(given, right), "-½ times the sum over all pairs i ≠ j of T_ij V_i V_j, and each term is 1 here. Why?")
    return f"-n (n - 1) / 2 = {right:.0f}, whatever the pattern is"


@check
def check_sharing(answer: Any) -> str:
    """(weights and biases, connections) of six 5x5 kernels over one 32x32 picture."""
    given = as_tensor(answer, "two numbers")
    expect(given.shape == (2,), "give two numbers: how many can be trained, and how many connections there are")
    counts = parameter_counts(1, 6, 5, (32, 32), (28, 28))
    expect(not near(given[0], 6 * 25), "each map has a bias too")
    expect(near(given[0], counts["shared"]), "trained: a 5x5 kernel and a bias for each of the six maps")
    expect(not near(given[1], 6 * 26 * 32 * 32), "a kernel of five fits only 28 times into a row of 32")
    expect(near(given[1], counts["local"]), "connections: 26 for each of the 28 x 28 places of each map")
    return f"{counts['local'] // counts['shared']} connections share each weight; LeNet-5 began like this"


@check
def check_hidden(answer: Any) -> str:
    """p(h = 1 | SEEN) of a hidden unit with HIDDEN_WEIGHTS and HIDDEN_BIAS."""
    given = as_number(answer, "a probability")
    rbm = RBM(3, 1, generator=np.random.default_rng(0))
    rbm.w, rbm.b = np.array(HIDDEN_WEIGHTS)[:, None], np.array([HIDDEN_BIAS])
    right = float(rbm.hidden(np.array([SEEN], dtype=np.float64))[0, 0])
    expect(not near(given, math.log(right / (1 - right))), "that is b + v · w; the probability is its sigmoid")
    expect(0 < given < 1, "a probability lies between 0 and 1")
    expect(not near(given, 1 / (1 + math.exp(-1.5))), "do not forget the bias")
    expect(not near(given, 1 - right), "that is p(h = 0)")
    expect(near(given, right), "1 / (1 + exp(-(b + v · w))), with the weights of the visible units that are 1")
    return f"sigmoid(1) = {right:.4f}"


@check
def check_reach(answer: Any) -> str:
    """After how many steps less than SHARE is left, when each step passes FACTOR on."""
    given = as_number(answer, "a number of steps")
    expect(given == round(given), "a whole number of steps")
    right = math.floor(math.log(SHARE) / math.log(FACTOR)) + 1
    left = FACTOR**given
    expect(given >= right, f"after {given:.0f} steps {left:.4f} is left, which is not below {SHARE}")
    expect(given <= right, f"it is below {SHARE} before that: {FACTOR ** (given - 1):.4f} one step earlier")
    return f"{FACTOR}^{right} = {left:.4f}; a sentence of that length is not rare"


@check
def check_growth(answer: Any) -> str:
    """In how many months operations doubled from EARLIER to LATER, on average."""
    given = as_number(answer, "a number of months")
    years, factor = LATER[0] - EARLIER[0], LATER[1] / EARLIER[1]
    right = 12 * years / math.log2(factor)
    expect(not near(given, right / 12, 0.05), "that is in years; how many months?")
    expect(not near(given, 12 * years / math.log(factor), 0.05), "doublings: the logarithm to the base 2")
    expect(not near(given, 12 * years / math.log10(factor), 0.05), "that is tenfold; how long does twofold take?")
    expect(near(given, right, 0.05), "months in all, divided by the number of doublings, log2 of the factor")
    return f"{math.log2(factor):.1f} doublings in {years:.0f} years, one every {right:.1f} months"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _field(weights: Any) -> float:
    """What the perceptron computes for EXAMPLE: w · x + b."""
    return float(np.append(EXAMPLE, 1.0) @ weights)
