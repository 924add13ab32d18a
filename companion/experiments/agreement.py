"""Which positional schemes work on longer texts, and what each part of the Transformer is good for.

Both questions are put to the same small causal model on the language of :mod:`companion.data.agreement`.
"""

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion.config import PositionScheme, TransformerConfig
from companion.data.agreement import VOCABULARY, AgreementTexts, agreement_texts, predicts_plural
from companion.errors import require
from companion.models.gpt import GPT
from companion.nn.losses import next_token_labels, token_cross_entropy
from companion.nn.transformer import TransformerBlock

SCHEMES: tuple[PositionScheme, ...] = ("sinusoidal", "learned", "rope", "alibi", "none")
PARTS = ("nothing", "positions", "attention", "feed-forward", "residuals", "normalization", "heads")


def agreement_model(position: PositionScheme, *, seed: int, max_len: int, n_layers: int = 2, **changes: Any) -> GPT:
    """A fresh causal model for the language: width 64, 4 heads, no dropout.

    The initial weights have the standard deviation 1/√64. So small a model learns slowly from BERT's and GPT-2's 0.02.

    >>> model = agreement_model("rope", seed=0, max_len=64)
    >>> sum(p.numel() for p in model.parameters())
    101696
    """
    values: dict[str, Any] = {"d_model": 64, "n_heads": 4, "d_ff": 256, "dropout": 0.0, "init_std": 0.125, **changes}
    config = TransformerConfig(
        vocab_size=len(VOCABULARY), max_len=max_len, n_layers=n_layers, position=position, **values
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT(config)


@contextmanager
def one_thread() -> Iterator[None]:
    """So small a model gains nothing from a second thread, and loses much where other programs want that core too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train_on_agreement(
    model: GPT, *, steps: int, length: int = 32, batch_size: int = 64, peak_lr: float = 3e-3, seed: int = 0
) -> list[float]:
    """Train ``model`` to predict the next word of fresh texts; the loss, in nats a word, of each step.

    AdamW, gradients clipped to norm 1; the rate rises for a tenth of the steps and then falls along a cosine.
    """
    generator = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=0.01)
    losses = []
    model.train()
    for step in range(steps):
        warmup = max(1, steps // 10)
        rate = peak_lr * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = agreement_texts(batch_size, length, generator=generator).ids
        loss = token_cross_entropy(model(ids), next_token_labels(ids)).mean
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@dataclass(frozen=True)
class Score:
    """What a model did on some texts.

    Attributes:
        accuracy: share of the verbs whose number the model expected; 0.5 is chance.
        loss: mean over all words, in nats.
        verbs: how many verbs were judged.
    """

    accuracy: float
    loss: float
    verbs: int


@torch.no_grad()
@one_thread()
def score_agreement(model: nn.Module, texts: AgreementTexts, *, block: int | None = None) -> list[Score]:
    """Judge ``model`` on ``texts``, separately for each ``block`` of words along them, by default all at once.

    At the word before each verb, the plural verbs together are compared with the singular ones.
    """
    T = texts.ids.size(1)
    block = T if block is None else block
    require(1 <= block <= T and T % block == 0, f"texts of {T} words cannot be cut into blocks of {block}")
    was_training = model.training
    model.eval()
    parts = [_judge(model, texts, slice(i, i + 64)) for i in range(0, texts.ids.size(0), 64)]
    model.train(was_training)
    right, losses, counted = (torch.cat(column).view(-1, T // block, block) for column in zip(*parts, strict=True))
    verbs = texts.is_verb.view(-1, T // block, block)
    return [
        Score(
            accuracy=(right & verbs)[:, i].sum().item() / max(1, int(verbs[:, i].sum())),
            loss=losses[:, i].double().sum().item() / int(counted[:, i].sum()),
            verbs=int(verbs[:, i].sum()),
        )
        for i in range(T // block)
    ]


def _judge(model: nn.Module, texts: AgreementTexts, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """For each word, from the words before it: is the expected number right, the loss, and is there a loss (B, T)."""
    ids = texts.ids[rows]
    logits = model(ids)[:, :-1]
    right = torch.zeros_like(ids, dtype=torch.bool)
    losses = torch.zeros(ids.shape)
    right[:, 1:] = predicts_plural(logits) == texts.plural[rows][:, 1:]
    losses[:, 1:] = nn.functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none")
    counted = torch.ones_like(right)
    counted[:, 0] = False
    return right, losses, counted


class Silent(nn.Module):
    """Adds nothing: stands in for a part of width ``d_model`` that was removed.

    >>> Silent(2)(torch.ones(2), mask=None).tolist()
    [0.0, 0.0]
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        """Zeros in the shape of ``x``."""
        return torch.zeros_like(x)


class WithoutResiduals(nn.Module):
    """A pre-norm block without its two residual connections: what a sub-layer gives replaces what it was given.

    >>> block = TransformerBlock(TransformerConfig(vocab_size=9, d_model=8))
    >>> WithoutResiduals(block)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, **attention_arguments: Any) -> Tensor:
        """``x`` (B, T, D) to (B, T, D)."""
        x = self.block.attention(self.block.attention_norm(x), **attention_arguments)
        output: Tensor = self.block.ffn(self.block.ffn_norm(x))
        return output


def model_without(part: str, *, seed: int, max_len: int = 32, n_layers: int = 4, **changes: Any) -> GPT:
    """A fresh model that lacks one part in every block; ``"heads"`` leaves one head, as wide as the four were together.

    >>> model = model_without("normalization", seed=0)
    >>> [type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__]
    []
    """
    require(part in PARTS, f"part={part!r} is not known; choose one of {list(PARTS)}")
    if part == "heads":
        changes["n_heads"] = 1
    position: PositionScheme = "none" if part == "positions" else "rope"
    model = agreement_model(position, seed=seed, max_len=max_len, n_layers=n_layers, **changes)
    stack = model.transformer
    if part == "normalization":
        stack.norm = None
    if part == "residuals":
        stack.blocks = nn.ModuleList(WithoutResiduals(block) for block in _blocks(stack))
        return model
    for block in _blocks(stack):
        if part == "attention":
            block.attention = Silent(model.config.d_model)  # type: ignore[assignment]  # it stands where attention stood
        elif part == "feed-forward":
            block.ffn = Silent(model.config.d_model)  # type: ignore[assignment]
        elif part == "normalization":
            block.attention_norm = block.ffn_norm = nn.Identity()  # type: ignore[assignment]
    return model


def _blocks(stack: nn.Module) -> Iterable[TransformerBlock]:
    return [module for module in stack.modules() if isinstance(module, TransformerBlock)]
