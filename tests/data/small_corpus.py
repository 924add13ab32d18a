"""Corpora of known ids: each token says where it stands."""

import random

from companion.data.corpus import TokenCorpus

CLS, SEP, MASK, FIRST = 2, 3, 4, 5


def numbered(sizes):
    """A corpus of documents, each a list of its sentences' sizes, whose ids count up from FIRST: no two are equal."""
    ids = iter(range(FIRST, 2**31))
    return TokenCorpus.from_documents([[next(ids) for _ in range(n)] for n in document] for document in sizes)


def random_sizes(n_documents, *, seed=0, most_sentences=12, longest=30):
    draw = random.Random(seed)
    return [[draw.randint(1, longest) for _ in range(draw.randint(1, most_sentences))] for _ in range(n_documents)]
