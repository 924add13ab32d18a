"""LoRA: the same function at the start, only A and B learn, and merged equals unmerged."""

import copy

import pytest
import torch
from torch import nn

from companion import BERT, LoRAConfig, TransformerClassifier, TransformerConfig, add_lora, length_mask, merge_lora
from companion.nn.lora import LoRALinear

B, T, V, D, F, C = 3, 6, 11, 12, 20, 4
IDS = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(0))
PADDING = length_mask(torch.tensor([T, 4, 1]))


def classifier(**changes) -> TransformerClassifier:
    torch.manual_seed(0)
    shape = {"vocab_size": V, "max_len": 10, "d_model": D, "n_heads": 3, "d_ff": F, "init_std": 0.4, "dropout": 0.0}
    return TransformerClassifier(TransformerConfig(**{**shape, **changes}), C).double().eval()


def moved(model: nn.Module) -> nn.Module:
    """The model with adapters as if after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, LoRALinear):
                layer.lora_b.normal_(generator=generator)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    return model(IDS, padding=PADDING)


def test_the_adapter_is_the_equation():
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(5, 7).double(), rank=2, alpha=3.0)
    nn.init.normal_(layer.lora_b)
    x = torch.randn(4, 5, dtype=torch.float64)
    expected = x @ (layer.weight + 3.0 / 2 * layer.lora_b @ layer.lora_a).mT + layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    assert layer.lora_a.dtype == torch.float64 and layer.lora_a.shape == (2, 5) and layer.lora_b.shape == (7, 2)


def test_the_function_stays_as_it_was_until_the_first_update():
    model = classifier()
    before = logits(model)
    names = add_lora(model, rank=2)
    assert names == [f"transformer.blocks.{i}.attention.{p}_proj" for i in (0, 1) for p in "qv"]
    assert torch.equal(logits(model), before)
    assert not torch.equal(logits(moved(model)), before)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("up_proj", "down_proj", "out_proj", "k_proj", "head")])
@pytest.mark.parametrize("bias", [True, False])
def test_merged_equals_unmerged(targets, bias):
    model = classifier(bias=bias)
    plain_names = list(model.state_dict())
    names = add_lora(model, rank=3, alpha=5.0, targets=targets)
    expected = logits(moved(model))
    assert merge_lora(model) == names
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-12)
    assert list(model.state_dict()) == plain_names
    assert all(type(model.get_submodule(name)) is nn.Linear for name in names)


def test_only_a_and_b_get_a_gradient_and_the_first_update_moves_b():
    model = classifier().train()
    names = add_lora(model, rank=2)
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    logits(model).square().sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {f"{name}.lora_{letter}" for name in names for letter in "ab"}
    for name in names:
        layer = model.get_submodule(name)
        assert layer.lora_a.grad.abs().max() == 0 and layer.lora_b.grad.abs().max() > 0  # since B = 0
    optimizer.step()
    assert all(torch.equal(model.get_parameter(name), value) for name, value in frozen.items())
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 4 * 2 * (D + D)


def test_gradients_are_those_of_the_full_matrix():
    """dL/dB = s G Aᵀ and dL/dA = s Bᵀ G, with G the gradient that the whole matrix would get."""
    model = classifier().train()
    twin = copy.deepcopy(model)
    add_lora(model, rank=2, alpha=3.0, targets=["blocks.0.ffn.up_proj"])
    layer = moved(model).transformer.blocks[0].ffn.up_proj
    with torch.no_grad():
        twin.transformer.blocks[0].ffn.up_proj.weight += layer.delta
    logits(model).square().sum().backward()
    logits(twin).square().sum().backward()
    full = twin.transformer.blocks[0].ffn.up_proj.weight.grad
    torch.testing.assert_close(layer.lora_b.grad, 1.5 * full @ layer.lora_a.mT, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.lora_a.grad, 1.5 * layer.lora_b.mT @ full, rtol=1e-10, atol=1e-12)


def test_state_dict_round_trip_and_deep_copy():
    model, twin = classifier(), classifier()
    for m in (model, twin):
        add_lora(m, rank=2)
    expected = logits(moved(model))
    assert not torch.equal(logits(twin), expected)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(logits(twin), expected)
    assert torch.equal(logits(copy.deepcopy(model)), expected)
    plain = {name for name in model.state_dict() if "lora_" not in name}
    assert plain == set(classifier().state_dict())  # the old names are all there


def test_training_packs_nothing_that_has_an_adapter():
    """Attention may join q, k and v into one product; with an adapter the result must be that of the three."""
    torch.manual_seed(0)
    model = classifier()
    add_lora(model, rank=2)
    ids = IDS.repeat(1, 1)[:, :5].repeat(20, 1)  # enough tokens for one product
    trained = moved(model)(ids)
    with torch.no_grad():
        assert torch.allclose(trained, model(ids), rtol=0, atol=1e-12)


def test_the_generator_decides():
    drawn = []
    for seed in (0, 0, 1):
        model = classifier()
        name = add_lora(model, rank=2, generator=torch.Generator().manual_seed(seed))[0]
        drawn.append(model.get_submodule(name).lora_a)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_the_size_of_a_keeps_that_of_x():
    layer = LoRALinear(nn.Linear(1000, 50), rank=40, generator=torch.Generator().manual_seed(0))
    x = torch.randn(200, 1000, generator=torch.Generator().manual_seed(1))
    assert 0.9 < (x @ layer.lora_a.mT).std().item() < 1.1


def test_what_cannot_be_adapted_is_named_and_nothing_is_changed():
    model = classifier()
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    assert all(before.values())
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    for keywords, words in (
        ({"targets": ["q_proj", "w_q"]}, r"no linear layer is named 'w_q'; there are \['down_proj', 'head', "),
        ({"targets": ["proj"]}, "no linear layer is named 'proj'"),  # whole names only
        ({"targets": "q_proj"}, "targets='q_proj' must be a list of names"),
        ({"targets": []}, "must be a list of names"),
        ({"rank": 0}, "rank=0 must be a whole number of at least 1"),
        ({"rank": D + 1}, rf"rank=13, but the matrix of \S+q_proj, {D} x {D}, has at most rank {D}"),
        # all of the chosen layers are looked at, not only those before the first that cannot be adapted
        ({"rank": C + 1, "targets": ["q_proj", "head"]}, f"rank=5, but the matrix of head, {C} x {D}, has at"),
        ({"alpha": 0.0}, "alpha=0.0 must be a finite number greater than 0"),
    ):
        with pytest.raises(ValueError, match=words):
            add_lora(model, generator=generator, **keywords)
        assert {name: p.requires_grad for name, p in model.named_parameters()} == before, words
    assert torch.equal(generator.get_state(), state)
    assert not any(isinstance(m, LoRALinear) for m in model.modules())
    with pytest.raises(ValueError, match="has no adapter to merge"):
        merge_lora(model)
    with pytest.raises(ValueError, match=r"use LoRALinear\(layer\)"):
        add_lora(nn.Linear(3, 3), rank=1, targets=[""])


def test_an_adapter_beside_an_adapter_or_on_a_shared_weight_is_refused():
    model = classifier()
    add_lora(model, rank=2)
    with pytest.raises(ValueError, match=r"attention\.q_proj.* have an adapter already; merge_lora first"):
        add_lora(model, rank=2)
    bert = BERT(TransformerConfig(vocab_size=V, d_model=D, n_heads=3))
    with pytest.raises(ValueError, match=r"decoder shares its weight with \['transformer\.embedding\.token\.weight'\]"):
        add_lora(bert, rank=2, targets=["decoder"])


def test_the_configuration_makes_the_round_trip():
    config = LoRAConfig(rank=4, targets=["q_proj"])
    assert LoRAConfig.from_dict(config.to_dict()) == config and config.targets == ("q_proj",)
