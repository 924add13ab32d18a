"""Whole training steps on texts as long as IMDB's, as their users take them: batches made, padded or not, masked,
forward, backward, clipping, update.

One call of a step goes through all the texts once. Everybody clips the gradient and uses PyTorch's fused AdamW.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.contenders import ENCODERS, NNEncoder, Shape, hf_masked, to_config
from benchmarks.harness import autocast, matmul_setting
from benchmarks.lengths import imdb_lengths
from companion import BERT, TrainConfig, Trainer, TransformerClassifier, length_mask, mask_tokens
from companion.data.corpus import TokenCorpus
from companion.data.sources import classification_stream, mlm_stream
from companion.data.tokenizer import special_ids
from companion.training.objectives import Classification, MaskedLanguageModeling

if TYPE_CHECKING:
    from tokenizers import Tokenizer

N_TEXTS = 64
P = 0.15
CLS, SEP, MASK = 2, 3, 4
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Texts = list[list[int]]
Loss = Callable[[nn.Module], Tensor]


def text_lengths(shape: Shape) -> Tensor:
    """(n,): tokens of each text, those of [CLS] and [SEP] too; together they fill blocks of ``shape.length``."""
    lengths = imdb_lengths(N_TEXTS, longest=shape.length)
    while over := int(lengths.sum()) % shape.length:
        lengths[lengths.argmax()] -= min(over, max(1, shape.length // 16))
    return lengths


def needed_flops(shape: Shape, *, scored: float) -> float:
    """Operations of the matrix products that one pass over the texts needs: no padding, no logit without a label.

    Args:
        shape: of the model.
        scored: share of the tokens that are predicted out of the vocabulary.
    """
    one = replace(shape, batch=1)
    blocks = sum(
        replace(one, length=n).product_flops(train=True, vocab_head=False) for n in text_lengths(shape).tolist()
    )
    return blocks + 3 * scored * 2 * int(text_lengths(shape).sum()) * shape.d_model * shape.vocab_size


def _texts(shape: Shape) -> Texts:
    """Random ids between [CLS] and [SEP]."""
    generator = torch.Generator().manual_seed(0)
    first = len(_SPECIAL)
    return [
        [CLS, *torch.randint(first, shape.vocab_size, (n - 2,), generator=generator).tolist(), SEP]
        for n in text_lengths(shape).tolist()
    ]


def _tokenizer(vocab_size: int) -> "Tokenizer":
    """Its words are numbers: id 17 is the word "17"."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = [*_SPECIAL, *map(str, range(len(_SPECIAL), vocab_size))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return tokenizer


def _shuffled(texts: Texts, size: int, *, by_length: bool = False) -> Iterator[Texts]:
    """The texts of each batch, in a new order in each call."""
    order = torch.randperm(len(texts)).tolist()
    if by_length:
        order.sort(key=lambda i: len(texts[i]))
    for start in range(0, len(order), size):
        yield [texts[i] for i in order[start : start + size]]


def _padded(texts: Texts, length: int | None) -> tuple[Tensor, Tensor]:
    """Ids and padding (B, T), True = real token; ``length=None``: as long as the longest."""
    padding = length_mask(torch.tensor([len(ids) for ids in texts]), length)
    ids = torch.zeros(padding.shape, dtype=torch.int64)
    ids[padding] = torch.tensor([i for text in texts for i in text])
    return ids, padding


class NNMasked(NNEncoder):
    """``nn.TransformerEncoder`` under a linear layer over the vocabulary, at every position."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.head = nn.Linear(shape.d_model, shape.vocab_size)

    def forward(self, ids: Tensor, padding: Tensor | None = None) -> Tensor:
        """Logits (B, T, V)."""
        mask = None if padding is None else ~padding
        return self.head(self.encoder(self.embed(ids), src_key_padding_mask=mask))


def pretraining(name: str, shape: Shape, precision: str) -> Callable[[], object]:
    """Masked language modeling, 15 % of the tokens."""
    torch.manual_seed(0)
    texts, tokenizer = _texts(shape), _tokenizer(shape.vocab_size)
    if name == "companion":
        corpus = TokenCorpus.from_documents([[ids[1:-1]] for ids in texts])
        stream = mlm_stream(
            corpus, tokenizer, length=shape.length, p=P, next_sentence=False, tokens_per_batch=8 * shape.length
        )
        model = BERT(replace(to_config(shape), next_sentence=False))
        return _trainer_pass(model, stream, MaskedLanguageModeling(next_sentence=False), precision)
    if name.startswith("HF"):
        collate = _hf_collator(tokenizer, masked=True)
        model = hf_masked(shape, "eager" if "eager" in name else "sdpa")
        rows = [ids for text in texts for ids in text]
        blocks = [rows[i : i + shape.length] for i in range(0, len(rows), shape.length)]

        def batches() -> Iterator[Loss]:
            parts = _shuffled(blocks, 8) if name.endswith("blocks") else _shuffled(texts, shape.batch)
            for part in parts:
                inputs = collate([{"input_ids": ids} for ids in part])
                yield lambda model, inputs=inputs: model(**inputs).loss

        return _plain_pass(model, batches, precision)

    special = special_ids(tokenizer)

    def masked() -> Iterator[Loss]:
        for part in _shuffled(texts, shape.batch):
            ids, padding = _padded(part, _pad_to(name, shape))
            inputs, labels = mask_tokens(ids, mask_id=MASK, vocab_size=shape.vocab_size, special=special, p=P)
            yield lambda model, x=inputs, y=labels, p=padding: F.cross_entropy(
                model(x, p).flatten(0, 1).float(), y.flatten()
            )

    return _plain_pass(NNMasked(shape), masked, precision)


def fine_tuning(name: str, shape: Shape, precision: str) -> Callable[[], object]:
    """Classification of whole texts."""
    torch.manual_seed(0)
    texts, tokenizer = _texts(shape), _tokenizer(shape.vocab_size)
    if name == "companion":
        words = [" ".join(map(str, ids[1:-1])) for ids in texts]
        classes = [i % 2 for i in range(len(texts))]
        stream = classification_stream(
            words, classes, tokenizer, max_len=shape.length, tokens_per_batch=8 * shape.length
        )
        return _trainer_pass(TransformerClassifier(to_config(shape), 2), stream, Classification(), precision)
    kind = name.split(": ")[0]
    model = ENCODERS[kind](shape)
    collate = _hf_collator(tokenizer, masked=False) if kind.startswith("HF") else None

    def batches() -> Iterator[Loss]:
        for part in _shuffled(texts, shape.batch, by_length=name.endswith("by length")):
            labels = torch.arange(len(part)) % 2
            if collate:
                inputs = collate([{"input_ids": ids} for ids in part])
                yield lambda model, inputs=inputs, y=labels: model(**inputs, labels=y).loss
            else:
                ids, padding = _padded(part, _pad_to(name, shape))
                yield lambda model, x=ids, p=padding, y=labels: F.cross_entropy(model(x, p).float(), y)

    return _plain_pass(model, batches, precision)


def _pad_to(name: str, shape: Shape) -> int | None:
    return None if name.endswith("to the longest") else shape.length


def _hf_collator(tokenizer: "Tokenizer", *, masked: bool) -> Callable[[list[dict[str, Any]]], Any]:
    """The one that its tutorials use."""
    from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding, PreTrainedTokenizerFast

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, _SPECIAL, strict=True)))
    return DataCollatorForLanguageModeling(fast, mlm_probability=P) if masked else DataCollatorWithPadding(fast)


def _trainer_pass(model: nn.Module, stream: Any, objective: Any, precision: str) -> Callable[[], object]:
    """One pass over the texts by companion's trainer."""
    half = "bf16" if precision == "bf16" else "fp32"
    trainer = Trainer(model, stream, objective, TrainConfig(max_steps=1_000_000, peak_lr=1e-4, precision=half))

    def step() -> None:
        with matmul_setting(precision):
            for _ in range(stream.batches_per_epoch):
                trainer.train_step()

    return step


def _plain_pass(model: nn.Module, batches: Callable[[], Iterator[Loss]], precision: str) -> Callable[[], object]:
    """One pass by the loop that everybody writes."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with matmul_setting(precision):
            for loss in batches():
                optimizer.zero_grad(set_to_none=True)
                with autocast(precision):
                    value = loss(model)
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()

    return step
