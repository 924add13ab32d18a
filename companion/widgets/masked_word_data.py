r"""What the masked-word lab needs from a model: the whole softmax at any temperature, in few bytes.

For a gap with logits z over V words, and a temperature τ, the probability of word i is ``exp(z_i / τ) / Z(τ)`` with
``Z(τ) = Σ_top exp(z_i / τ) + R(τ)``. Kept are the largest logits, and for each temperature of a grid what all other
words add up to, ``log R(τ)``. So the probabilities of the kept words are those over the whole vocabulary.

Letters in the shapes: G gaps, V vocabulary, K kept words, N temperatures.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from companion.data.tokenizer import special_ids
from companion.errors import require
from companion.models.bert import BERT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KEPT = 50
LEVELS = 65_535  # of a quantised number
#: 25 temperatures from 0.1 to 5, by like factors up to 1 and from there.
TEMPERATURES = tuple(round(0.1 * 10 ** (i / 14), 4) for i in range(15)) + tuple(
    round(5 ** (i / 10), 4) for i in range(1, 11)
)


def pack_logits(logits: Tensor, *, kept: int = KEPT) -> tuple[list[int], str]:
    """The ``kept`` largest of the logits (V,), and what the others add up to: (their ids, the numbers in base64).

    The numbers are 16-bit steps between bounds that stand in front: of the largest logits below the largest one, and of
    ``log R(τ) - max / τ``. The error is at most half a step.

    >>> ids, text = pack_logits(torch.arange(100.0), kept=3)
    >>> ids
    [99, 98, 97]
    >>> below, rest = unpack_logits(text, kept=3)
    >>> [round(float(z), 3) for z in below]
    [0.0, -1.0, -2.0]
    """
    require(logits.dim() == 1 and len(logits) > kept, f"expected more than {kept} logits; got {tuple(logits.shape)}")
    z = logits.double()
    top = z.topk(kept)
    others = z.clone()
    others[top.indices] = -torch.inf
    tau = torch.tensor(TEMPERATURES, dtype=torch.float64)
    rest = (others / tau[:, None]).logsumexp(dim=1) - top.values[0] / tau  # (N,)
    parts = [_quantised((top.values - top.values[0]).numpy()), _quantised(rest.numpy())]
    return top.indices.tolist(), base64.b64encode(b"".join(parts)).decode()


def unpack_logits(text: str, *, kept: int = KEPT) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What :func:`pack_logits` kept: logits less the largest (K,), and log R(τ) - max / τ (N,)."""
    raw = base64.b64decode(text)
    cut = 8 + 2 * kept
    return _numbers(raw[:cut]), _numbers(raw[cut:])


def probabilities(text: str, temperature: int, *, kept: int = KEPT) -> tuple[NDArray[np.float64], float]:
    """Probabilities of the kept words (K,) at the temperature of this number, and what is left for all others."""
    below, rest = unpack_logits(text, kept=kept)
    weights = np.exp(below / TEMPERATURES[temperature])
    others = float(np.exp(rest[temperature]))
    total = float(weights.sum()) + others
    return weights / total, others / total


@torch.no_grad()
def lab_data(
    models: Mapping[int, BERT],
    tokenizer: "Tokenizer",
    sentences: Sequence[str],
    *,
    curve: Mapping[str, Sequence[float]] | None = None,
    gaps: Sequence[Sequence[str]] | None = None,
) -> dict[str, Any]:
    """All that the masked-word lab shows of these models: each word of each sentence masked, one at a time.

    Args:
        models: by the training step that they come from.
        tokenizer: theirs.
        sentences: what is read.
        curve: ``step`` and ``loss`` of the training, for the curve.
        gaps: for each sentence, the words that may be masked; by default every token but the marks.

    Raises:
        ValueError: no sentence, or a word that is not in its sentence.
    """
    require(bool(sentences) and bool(models), "there must be a sentence and a model at least")
    words: dict[str, int] = {}
    rows = []
    for number, text in enumerate(sentences):
        encoded = tokenizer.encode(text)
        wanted = gaps[number] if gaps is not None else encoded.tokens[1:-1]
        missing = sorted(set(wanted) - set(encoded.tokens))
        require(not missing, f"{missing} are no tokens of {text!r}; it has {encoded.tokens[1:-1]}")
        places = [i for i, token in enumerate(encoded.tokens) if token in wanted and 0 < i < len(encoded.ids) - 1]
        masked = torch.tensor([encoded.ids]).repeat(len(places), 1)  # (G, T)
        masked[torch.arange(len(places)), places] = special_ids(tokenizer).mask
        steps = []
        for model in models.values():
            h = model.eval().encode(masked)[torch.arange(len(places)), places]  # (G, D)
            packed = [pack_logits(logits) for logits in model.mlm_head(h)]
            names = [[str(tokenizer.id_to_token(i)) for i in ids] for ids, _ in packed]
            steps.append([[_numbered(row, words), text] for row, (_, text) in zip(names, packed, strict=True)])
        rows.append({"tokens": encoded.tokens[1:-1], "gaps": [p - 1 for p in places], "steps": steps})
    return {
        "steps": list(models),
        "vocabulary": tokenizer.get_vocab_size(),
        "words": list(words),
        "sentences": rows,
        "curve": {name: [round(float(v), 4) for v in values] for name, values in (curve or {}).items()},
    }


def _numbered(names: Sequence[str], words: dict[str, int]) -> str:
    numbers = np.array([words.setdefault(name, len(words)) for name in names], dtype="<u2")
    return base64.b64encode(numbers.tobytes()).decode()


def _quantised(values: NDArray[np.float64]) -> bytes:
    low, high = np.float32(values.min()), np.float32(values.max())
    low, high = min(low, np.nextafter(low, np.float32(-np.inf))), max(high, np.nextafter(high, np.float32(np.inf)))
    steps = np.rint((values - low) / (float(high) - float(low)) * LEVELS).astype("<u2")
    return np.array([low, high], dtype="<f4").tobytes() + steps.tobytes()


def _numbers(raw: bytes) -> NDArray[np.float64]:
    low, high = np.frombuffer(raw[:8], dtype="<f4").astype(np.float64)
    numbers: NDArray[np.float64] = low + np.frombuffer(raw[8:], dtype="<u2") * ((high - low) / LEVELS)
    return numbers
