r"""What is done to token ids before a model learns from them: masking, and packing into blocks without padding.

The pairs of next-sentence prediction stand in :mod:`companion.data.pairs`. Letters in the shapes: B batch, T tokens,
N blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from companion.data.corpus import TokenCorpus
from companion.errors import require

#: The label of a position that is not predicted; the losses leave it out.
IGNORE = -100
# Of the chosen positions: 80 % become [MASK], 10 % another token, 10 % stay as they are.
_MASKED, _REPLACED = 0.8, 0.9


def mask_tokens(
    ids: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    special: Sequence[int],
    p: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The corruption of masked language modeling (Devlin et al. 2019, section 3.1): (inputs, labels).

    Each position that holds no special token is chosen with probability ``p``, independently of the others. Its label
    is its token; all other labels are -100. Of the chosen ones 80 % become ``[MASK]``, 10 % a token drawn uniformly
    from those that are not special (the original one among them, as in the paper's code), and 10 % stay: a model that
    cannot tell which tokens are wrong has to understand all of them.

    Args:
        ids: token ids of any shape, int32 or int64; not edited.
        mask_id: the id of ``[MASK]``.
        vocab_size: number of token ids, V.
        special: ids that are never chosen and never put in, such as ``special_ids(tokenizer)``; ``mask_id`` is one of
            them, listed or not.
        p: share of the positions to choose, in (0, 1].
        generator: where the chance comes from.

    Raises:
        ValueError: ids that are no integers, a ``p`` outside (0, 1], a special id outside the vocabulary, or no token
            that may be put in.

    >>> g = torch.Generator().manual_seed(4)
    >>> ids = torch.arange(5, 15)
    >>> inputs, labels = mask_tokens(ids, mask_id=4, vocab_size=20, special=range(5), p=0.4, generator=g)
    >>> inputs.tolist()
    [5, 6, 4, 4, 4, 4, 11, 12, 13, 14]
    >>> labels.tolist()
    [-100, -100, 7, 8, 9, 10, -100, -100, -100, -100]
    """
    require(ids.dtype in (torch.int32, torch.int64), f"ids must be int32 or int64; got {ids.dtype}")
    require(0.0 < p <= 1.0, f"p={p} must be in (0, 1]")
    unused = [*special, mask_id]
    require(
        all(0 <= i < vocab_size for i in unused),
        lambda: f"special={list(special)} and mask_id={mask_id} must be ids below vocab_size={vocab_size}",
    )
    ordinary = torch.ones(vocab_size, dtype=torch.bool)
    ordinary[unused] = False
    candidates = ordinary.nonzero()[:, 0].to(ids.device, ids.dtype)
    require(len(candidates) > 0, f"all {vocab_size} tokens are special, so none can be put in; check special")

    # One draw decides both: below p the position is chosen, and where below p says what becomes of it.
    draw = torch.rand(ids.shape, generator=generator, device=ids.device) / p
    draw.masked_fill_(~ordinary.to(ids.device)[ids.long()], 1.0)
    chosen = draw < 1.0
    some = torch.randint(len(candidates), ids.shape, generator=generator, device=ids.device)
    inputs = torch.where(chosen & (draw < _REPLACED), candidates[some], ids)
    inputs.masked_fill_(draw < _MASKED, mask_id)
    return inputs, torch.where(chosen, ids, IGNORE)


def pack_blocks(
    documents: TokenCorpus | Iterable[Iterable[Sequence[int]]],
    length: int,
    *,
    cls_id: int,
    sep_id: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """All documents in one row, each between ``[CLS]`` and ``[SEP]``, cut into (N, length) int32 without padding.

    What is left over at the end, less than one block, is dropped. A block may hold the end of one document and the
    beginning of the next.

    Args:
        documents: a corpus, or documents as lists of sentences, and these as lists of ids.
        length: tokens in a block.
        cls_id: the id that begins a document.
        sep_id: the id that ends one.
        generator: shuffles the documents; None = in their order.

    Raises:
        ValueError: the documents do not fill one block.

    >>> pack_blocks([[[5, 6], [7]], [[8, 9]]], 4, cls_id=2, sep_id=3).tolist()
    [[2, 5, 6, 7], [3, 2, 8, 9]]
    """
    row = document_row(documents, cls_id=cls_id, sep_id=sep_id, generator=generator)
    n = len(row) // length
    require(length >= 1 and n >= 1, lambda: f"the documents have {len(row)} tokens, which fill no block of {length}")
    return row[: n * length].view(n, length)


def document_row(
    documents: TokenCorpus | Iterable[Iterable[Sequence[int]]],
    *,
    cls_id: int,
    sep_id: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """All documents one after the other, each between ``[CLS]`` and ``[SEP]``, in the order that a generator draws.

    >>> document_row([[[5, 6], [7]], [[8, 9]]], cls_id=2, sep_id=3).tolist()
    [2, 5, 6, 7, 3, 2, 8, 9, 3]
    """
    corpus = documents if isinstance(documents, TokenCorpus) else TokenCorpus.from_documents(documents)
    parts = corpus.documents()
    order = range(len(parts)) if generator is None else torch.randperm(len(parts), generator=generator).tolist()
    begin, end = corpus.ids.new_tensor([cls_id]), corpus.ids.new_tensor([sep_id])
    return torch.cat([piece for d in order for piece in (begin, parts[d], end)])
