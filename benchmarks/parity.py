"""The same function as PyTorch's and Hugging Face's models: outputs and gradients, in float64, from tiny to full size.

    python -m benchmarks.parity

writes book/results/parity.json, one cell (model, shape) after the other. It goes on where it was interrupted; move the
file away to begin anew. The weights are random, the same on both sides; biases and the gains of LayerNorm are moved
from their start, 0 and 1, so that one that is forgotten shows. The largest shapes need about 8 GB of memory.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from companion import GPT, Transformer, TransformerConfig, from_huggingface, length_mask, to_huggingface
from companion.experiments.results import Record

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "parity.json"
SHAPES = {  # layers, heads, width, inner width, words; batch and lengths of its texts
    "tiny": {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_ff": 20, "vocab_size": 23, "lengths": [7, 4, 1]},
    "book": {"n_layers": 4, "n_heads": 4, "d_model": 128, "d_ff": 512, "vocab_size": 8192, "lengths": [64, 40, 17]},
    "base": {"n_layers": 12, "n_heads": 12, "d_model": 768, "d_ff": 3072, "vocab_size": 30_522, "lengths": [16, 9]},
}
CONFIG = {"dtype": "float64", "seed": 0, "shapes": SHAPES}


class Pair(NamedTuple):
    """One function twice: the outputs of both at the real tokens, and both gradients under the same names."""

    ours: nn.Module
    outputs: tuple[Tensor, Tensor]
    gradients: tuple[dict[str, Tensor], dict[str, Tensor]]


def disturbed(model: nn.Module) -> nn.Module:
    """Float64, evaluation mode, and no bias at 0 or gain at 1."""
    generator = torch.Generator().manual_seed(CONFIG["seed"])
    for p in model.double().parameters():
        if p.dim() == 1:
            p.data += 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return model.eval()


def texts(shape: dict, segments: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Ids (B, T), which of them are real, and token types."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor(shape["lengths"])
    size = (len(lengths), int(lengths.max()))
    # Without 0, which Hugging Face's BERT leaves out of the embedding's gradient.
    ids = torch.randint(1, shape["vocab_size"], size, generator=generator)
    types = torch.randint(0, segments, size, generator=generator) if segments else None
    return ids, length_mask(lengths), types


def backward(outputs: Tensor) -> None:
    """Gradients of a sum in which every output counts differently."""
    (outputs * torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)).sum().backward()


def holding_gradients(model: nn.Module) -> nn.Module:
    """A copy whose weights are the gradients: what converts weights converts gradients, since it only moves numbers."""
    held = copy.deepcopy(model)
    for kept, p in zip(held.parameters(), model.parameters(), strict=True):
        kept.data = p.grad
    return held


def with_huggingface(kind: str, shape: dict) -> Pair:
    """BERT with both heads and token types, DistilBERT or GPT-2, on padded texts."""
    import transformers

    family = kind.removesuffix("ForPreTraining").removesuffix("ForMaskedLM").removesuffix("LMHeadModel")
    longest = max(shape["lengths"])
    names = {"n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "d_model": "hidden_size"}
    if family == "GPT2":
        own = {"n_inner": shape["d_ff"], "n_positions": longest, "bos_token_id": 0, "eos_token_id": 0}
    elif family == "Bert":
        own = {"intermediate_size": shape["d_ff"], "max_position_embeddings": longest}
    else:
        own = {"hidden_dim": shape["d_ff"], "max_position_embeddings": longest}
    own |= {theirs: shape[name] for name, theirs in names.items()} | {"vocab_size": shape["vocab_size"]}
    config = getattr(transformers, f"{family}Config")(initializer_range=shape["d_model"] ** -0.5, **own)
    torch.manual_seed(CONFIG["seed"])
    theirs = disturbed(getattr(transformers, kind)(config))
    ours = from_huggingface(theirs)

    ids, real, types = texts(shape, 2 if family == "Bert" else 0)
    extra = {} if types is None else {"token_type_ids": types}
    answer = theirs(ids, attention_mask=real.long(), output_hidden_states=True, **extra)
    expected = [answer.hidden_states[-1][real]]
    if isinstance(ours, GPT):
        expected += [answer.logits[real]]
        got = [ours.encode(ids, padding=real)[real], ours(ids, padding=real)[real]]
    else:
        output = ours(ids, padding=real, segments=types)
        got = [ours.encode(ids, padding=real, segments=types)[real], output.mlm_logits[real]]
        if output.nsp_logits is None:
            expected += [answer.logits[real]]
        else:
            expected += [answer.prediction_logits[real], answer.seq_relationship_logits]
            got += [output.nsp_logits]
    joined = [torch.cat([part.flatten() for part in parts]) for parts in (got, expected)]
    for outputs in joined:
        backward(outputs)
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    our_gradients = {name: p.data for name, p in to_huggingface(holding_gradients(ours)).named_parameters()}
    return Pair(ours, (joined[0], joined[1]), (our_gradients, their_gradients))


def as_torch_encoder(stack: Transformer) -> nn.TransformerEncoder:
    """PyTorch's encoder with the weights of our stack."""
    c = stack.config
    layer = nn.TransformerEncoderLayer(
        c.d_model,
        c.n_heads,
        c.d_ff,
        dropout=0.0,
        activation=c.activation,
        layer_norm_eps=c.norm_eps,
        batch_first=True,
        norm_first=c.norm == "pre",
    )
    last = nn.LayerNorm(c.d_model, c.norm_eps) if stack.norm is not None else None
    theirs = nn.TransformerEncoder(layer, c.n_layers, norm=last, enable_nested_tensor=False).double().eval()
    for block, their in zip(stack.blocks, theirs.layers, strict=True):
        attention = block.attention
        for kind in ("weight", "bias"):
            parts = [getattr(p, kind).data for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
            getattr(their.self_attn, f"in_proj_{kind}").data = torch.cat(parts)
        for mine, other in (
            (attention.out_proj, their.self_attn.out_proj),
            (block.ffn.up_proj, their.linear1),
            (block.ffn.down_proj, their.linear2),
            (block.attention_norm, their.norm1),
            (block.ffn_norm, their.norm2),
        ):
            other.load_state_dict(mine.state_dict())
    if last is not None and stack.norm is not None:
        last.load_state_dict(stack.norm.state_dict())
    return theirs


def with_torch(norm: str, causal: bool, shape: dict) -> Pair:
    """``nn.TransformerEncoder`` behind our embedding, on padded texts."""
    fields = {name: value for name, value in shape.items() if name != "lengths"}
    fields |= {"norm": norm, "position": "none", "max_len": max(shape["lengths"]), "dropout": 0.0}
    torch.manual_seed(CONFIG["seed"])
    config = TransformerConfig(init_std=shape["d_model"] ** -0.5, **fields)
    ours = disturbed(Transformer(config, causal=causal))
    theirs = as_torch_encoder(ours)

    ids, real, _ = texts(shape, 0)
    T = ids.size(1)
    later = torch.ones(T, T, dtype=torch.bool).triu(1) if causal else None
    x = ours.embedding(ids).detach()
    outputs = ours(ids, padding=real)[real], theirs(x, mask=later, src_key_padding_mask=~real)[real]
    for output in outputs:
        backward(output)
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    ours.embedding.requires_grad_(False)
    for p in ours.embedding.parameters():  # theirs begins behind the embedding
        p.grad = torch.zeros_like(p)
    our_gradients = {name: p.data for name, p in as_torch_encoder(holding_gradients(ours)).named_parameters()}
    return Pair(ours, outputs, (our_gradients, their_gradients))


MODELS = {
    "nn.TransformerEncoder, post-norm": lambda shape: with_torch("post", False, shape),
    "nn.TransformerEncoder, pre-norm, causal": lambda shape: with_torch("pre", True, shape),
    "Hugging Face BERT": lambda shape: with_huggingface("BertForPreTraining", shape),
    "Hugging Face DistilBERT": lambda shape: with_huggingface("DistilBertForMaskedLM", shape),
    "Hugging Face GPT-2": lambda shape: with_huggingface("GPT2LMHeadModel", shape),
}


def compared(pair: Pair) -> dict[str, float]:
    """Largest differences, and beside them the largest values: a difference alone says nothing."""
    got, expected = pair.outputs
    ours, theirs = pair.gradients
    if ours.keys() != theirs.keys():
        raise ValueError(f"gradients under different names: {sorted(ours.keys() ^ theirs.keys())}")
    return {
        "parameters": sum(p.numel() for p in pair.ours.parameters()),
        "largest_output": float(expected.detach().abs().max()),
        "output_difference": float((got - expected).detach().abs().max()),
        "largest_gradient": max(float(g.abs().max()) for g in theirs.values()),
        "gradient_difference": max(float((ours[name] - theirs[name]).abs().max()) for name in theirs),
    }


def main() -> None:
    """Record what is missing."""
    record = Record(RESULT, command="python -m benchmarks.parity", config=CONFIG)
    for shape, model in tqdm([(shape, model) for shape in SHAPES for model in MODELS]):
        if not record.has(model=model, shape=shape):
            record.add({"model": model, "shape": shape}, compared(MODELS[model](SHAPES[shape])))


if __name__ == "__main__":
    main()
