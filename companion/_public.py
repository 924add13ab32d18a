"""The public names of the package, and where they stand; :mod:`companion` hands them on."""

from companion.config import LoRAConfig, TrainConfig, TransformerConfig
from companion.data.imdb import load_imdb
from companion.data.mini_reviews import mini_reviews
from companion.data.pairs import sentence_pairs
from companion.data.tokenizer import load_tokenizer
from companion.data.transforms import mask_tokens, pack_blocks
from companion.models.bert import BERT, BERTOutput
from companion.models.classifier import TransformerClassifier
from companion.models.convert import from_huggingface, to_huggingface
from companion.models.gpt import GPT
from companion.models.pretrained import load_pretrained
from companion.models.text_classifier import TextClassifier, load_classifier
from companion.nn.attention import MultiHeadAttention, attention, attention_weights, record_attention
from companion.nn.lora import add_lora, merge_lora
from companion.nn.losses import IGNORE, chunked_cross_entropy, next_token_loss, token_cross_entropy
from companion.nn.masks import causal_mask, length_mask
from companion.nn.positional import alibi_slopes, apply_rope, rope_angles, sinusoidal_table
from companion.nn.transformer import FeedForward, Transformer, TransformerBlock
from companion.training.checkpoint import load_checkpoint, save_checkpoint
from companion.training.loop import Trainer

__all__ = [
    "BERT",
    "GPT",
    "IGNORE",
    "BERTOutput",
    "FeedForward",
    "LoRAConfig",
    "MultiHeadAttention",
    "TextClassifier",
    "TrainConfig",
    "Trainer",
    "Transformer",
    "TransformerBlock",
    "TransformerClassifier",
    "TransformerConfig",
    "add_lora",
    "alibi_slopes",
    "apply_rope",
    "attention",
    "attention_weights",
    "causal_mask",
    "chunked_cross_entropy",
    "from_huggingface",
    "length_mask",
    "load_checkpoint",
    "load_classifier",
    "load_imdb",
    "load_pretrained",
    "load_tokenizer",
    "mask_tokens",
    "merge_lora",
    "mini_reviews",
    "next_token_loss",
    "pack_blocks",
    "record_attention",
    "rope_angles",
    "save_checkpoint",
    "sentence_pairs",
    "sinusoidal_table",
    "to_huggingface",
    "token_cross_entropy",
]
