"""Texts as long as IMDB's reviews are, without the data."""

import torch
from torch import Tensor

from companion import length_mask

# Tokens of a review, with [CLS] and [SEP]: the 0th, 5th, ... 100th percentile of 3,000 reviews of the test split, drawn
# at random and cut by the book's tokenizer of 8,192 pieces.
PERCENTILES = (
    *(25, 86, 122, 147, 159, 168, 178, 189, 203, 217, 236),
    *(257, 283, 308, 345, 387, 445, 511, 611, 785, 2977),
)  # fmt: skip


def imdb_lengths(n: int, *, longest: int, seed: int = 0) -> Tensor:
    """(n,): lengths drawn from that distribution, straight lines between the percentiles, cut at ``longest``."""
    place = torch.rand(n, generator=torch.Generator().manual_seed(seed)) * (len(PERCENTILES) - 1)
    table = torch.tensor(PERCENTILES, dtype=torch.float32)
    low = place.long().clamp(max=len(PERCENTILES) - 2)
    return (table[low] + (place - low) * (table[low + 1] - table[low])).round().long().clamp(max=longest)


def batches(lengths: Tensor, *, size: int, vocab_size: int, by_length: bool) -> list[tuple[Tensor, Tensor]]:
    """Ids (B, T) and padding (B, T), True = real token, padded to the longest of each batch.

    Args:
        lengths: (n,) of all texts, in the order in which they came.
        size: texts of a batch.
        vocab_size: ids are random and below this.
        by_length: whether texts of similar length share a batch, or those that came together.
    """
    generator = torch.Generator().manual_seed(0)
    result = []
    for part in (lengths.sort().values if by_length else lengths).split(size):
        padding = length_mask(part)
        result.append((torch.randint(0, vocab_size, padding.shape, generator=generator), padding))
    return result
