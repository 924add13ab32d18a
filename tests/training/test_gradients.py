"""Accumulated gradients are exactly those of one big batch; averages of averages are not. AdamW's groups."""

import dataclasses

import pytest
import torch
from tiny_training import T, mlm_batch, tiny_model
from torch import nn

from companion import GPT, TrainConfig, TransformerConfig
from companion.data.stream import Batch
from companion.training.gradients import SummedLosses, accumulate_gradients, count_targets
from companion.training.objectives import MaskedLanguageModeling
from companion.training.optimizer import adamw, decay_groups

OBJECTIVE = MaskedLanguageModeling(chunk=4)


def joined(batches: list[Batch]) -> Batch:
    """One big batch."""
    return Batch(
        **{
            f.name: torch.cat([getattr(b, f.name) for b in batches])
            for f in dataclasses.fields(Batch)
            if getattr(batches[0], f.name) is not None
        }
    )


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def accumulated(batches: list[Batch], average_of_averages: bool = False):
    model = tiny_model(dropout=0.0).double()
    losses = SummedLosses(model, OBJECTIVE)
    if average_of_averages:  # what most loops do
        for batch in batches:
            terms = OBJECTIVE(model, batch)
            (sum(term.mean for term in terms.values()) / len(batches)).backward()
        return gradients(model), {}
    means = accumulate_gradients(losses, batches, count_targets(OBJECTIVE, batches))
    return gradients(model), {name: mean.item() for name, mean in means.items()}


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Of two gradients, relative to the second."""
    flat = [torch.cat([g.flatten() for g in grads.values()]) for grads in (a, b)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def test_uneven_micro_batches_give_the_gradient_of_one_big_batch():
    batches = [mlm_batch(1, 2), mlm_batch(2, 5), mlm_batch(3, 3)]
    assert len({OBJECTIVE.counts(batch)["mlm"] for batch in batches}) == 3  # uneven
    big, big_means = accumulated([joined(batches)])
    parts, means = accumulated(batches)
    assert distance(parts, big) < 1e-12
    assert means == pytest.approx(big_means, rel=1e-12) and set(means) == {"mlm", "nsp"}
    for name in big:
        torch.testing.assert_close(parts[name], big[name], rtol=1e-12, atol=1e-12)


def test_averages_of_averages_are_another_gradient():
    batches = [mlm_batch(1, 2), mlm_batch(2, 5), mlm_batch(3, 3)]
    big, _ = accumulated([joined(batches)])
    wrong, _ = accumulated(batches, average_of_averages=True)
    assert distance(wrong, big) > 0.05


def test_targets_and_tokens_are_counted_over_all_batches():
    batches = [mlm_batch(1, 2), mlm_batch(2, 5, padded=False)]
    counts = count_targets(OBJECTIVE, batches)
    assert counts["nsp"] == 7 and counts["tokens"] == int(batches[0].padding.sum()) + 5 * T
    assert counts["mlm"] == sum(int((batch.labels != -100).sum()) for batch in batches)


def test_only_the_last_micro_batch_exchanges_gradients():
    entered: list[str] = []

    class Quiet:
        def __enter__(self):
            entered.append("quiet")

        def __exit__(self, *_):
            entered.append("end")

    batches = [mlm_batch(i) for i in range(3)]

    def losses(batch):
        entered.append("forward")
        return OBJECTIVE(model, batch)

    model = tiny_model()
    accumulate_gradients(losses, batches, count_targets(OBJECTIVE, batches), unsynchronized=Quiet)
    assert entered == ["quiet", "forward", "end", "quiet", "forward", "end", "forward"]


def named_groups(model: nn.Module) -> tuple[set[str], set[str]]:
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, others = decay_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    return tuple({names[id(p)] for p in group["params"]} for group in (decayed, others))


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_matrices_of_linear_layers_decay(tied):
    model = tiny_model(tied_head=tied, position="learned", embed_norm=True)
    decayed, others = named_groups(model)
    assert decayed | others == {name for name, _ in model.named_parameters()} and not decayed & others
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert decayed == (linear - {"mlm_head.decoder.weight"} if tied else linear)
    for part in ("embedding.token", "embedding.segment", "embedding.position", "norm", "bias"):
        assert any(part in name for name in others) and not any(part in name for name in decayed)


def test_frozen_parameters_are_left_out():
    model = tiny_model()
    model.transformer.requires_grad_(False)
    decayed, others = named_groups(model)
    assert all("transformer" not in name or "mlm_head.transform" in name for name in decayed | others)
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        decay_groups(model.requires_grad_(False), 0.1)


def test_adamw_is_the_algorithm_of_the_paper():
    config = TrainConfig(max_steps=5, peak_lr=0.02, weight_decay=0.3, betas=(0.8, 0.95), eps=1e-4)
    model = GPT(TransformerConfig(vocab_size=11, d_model=8, d_ff=16)).double()
    optimizer = adamw(model, config)
    assert optimizer.defaults["fused"]
    theta = model.transformer.blocks[0].ffn.up_proj.weight
    mine, m, v = theta.detach().clone(), 0.0, 0.0
    for t in range(1, 4):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        m, v = 0.8 * m + 0.2 * theta.grad, 0.95 * v + 0.05 * theta.grad**2
        step = (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-4)
        mine -= 0.02 * (step + 0.3 * mine)
        optimizer.step()
        torch.testing.assert_close(theta.detach(), mine, rtol=1e-12, atol=1e-14)
