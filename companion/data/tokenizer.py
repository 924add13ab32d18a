r"""Tokenizers: text to the ids of word pieces and back.

WordPiece (Schuster and Nakajima 2012, as in Devlin et al. 2019): lower case, accents off, split at spaces and
punctuation; a word that is not in the vocabulary is cut into the longest pieces that are, ``unwatchable`` into
``un ##watch ##able``; pieces inside a word begin with ``##``. The training starts from single characters and joins the
pair of neighbors that is most frequent, again and again, until the vocabulary is full.

The objects are those of the ``tokenizers`` library, so ``tokenizer.encode(text).ids`` and ``.decode(ids)`` work as its
documentation says. ``encode`` puts ``[CLS]`` before and ``[SEP]`` behind, and between the texts of a pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from companion.errors import require
from companion.files import write_text_whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: The special tokens; a trained tokenizer has them as the ids 0 to 4.
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: The name of the tokenizer that ships with the package.
BOOK = "book"
# A character that is not seen at least once in so many has no piece of its own: its words are [UNK].
_RARE = 4_000_000
# A pair of pieces seen less often than this is not joined.
_MIN_FREQUENCY = 2


class SpecialIds(NamedTuple):
    """The ids of the special tokens; as a tuple, what ``mask_tokens(..., special=...)`` must leave alone."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


def train_tokenizer(texts: Sequence[str], *, vocab_size: int = 8192) -> Tokenizer:
    """A WordPiece tokenizer of exactly ``vocab_size`` pieces; the same texts give the same tokenizer, to the byte.

    Args:
        texts: what to learn from; read twice.
        vocab_size: pieces, the five special tokens and the single characters among them. A character seen less than
            once in four million has no piece.

    Raises:
        ValueError: no text, too few places for the characters, or more places than the texts support (a pair must be
            seen twice to be joined).

    >>> tokenizer = train_tokenizer(["a new film, a renewed film"] * 20, vocab_size=30)
    >>> tokenizer.encode("Renewed: a film").tokens
    ['[CLS]', 'r', '##e', '##n', '##ew', '##e', '##d', '[UNK]', 'a', 'film', '[SEP]']
    """
    from tokenizers import trainers

    alphabet, n_kept = _alphabet(texts)
    inner = [f"##{c}" for c in alphabet]
    least = len(SPECIAL_TOKENS) + n_kept + len(inner)
    require(n_kept > 0, f"there is nothing to learn from: no character stands in the {len(texts)} texts")
    require(
        vocab_size >= least,
        f"vocab_size={vocab_size}, but the special tokens and the characters of these texts alone need {least}",
    )
    tokenizer = _untrained({})
    # The library numbers the characters inside words in the order of a hash table, another one in each run, and breaks
    # ties by these numbers. Listed here as if they were special tokens, they are numbered in our order.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        special_tokens=[*SPECIAL_TOKENS, *inner],
        limit_alphabet=n_kept,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    require(
        len(vocabulary) == vocab_size,
        f"vocab_size={vocab_size}, but the texts support only {len(vocabulary)} pieces (a pair must be seen "
        f"{_MIN_FREQUENCY} times to be joined); ask for at most that many, or give more text",
    )
    return _untrained(vocabulary)


def _alphabet(texts: Iterable[str]) -> tuple[list[str], int]:
    """The characters that may stand inside a word, in the order of their numbers, and how many get a piece at all."""
    from tokenizers import normalizers, pre_tokenizers

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    counts = Counter({c: n for c, n in counts.items() if not c.isspace()})
    total = counts.total()
    kept = sorted(c for c, n in counts.items() if n * _RARE >= total)
    # A punctuation mark is always a word by itself.
    return [c for c in kept if len(splitter.pre_tokenize_str(f"a{c}")) == 1], len(kept)


def _untrained(vocabulary: dict[str, int]) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if vocabulary:
        tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a tokenizer to a JSON file, which :func:`load_tokenizer` and the ``tokenizers`` library read."""
    write_text_whole(Path(path), tokenizer.to_str(pretty=True) + "\n")


def load_tokenizer(name_or_path: str | Path = BOOK) -> Tokenizer:
    """The tokenizer of the book (``"book"``), or the one in a file, or in a folder as ``tokenizer.json``.

    Raises:
        ValueError: there is no such file, or it holds no tokenizer.
    """
    from tokenizers import Tokenizer

    if name_or_path == BOOK:
        return Tokenizer.from_str(
            resources.files("companion").joinpath("assets", "tokenizer.json").read_text(encoding="utf-8")
        )
    path = Path(name_or_path)
    path = path / "tokenizer.json" if path.is_dir() else path
    require(path.is_file(), f"no tokenizer at {path}; give {BOOK!r}, or the path of a tokenizer.json")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{path} holds no tokenizer of the tokenizers library: {error}") from error


def encode_texts(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of each text without special tokens; a text that spells one, like ``[SEP]``, is text like any other."""
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    before = tokenizer.encode_special_tokens
    # Only where it is needed, which is next to nowhere: encoding takes half as long again with it.
    tokenizer.encode_special_tokens = any(token in text for text in texts for token in special)
    try:
        return [e.ids for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    finally:
        tokenizer.encode_special_tokens = before


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Where a tokenizer keeps its special tokens.

    Raises:
        ValueError: it lacks one of them.
    """
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    missing = [token for token, i in zip(SPECIAL_TOKENS, ids, strict=True) if i is None]
    require(not missing, f"the tokenizer has no {missing}; pretraining needs all of {list(SPECIAL_TOKENS)}")
    return SpecialIds(*(i for i in ids if i is not None))
