r"""A forward-chaining expert system: rules, facts, and an answer to "how do you know?".

Knowledge is a list of rules, each ``if these facts then this fact``. Forward chaining goes from the facts to what
follows from them, as R1 did, which configured computers for the Digital Equipment Corporation (McDermott 1982). The
question "how?" and its answer, the rules that led to a conclusion, come from MYCIN (Buchanan & Shortliffe 1984, part
six), which itself worked backwards from its goal.

R1's language had to choose among the rules that could fire. Here there is nothing to choose: a rule only ever adds a
fact, so all rules that can fire do, and what is known in the end does not depend on the order of the rules. If a fact
and its opposite follow, the system says which rules disagree and stops.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from companion.errors import require

#: A small knowledge base: what ails a houseplant, and what to do.
HOUSEPLANT = """
R1:  if soil wet and leaves yellow        then roots lack air
R2:  if roots lack air and soil smells    then roots rot
R3:  if soil wet                          then not thirsty
R4:  if soil dry and leaves hang          then thirsty
R5:  if stems long and leaves pale        then too dark
R6:  if leaves sticky                     then insects
R7:  if webs and air dry                  then spider mites
R8:  if spider mites                      then insects
R9:  if thirsty                           then advice: water it
R10: if roots lack air                    then advice: let the soil dry
R11: if roots rot                         then advice: new soil
R12: if insects                           then advice: wash the leaves
R13: if too dark                          then advice: nearer to the window
"""


@dataclass(frozen=True)
class Rule:
    """``if`` all ``conditions`` hold ``then`` the ``conclusion`` does.

    >>> print(Rule("R1", ("soil wet", "leaves yellow"), "roots lack air"))
    R1: if soil wet and leaves yellow then roots lack air
    """

    name: str
    conditions: tuple[str, ...]
    conclusion: str

    def __str__(self) -> str:
        return f"{self.name}: if {' and '.join(self.conditions)} then {self.conclusion}"


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a text with one ``name: if fact and fact then fact`` a line; empty lines are skipped.

    Raises:
        ValueError: a line is no rule, or two rules have the same name.

    >>> parse_rules("R9: if thirsty then advice: water it")
    (Rule(name='R9', conditions=('thirsty',), conclusion='advice: water it'),)
    """
    rules = tuple(_parse_rule(" ".join(line.split())) for line in text.splitlines() if line.strip())
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, f"two rules are called {', '.join(twice)}; an explanation needs a name for each rule")
    return rules


def _parse_rule(line: str) -> Rule:
    name, colon, body = line.partition(":")
    conditions, then, conclusion = body.strip().removeprefix("if ").partition(" then ")
    facts = tuple(re.split(r"\s*\band\b\s*", conditions))
    is_rule = colon and then and name.strip() and body.strip().startswith("if ") and all(facts) and conclusion.strip()
    require(bool(is_rule), f"{line!r} is no rule; write 'name: if fact and fact then fact'")
    return Rule(name.strip(), facts, conclusion.strip())


def opposite(fact: str) -> str:
    """The fact that must not hold beside this one.

    >>> opposite("thirsty"), opposite("not thirsty")
    ('not thirsty', 'thirsty')
    """
    return fact.removeprefix("not ") if fact.startswith("not ") else f"not {fact}"


@dataclass(frozen=True)
class Deduction:
    """What follows from some facts.

    Attributes:
        rules: all rules, those that did not fire too.
        given: the facts at the start.
        fired: (round, rule), in the order in which they fired; a rule whose conclusion is known no longer fires.
    """

    rules: tuple[Rule, ...]
    given: tuple[str, ...]
    fired: tuple[tuple[int, Rule], ...]

    @property
    def derived(self) -> tuple[str, ...]:
        """The new facts, in the order in which they were found."""
        return tuple(rule.conclusion for _, rule in self.fired)

    @property
    def known(self) -> frozenset[str]:
        """The given facts and the new ones."""
        return frozenset(self.given) | frozenset(self.derived)

    def how(self, fact: str, *, depth: int = 0) -> str:
        """How do you know? The fact, the rule that gave it, and below it the facts that this rule used.

        Raises:
            ValueError: the fact is not known; :meth:`why_not` says what was missing.
        """
        require(fact in self.known, f"{fact!r} is not known; why_not({fact!r}) says what was missing")
        if fact in self.given:
            return f"{'    ' * depth}{fact}  [given]"
        rule = next(rule for _, rule in self.fired if rule.conclusion == fact)
        below = [self.how(condition, depth=depth + 1) for condition in rule.conditions]
        return "\n".join([f"{'    ' * depth}{fact}  [{rule.name}]", *below])

    def why_not(self, fact: str) -> str:
        """Each rule that could have given the fact, and the conditions that it missed.

        Raises:
            ValueError: the fact is known.
        """
        require(fact not in self.known, f"{fact!r} is known; how({fact!r}) says why")
        lines = [
            f"{rule.name} misses: {', '.join(c for c in rule.conditions if c not in self.known)}"
            for rule in self.rules
            if rule.conclusion == fact
        ]
        return "\n".join(lines) or f"no rule concludes {fact!r}"


def forward_chain(rules: Sequence[Rule], facts: Sequence[str]) -> Deduction:
    """Fire the rules until nothing new follows.

    In each round every rule fires whose conditions are known and whose conclusion is not. Each round but the last adds
    a fact, so there are at most as many rounds as rules.

    Raises:
        ValueError: a fact and its opposite follow.

    >>> seen = forward_chain(parse_rules(HOUSEPLANT), ["soil wet", "leaves yellow", "soil smells"])
    >>> seen.derived
    ('roots lack air', 'not thirsty', 'roots rot', 'advice: let the soil dry', 'advice: new soil')
    >>> print(seen.how("advice: new soil"))
    advice: new soil  [R11]
        roots rot  [R2]
            roots lack air  [R1]
                soil wet  [given]
                leaves yellow  [given]
            soil smells  [given]
    >>> print(seen.why_not("advice: wash the leaves"))
    R12 misses: insects
    """
    fired: list[tuple[int, Rule]] = []
    state = Deduction(tuple(rules), tuple(facts), ())
    _check_agreement(state)
    for number in range(1, len(rules) + 1):
        # The first rule for each conclusion: a second one would say the same again.
        new = {r.conclusion: r for r in reversed(rules) if set(r.conditions) <= state.known}
        ready = [r for r in rules if new.get(r.conclusion) is r and r.conclusion not in state.known]
        if not ready:
            break
        fired += [(number, rule) for rule in ready]
        state = Deduction(tuple(rules), tuple(facts), tuple(fired))
        _check_agreement(state)
    return state


def _check_agreement(state: Deduction) -> None:
    for fact in sorted(state.known):
        if not fact.startswith("not ") and opposite(fact) in state.known:
            both = f"{state.how(fact)}\n{state.how(opposite(fact))}"
            raise ValueError(f"{fact!r} and {opposite(fact)!r} both follow; change a fact or one of the rules:\n{both}")
