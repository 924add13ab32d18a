"""What Hugging Face calls things: the configurations and weight names of BERT, DistilBERT and GPT-2.

Only dictionaries here, no weights; :mod:`companion.models.convert` moves those. Each family knows both directions.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from companion.config import TransformerConfig
from companion.errors import require

_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_THEIR_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}


class Family(NamedTuple):
    """One architecture.

    Attributes:
        prefix: stands before the names of the stack in a model with a head, and may be absent.
        fields: our configuration's field -> (their key, their default).
        fixed: what our configuration must say in this family.
        refused: settings of theirs that change the function, with the only value that we have.
        block: our names within a block -> theirs, without weight or bias.
        outside: the same for what stands outside the blocks.
        blocks: where block number i is, ours and theirs.
        decoder: our and their name of the output layer over the vocabulary.
        architectures: the classes that weights go back into, with and without a next-sentence head.
    """

    prefix: str
    fields: dict[str, tuple[str, Any]]
    fixed: dict[str, Any]
    refused: dict[str, Any]
    block: dict[str, str]
    outside: dict[str, str]
    blocks: tuple[str, str]
    decoder: tuple[str, str]
    architectures: tuple[str, str]


TOKEN, POSITION = "transformer.embedding.token", "transformer.embedding.position.table"
_BERT_FIXED = {"norm": "post", "position": "learned", "embed_norm": True, "scales_embedding": False, "bias": True}

FAMILIES = {
    "bert": Family(
        prefix="bert.",
        fields={
            "vocab_size": ("vocab_size", 30_522),
            "max_len": ("max_position_embeddings", 512),
            "d_model": ("hidden_size", 768),
            "n_layers": ("num_hidden_layers", 12),
            "n_heads": ("num_attention_heads", 12),
            "d_ff": ("intermediate_size", 3072),
            "dropout": ("hidden_dropout_prob", 0.1),
            "attention_dropout": ("attention_probs_dropout_prob", 0.1),
            "activation": ("hidden_act", "gelu"),
            "norm_eps": ("layer_norm_eps", 1e-12),
            "n_segments": ("type_vocab_size", 2),
            "init_std": ("initializer_range", 0.02),
            "tied_head": ("tie_word_embeddings", True),
        },
        fixed=_BERT_FIXED,
        refused={"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False},
        block={
            "attention.q_proj": "attention.self.query",
            "attention.k_proj": "attention.self.key",
            "attention.v_proj": "attention.self.value",
            "attention.out_proj": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "ffn.up_proj": "intermediate.dense",
            "ffn.down_proj": "output.dense",
            "ffn_norm": "output.LayerNorm",
        },
        outside={
            TOKEN: "embeddings.word_embeddings",
            POSITION: "embeddings.position_embeddings",
            "transformer.embedding.segment": "embeddings.token_type_embeddings",
            "transformer.embedding.norm": "embeddings.LayerNorm",
            "mlm_head.transform": "cls.predictions.transform.dense",
            "mlm_head.norm": "cls.predictions.transform.LayerNorm",
            "nsp_head.pooler": "pooler.dense",
            "nsp_head.output": "cls.seq_relationship",
        },
        blocks=("transformer.blocks", "encoder.layer"),
        decoder=("mlm_head.decoder", "cls.predictions.decoder"),
        architectures=("BertForPreTraining", "BertForMaskedLM"),
    ),
    "distilbert": Family(
        prefix="distilbert.",
        fields={
            "vocab_size": ("vocab_size", 30_522),
            "max_len": ("max_position_embeddings", 512),
            "d_model": ("dim", 768),
            "n_layers": ("n_layers", 6),
            "n_heads": ("n_heads", 12),
            "d_ff": ("hidden_dim", 3072),
            "dropout": ("dropout", 0.1),
            "attention_dropout": ("attention_dropout", 0.1),
            "activation": ("activation", "gelu"),
            "init_std": ("initializer_range", 0.02),
            "tied_head": ("tie_word_embeddings", True),
        },
        fixed={**_BERT_FIXED, "norm_eps": 1e-12, "n_segments": 0, "next_sentence": False},
        refused={},
        block={
            "attention.q_proj": "attention.q_lin",
            "attention.k_proj": "attention.k_lin",
            "attention.v_proj": "attention.v_lin",
            "attention.out_proj": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "ffn.up_proj": "ffn.lin1",
            "ffn.down_proj": "ffn.lin2",
            "ffn_norm": "output_layer_norm",
        },
        outside={
            TOKEN: "embeddings.word_embeddings",
            POSITION: "embeddings.position_embeddings",
            "transformer.embedding.norm": "embeddings.LayerNorm",
            "mlm_head.transform": "vocab_transform",
            "mlm_head.norm": "vocab_layer_norm",
        },
        blocks=("transformer.blocks", "transformer.layer"),
        decoder=("mlm_head.decoder", "vocab_projector"),
        architectures=("DistilBertForMaskedLM", "DistilBertForMaskedLM"),
    ),
    "gpt2": Family(
        prefix="transformer.",
        fields={
            "vocab_size": ("vocab_size", 50_257),
            "max_len": ("n_positions", 1024),
            "d_model": ("n_embd", 768),
            "n_layers": ("n_layer", 12),
            "n_heads": ("n_head", 12),
            "d_ff": ("n_inner", None),
            "dropout": ("resid_pdrop", 0.1),
            "attention_dropout": ("attn_pdrop", 0.1),
            "activation": ("activation_function", "gelu_new"),
            "norm_eps": ("layer_norm_epsilon", 1e-5),
            "init_std": ("initializer_range", 0.02),
            "tied_head": ("tie_word_embeddings", True),
        },
        fixed={
            "norm": "pre",
            "position": "learned",
            "embed_norm": False,
            "scales_embedding": False,
            "bias": True,
            "n_segments": 0,
        },
        refused={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
        },
        block={
            "attention_norm": "ln_1",
            "attention.q_proj": "attn.q",  # c_attn, taken apart: see convert
            "attention.k_proj": "attn.k",
            "attention.v_proj": "attn.v",
            "attention.out_proj": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn.up_proj": "mlp.c_fc",
            "ffn.down_proj": "mlp.c_proj",
        },
        outside={TOKEN: "wte", POSITION: "wpe", "transformer.norm": "ln_f"},
        blocks=("transformer.blocks", "h"),
        decoder=("lm_head", "lm_head"),
        architectures=("GPT2LMHeadModel", "GPT2LMHeadModel"),
    ),
}


def config_from(theirs: Mapping[str, Any], *, next_sentence: bool) -> TransformerConfig:
    """Our configuration for one of theirs, given as a dictionary (their ``config.json``)."""
    family = family_named(theirs.get("model_type"))
    for key, only in family.refused.items():
        got = theirs.get(key, only)
        require(
            got in (only, None), f"{key}={got!r} is not supported; only {key}={only!r} is the same function as ours"
        )
    values = {field: theirs.get(key, default) for field, (key, default) in family.fields.items()}
    if values["d_ff"] is None:
        values["d_ff"] = 4 * values["d_model"]
    activation = values["activation"]
    require(activation in _ACTIVATIONS, f"activation {activation!r} is not supported; only {sorted(_ACTIVATIONS)} are")
    values["activation"] = _ACTIVATIONS[activation]
    embedding_dropout = theirs.get("embd_pdrop", values["dropout"])
    require(
        embedding_dropout == values["dropout"],
        f"embd_pdrop={embedding_dropout} and resid_pdrop={values['dropout']} differ; ours are one: set them equal",
    )
    fixed = {**family.fixed, "embed_scale": False}
    del fixed["scales_embedding"]
    return TransformerConfig(**{"next_sentence": next_sentence, **values, **fixed})


def config_to(config: TransformerConfig, model_type: str) -> dict[str, Any]:
    """Keyword arguments of their configuration class for one of ours."""
    family = FAMILIES[model_type]
    wrong = {key: getattr(config, key) for key, value in family.fixed.items() if getattr(config, key) != value}
    require(
        not wrong,
        f"{model_type} cannot express {wrong}: there, { ({key: family.fixed[key] for key in wrong}) }; "
        "only models of that shape can be handed over",
    )
    values = {key: getattr(config, field) for field, (key, _) in family.fields.items()}
    values[family.fields["attention_dropout"][0]] = config.weight_dropout
    values[family.fields["activation"][0]] = _THEIR_ACTIVATIONS[config.activation]
    if model_type == "gpt2":
        values["embd_pdrop"] = config.dropout
    return values


def family_named(model_type: str | None) -> Family:
    """The family of this ``model_type``."""
    require(
        model_type in FAMILIES, f"model_type={model_type!r} is not supported; only {list(FAMILIES)} can be converted"
    )
    return FAMILIES[str(model_type)]


def weight_names(config: TransformerConfig, model_type: str) -> dict[str, str]:
    """Our name -> theirs, for every weight that is not shared with another; theirs without the prefix."""
    family = FAMILIES[model_type]
    pairs = dict(family.outside)
    ours, theirs = family.blocks
    for i in range(config.n_layers):
        pairs.update({f"{ours}.{i}.{a}": f"{theirs}.{i}.{b}" for a, b in family.block.items()})
    pairs = {a: b for a, b in pairs.items() if _present(a, config)}
    names = {f"{a}.weight": f"{b}.weight" for a, b in pairs.items()}
    embeddings = (TOKEN, POSITION, "transformer.embedding.segment")
    names |= {f"{a}.bias": f"{b}.bias" for a, b in pairs.items() if a not in embeddings}
    ours, theirs = family.decoder
    if not config.tied_head:
        names[f"{ours}.weight"] = f"{theirs}.weight"
    if model_type != "gpt2":
        names[f"{ours}.bias"] = f"{theirs}.bias"
    return names


def _present(name: str, config: TransformerConfig) -> bool:
    if name.startswith("nsp_head"):
        return config.next_sentence
    return config.n_segments > 0 or not name.endswith("embedding.segment")
