"""What settings are chosen by: held-out sentences and words of the training split, and nothing of the test."""

import random
import re

from companion.data.mini_reviews import draw_reviews
from companion.data.mini_reviews_grammar import PLAIN, grammar, tokens
from companion.experiments.mini_reviews_validation import KINDS, kept, validation_grammars

LEARN, JUDGE = validation_grammars()


def lists(rules):
    """The lists of sentences and of content words of a grammar, by name."""
    found = {("filler", name): lines for name, lines in rules.fillers.items()}
    found |= {("phrase", slot): lines for slot, lines in rules.phrases.items() if slot != "said"}
    for name, groups in rules.verdicts.items():
        for i, group in enumerate(groups):
            found |= {(name, i, half): lines for half, lines in group.halves.items()}
            if not any(group.halves.values()):
                found[name, i, "joins"] = group.joins
    return found | dict(rules.once) | dict(rules.parts)


def test_each_list_of_four_and_more_is_parted_and_nothing_is_lost():
    whole, learn, judge = lists(grammar("train")), lists(LEARN), lists(JUDGE)
    parted = 0
    for name, options in whole.items():
        if name[0] == PLAIN:
            assert name not in judge
        elif len(options) < 4 or learn[name] == judge[name]:
            assert learn[name] == judge[name] == tuple(options)
        else:
            assert set(learn[name]) | set(judge[name]) == set(options) and not set(learn[name]) & set(judge[name]), name
            assert 1 <= len(judge[name]) <= len(options) // 4
            parted += 1
    assert parted > 30, parted
    for name, groups in JUDGE.verdicts.items():  # the ways to join halves serve both
        for mine, theirs in zip(LEARN.verdicts[name], groups, strict=True):
            assert mine.joins == theirs.joins or not any(mine.halves.values())
    assert len(LEARN.topics) == 9 and len(JUDGE.topics) == 3
    assert not {str(topic) for topic in LEARN.topics} & {str(topic) for topic in JUDGE.topics}


def spoken(text):
    return set(re.findall(r"[a-z'-]+", text.lower()))


def test_all_that_validation_says_can_be_learned():
    learned = {word for text in draw_reviews(LEARN, 8000, generator=random.Random(3)).texts for word in spoken(text)}
    judged = {word for text in draw_reviews(JUDGE, 4000, generator=random.Random(4)).texts for word in spoken(text)}
    content = [*JUDGE.once.values(), *JUDGE.parts.values(), *(o for topic in JUDGE.topics for o in topic.values())]
    assert judged - learned <= {word for options in content for text in options for word in spoken(text)}


def test_no_word_judges_in_a_construction_in_which_it_was_learned():
    whole = grammar("train").judging
    for name in JUDGE.verdicts:
        for kind in KINDS:
            for label in (0, 1):
                learned, judged = LEARN.judging[name][kind][label], JUDGE.judging[name][kind][label]
                assert learned and judged and not set(learned) & set(judged)
                assert set(learned) | set(judged) == set(whole[name][kind][label])
    assert LEARN.judging[PLAIN] == whole[PLAIN]


def test_nothing_comes_from_the_test():
    """No content word of the test, and no sentence: every line stands in the training grammar."""
    test = grammar("test")
    texts = [text for rules in (LEARN, JUDGE) for text in draw_reviews(rules, 2000, generator=random.Random(1)).texts]
    seen = {word for text in texts for word in re.findall(r"[A-Za-z'-]+", text)}
    only_test = {word for topic in test.topics for options in topic.values() for word in options}
    only_test |= {word for options in test.once.values() for word in options}
    assert not seen & only_test
    lines = {line for rules in (LEARN, JUDGE) for found in lists(rules).values() for line in found}
    mine = {line for found in lists(test).values() for line in found if any(t.slot in KINDS for t in tokens(line))}
    assert mine and not lines & mine


def test_validation_has_no_plain_verdict_and_training_for_it_has():
    assert PLAIN in LEARN.verdicts and PLAIN not in JUDGE.verdicts
    assert PLAIN not in draw_reviews(JUDGE, 500, generator=random.Random(2)).constructions
    assert kept(["a", "b", "c"], held=True) == ("a", "b", "c")
