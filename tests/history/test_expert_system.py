"""Forward chaining: it finds all that follows, whatever the order of the rules, and can say why."""

import random

import pytest

from companion.history.expert_system import HOUSEPLANT, Rule, forward_chain, opposite, parse_rules

RULES = parse_rules(HOUSEPLANT)
SEEN = ("soil wet", "leaves yellow", "soil smells", "webs", "air dry")


def closure(rules: list[Rule], facts: set[str]) -> set[str]:
    """The least set that holds the facts and is closed under the rules, found one rule at a time."""
    known = set(facts)
    while True:
        new = next((r.conclusion for r in rules if set(r.conditions) <= known and r.conclusion not in known), None)
        if new is None:
            return known
        known.add(new)


def test_the_small_knowledge_base_reads_as_written():
    assert len(RULES) == 13
    assert str(RULES[1]) == "R2: if roots lack air and soil smells then roots rot"


@pytest.mark.parametrize("seed", range(20))
def test_what_follows_is_the_least_closed_set_in_any_order_of_the_rules(seed):
    chance = random.Random(seed)
    rules = list(RULES)
    chance.shuffle(rules)
    observable = sorted({c for r in RULES for c in r.conditions} - {r.conclusion for r in RULES} - {"soil dry"})
    facts = chance.sample(observable, 5)
    deduction = forward_chain(rules, facts)
    assert deduction.known == closure(rules, set(facts))
    assert len(set(deduction.derived)) == len(deduction.derived)


def test_every_rule_fires_after_its_conditions_are_known():
    deduction = forward_chain(RULES[::-1], SEEN)
    known, rounds = set(SEEN), [number for number, _ in deduction.fired]
    assert rounds == sorted(rounds) and rounds[-1] == 3
    for number in range(1, 4):
        now = [rule for n, rule in deduction.fired if n == number]
        assert all(set(rule.conditions) <= known for rule in now)
        known |= {rule.conclusion for rule in now}


def test_an_explanation_ends_in_given_facts_and_uses_rules_that_fired():
    deduction = forward_chain(RULES, SEEN)
    names = {rule.name for _, rule in deduction.fired}
    for fact in deduction.derived:
        lines = deduction.how(fact).splitlines()
        for line, below in zip(lines, [*lines[1:], ""], strict=True):
            label = line[line.rindex("[") + 1 : -1]
            depth, next_depth = (len(text) - len(text.lstrip()) for text in (line, below))
            assert label in names | {"given"}
            assert (label == "given") == (next_depth <= depth)  # a leaf is given, and only a leaf


def test_a_circle_of_rules_explains_nothing_by_itself():
    rules = parse_rules("A: if p then q\nB: if q then p\nC: if s then p")
    assert forward_chain(rules, []).known == frozenset()
    assert forward_chain(rules, ["s"]).how("q").splitlines() == ["q  [A]", "    p  [C]", "        s  [given]"]


def test_what_is_unknown_is_said():
    deduction = forward_chain(RULES, SEEN)
    assert deduction.why_not("too dark") == "R5 misses: stems long, leaves pale"
    assert deduction.why_not("a frog") == "no rule concludes 'a frog'"
    with pytest.raises(ValueError, match="why_not"):
        deduction.how("too dark")
    with pytest.raises(ValueError, match="is known"):
        deduction.why_not("insects")


def test_two_rules_that_contradict_each_other_are_named():
    rules = [*RULES, *parse_rules("R14: if leaves hang then thirsty")]
    with pytest.raises(ValueError, match=r"(?s)'thirsty' and 'not thirsty' both follow.*R14.*R3"):
        forward_chain(rules, ["soil wet", "leaves hang"])
    with pytest.raises(ValueError, match="both follow"):
        forward_chain((), ["rain", opposite("rain")])


@pytest.mark.parametrize("line", ["if a then b", "R1: a then b", "R1: if a", "R1: if a and  then b", ": if a then b"])
def test_what_is_no_rule_is_refused(line):
    with pytest.raises(ValueError, match="is no rule"):
        parse_rules(line)


def test_a_name_is_used_once():
    with pytest.raises(ValueError, match="called R1"):
        parse_rules("R1: if a then b\nR1: if b then c")
