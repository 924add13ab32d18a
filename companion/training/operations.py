"""How many floating-point operations a training takes, by the shape of the model and the lengths of the texts.

A multiplication and an addition are two operations. Matrix products alone are counted: all else is a few per cent.
"""

from torch import Tensor

from companion.config import TransformerConfig
from companion.training.finetuner import FeatureProbe, FineTuner


def linear_operations(config: TransformerConfig, lengths: Tensor) -> int:
    """Of the linear layers of the trunk, forward once: ``2 (4 D² + 2 D F)`` for each token and block."""
    per_token = 2 * (4 * config.d_model**2 + 2 * config.d_model * config.d_ff)
    return config.n_layers * per_token * int(lengths.sum())


def attention_operations(config: TransformerConfig, lengths: Tensor) -> int:
    """Of scores and weighted means, forward once: ``4 T² D`` for each text of T tokens, and block."""
    return config.n_layers * 4 * config.d_model * int(lengths.double().square().sum())


def finetuning_operations(tuner: FineTuner) -> int:
    """Of all steps so far, without padding and evaluations.

    Backward costs twice the forward pass: one product for the gradient of what goes in, one for that of the weights.
    The second is left out where weights are frozen (LoRA). A probe passes every text through the trunk once, the
    held-out ones too, and has no backward pass through it.
    """
    config: TransformerConfig = tuner.model.config  # type: ignore[assignment]
    seen = sum(r["tokens"] for r in tuner.history)
    if isinstance(tuner.model, FeatureProbe):
        lengths, head = tuner.model.lengths, sum(p.numel() for p in tuner.model.classifier.head.parameters())
        forward = linear_operations(config, lengths) + attention_operations(config, lengths)
        return forward + round(6 * head * seen)
    lengths = tuner.stream.lengths  # type: ignore[attr-defined]
    passes = seen / int(lengths.sum())
    adapters = sum(p.numel() for name, p in tuner.model.named_parameters() if "lora_" in name)
    linear = (2 if adapters else 3) * linear_operations(config, lengths) + 6 * adapters * int(lengths.sum())
    return round(passes * (linear + 3 * attention_operations(config, lengths)))
