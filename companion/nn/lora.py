r"""LoRA, low-rank adaptation (Hu et al. 2021): a pretrained matrix stays as it is, and a thin one beside it learns.

Fine-tuning changes a weight matrix W by some ΔW. LoRA writes ``ΔW = (alpha / r) B A`` with B (O, R) and A (R, I), and
trains only these: R (O + I) numbers instead of O I. Afterwards ``W + ΔW`` is one matrix again, so that the model costs
what it cost before.

Letters in the shapes: R rank, I and O the widths that go in and come out.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.config import LoRAConfig
from companion.errors import require


class LoRALinear(nn.Linear):
    r"""A linear layer with an adapter: ``y = W x + b + (alpha / r) B A x`` (Hu et al. 2021, equation 3).

    W and b are those of the layer that it stands for, under the same names, and frozen. A is drawn from N(0, 1/I), so
    that ``A x`` is about as large as x; B is zero, so that training starts from the very function that was pretrained.

    Args:
        linear: the layer that it stands for; shares its tensors, and freezes them.
        rank: R, at most the smaller of I and O.
        alpha: how much the adapter counts: with another rank and the same alpha, ΔW starts to grow at a like pace.
        generator: where A is drawn from.

    Raises:
        ValueError: the rank is larger than that of any matrix of this shape.

    >>> layer = LoRALinear(nn.Linear(6, 4), rank=2, alpha=4.0)
    >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters() if p.requires_grad]
    [('lora_a', (2, 6)), ('lora_b', (4, 2))]
    """

    def __init__(
        self, linear: nn.Linear, *, rank: int = 8, alpha: float = 16.0, generator: torch.Generator | None = None
    ) -> None:
        nn.Module.__init__(self)  # not Linear's own: it would draw a weight that is thrown away
        config = LoRAConfig(rank=rank, alpha=alpha)
        _require_rank("the layer", linear, rank)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.requires_grad_(False)
        self.rank, self.alpha = rank, config.alpha
        like: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device}
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features, **like))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, **like))
        nn.init.normal_(self.lora_a, std=self.in_features**-0.5, generator=generator)

    @property
    def delta(self) -> Tensor:
        """What the adapter adds to the weight, ``(alpha / r) B A``: (O, I)."""
        delta: Tensor = self.alpha / self.rank * (self.lora_b @ self.lora_a)  # (O, I)
        return delta

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., I) to (..., O)."""
        thin = F.linear(x, self.lora_a)  # (..., R)
        added = F.linear(thin, self.lora_b)  # (..., O)
        output = F.linear(x, self.weight, self.bias) + self.alpha / self.rank * added  # (..., O)
        return output

    def merged(self) -> nn.Linear:
        """The plain layer with the weight ``W + ΔW``; it takes over the tensors of this one, which is done with."""
        with torch.no_grad():
            self.weight += self.delta
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight, plain.bias = self.weight, self.bias
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"{super().extra_repr()}, rank={self.rank}, alpha={self.alpha:g}"


def add_lora(
    model: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    generator: torch.Generator | None = None,
) -> list[str]:
    """Freeze the model, and give the linear layers that are named an adapter, which alone is trained.

    The function that the model computes stays the same until the first update. A new head must be told to train:
    ``model.head.requires_grad_()``.

    Args:
        model: changed in place.
        rank: R.
        alpha: see :class:`LoRALinear`.
        targets: the ends of their names: ``"q_proj"`` is that of every block, ``"blocks.0.attention.q_proj"`` one. By
            default those of queries and values, the paper's choice (section 7.1).
        generator: where the matrices A are drawn from; None = torch's own.

    Returns:
        The names of the layers, in the order of the model.

    Raises:
        ValueError: a target that names no linear layer (it says which there are), one that has an adapter already, one
            whose weight another layer shares, such as a head tied to the embedding, or one too small for the rank, such
            as a head with few classes. The model is as it was.

    >>> from companion import BERT, TransformerConfig
    >>> model = BERT(TransformerConfig(vocab_size=9, d_model=8, n_layers=1))
    >>> add_lora(model, rank=2)
    ['transformer.blocks.0.attention.q_proj', 'transformer.blocks.0.attention.v_proj']
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad)  # 2 layers, 2 (8 + 8) each
    64
    """
    config = LoRAConfig(rank=rank, alpha=alpha, targets=targets)  # type: ignore[arg-type]
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    ends = sorted({name.rpartition(".")[2] for name in linear})
    for target in config.targets:
        require(any(_ends(name, target) for name in linear), f"no linear layer is named {target!r}; there are {ends}")
    chosen = {name: module for name, module in linear.items() if any(_ends(name, t) for t in config.targets)}
    _require_plain(model, chosen)
    for name, module in chosen.items():  # all of them, before the first adapter freezes what it stands for
        _require_rank(name, module, rank)
    adapters = {
        name: LoRALinear(module, rank=rank, alpha=alpha, generator=generator) for name, module in chosen.items()
    }
    model.requires_grad_(False)
    for name, adapter in adapters.items():
        model.set_submodule(name, adapter.train(chosen[name].training))
    return list(chosen)


def merge_lora(model: nn.Module) -> list[str]:
    """Put ``W + ΔW`` in the place of every adapter; the names of the layers.

    The model computes what it computed, at its old cost, and has its old names again. What was frozen stays frozen;
    ``model.requires_grad_()`` trains everything.

    Raises:
        ValueError: the model has no adapter.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> add_lora(model, rank=1, targets=["2"])
    ['2']
    >>> merge_lora(model), model[2]
    (['2'], Linear(in_features=4, out_features=2, bias=True))
    """
    adapters = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    require(bool(adapters), f"{type(model).__name__} has no adapter to merge; add_lora puts them in")
    for name, adapter in adapters.items():
        model.set_submodule(name, adapter.merged())
    return list(adapters)


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _require_rank(name: str, linear: nn.Linear, rank: int) -> None:
    """That a matrix of the layer's shape can have this rank."""
    most = min(linear.out_features, linear.in_features)
    require(
        rank <= most,
        f"rank={rank}, but the matrix of {name}, {linear.out_features} x {linear.in_features}, has at most rank "
        f"{most}; choose a rank far below {most}, or leave the layer as it is",
    )


def _require_plain(model: nn.Module, chosen: dict[str, nn.Linear]) -> None:
    """That none of the layers has an adapter, and none shares its weight."""
    twice = [name for name, module in chosen.items() if isinstance(module, LoRALinear)]
    require(not twice, f"{twice} have an adapter already; merge_lora first")
    require("" not in chosen, f"a {type(model).__name__} alone cannot be replaced in place; use LoRALinear(layer)")
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for name, module in chosen.items():
        others = [owner for owner in owners[id(module.weight)] if owner != f"{name}.weight"]
        require(not others, f"{name} shares its weight with {others}, which merging would change too; leave it out")
