"""The work that is timed, the same for all contenders.

Every training step is forward, backward and AdamW with PyTorch's fused kernel, for all contenders. What a peer needs to
be at its best is given to it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.contenders import CAUSAL, ENCODERS, Shape
from benchmarks.harness import autocast, matmul_setting
from benchmarks.lengths import batches, imdb_lengths
from benchmarks.recipes import P, fine_tuning, needed_flops, pretraining
from companion.nn.losses import chunked_cross_entropy, next_token_labels

N_TEXTS = 96
IN_ORDER = ", as they came"
"""Ends the name of a contender that takes the texts of :func:`texts_forward` as they came, not by length."""

Step = Callable[[], object]


def encoder_training(name: str, shape: Shape, precision: str) -> Step:
    """Classify whole sequences."""
    torch.manual_seed(0)
    model = ENCODERS[name](shape).train()
    ids, labels = shape.ids(), torch.arange(shape.batch) % 2
    return _training_step(model, lambda: F.cross_entropy(_logits(model(ids)).float(), labels), precision)


def causal_training(name: str, shape: Shape, precision: str) -> Step:
    """Predict each next token."""
    torch.manual_seed(0)
    model = CAUSAL[name](shape).train()
    ids = shape.ids()
    labels = next_token_labels(ids)

    def plain() -> Tensor:
        return F.cross_entropy(_logits(model(ids)).flatten(0, 1).float(), labels.flatten())

    def chunked() -> Tensor:
        return chunked_cross_entropy(model.encode(ids), labels, model.lm_head).mean

    return _training_step(model, chunked if name == "companion" else plain, precision)


def encoder_forward(name: str, shape: Shape, precision: str) -> Step:
    """Classify without gradients, in eval mode, where PyTorch's own encoder takes its fast path."""
    torch.manual_seed(0)
    model = ENCODERS[name](shape).eval()
    ids = shape.ids()
    return _forward_step(lambda: model(ids), precision)


def texts_forward(name: str, shape: Shape, precision: str) -> Step:
    """Classify a list of texts of very different lengths, at most ``shape.length``, ``shape.batch`` at a time.

    By length, a batch holds hardly any padding, and one without any gets no mask; as they came, each is padded to its
    longest text, and has a mask.
    """
    torch.manual_seed(0)
    in_order = name.endswith(IN_ORDER)
    kind = name.removesuffix(IN_ORDER)
    model = ENCODERS[kind](shape).eval()
    lengths = imdb_lengths(N_TEXTS, longest=shape.length)
    texts = batches(lengths, size=shape.batch, vocab_size=shape.vocab_size, by_length=not in_order)
    hugging_face = kind.startswith("HF")

    def run() -> None:
        for ids, padding in texts:
            if not in_order and bool(padding.all()):
                model(ids)
            elif hugging_face:
                model(ids, attention_mask=padding.long())
            else:
                model(ids, padding=padding)

    return _forward_step(run, precision)


@dataclass(frozen=True)
class Task:
    """One kind of work: who can do it and how a step is made."""

    models: dict[str, Callable[[Shape], nn.Module]]
    step: Callable[[str, Shape, str], Step]

    def flops(self, shape: Shape) -> float | None:
        """Operations of its matrix products; None where they depend on the padding.

        Of a whole training recipe: those that the texts need, whatever else somebody computes.
        """
        if self is TASKS["texts"]:
            return None
        if self.step in (pretraining, fine_tuning):
            return needed_flops(shape, scored=P if self.step is pretraining else 0.0)
        return shape.product_flops(train=self.step is not encoder_forward, vocab_head=self.models is CAUSAL)


TASKS = {
    "encoder": Task(ENCODERS, encoder_training),
    "causal": Task(CAUSAL, causal_training),
    "forward": Task(ENCODERS, encoder_forward),
    "texts": Task(ENCODERS, texts_forward),
    "pretraining": Task(ENCODERS, pretraining),
    "fine_tuning": Task(ENCODERS, fine_tuning),
}


def _training_step(model: nn.Module, loss: Callable[[], Tensor], precision: str) -> Step:
    """Forward, backward and one AdamW step at this precision."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with matmul_setting(precision):
            with autocast(precision):
                value = loss()
            value.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def _forward_step(forward: Callable[[], object], precision: str) -> Step:
    """One forward pass without gradients."""

    def step() -> None:
        with matmul_setting(precision), torch.inference_mode(), autocast(precision):
            forward()

    return step


def _logits(output: object) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits
