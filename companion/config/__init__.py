"""Configurations: small, frozen, checked when they are made, and equal to what they were after a round trip."""

from companion.config.base import (
    Config,
    check_at_least,
    check_choice,
    check_dropout,
    check_heads,
    check_names,
    check_number,
)
from companion.config.lora import LoRAConfig
from companion.config.train import Precision, Schedule, TrainConfig
from companion.config.transformer import Activation, Backend, Norm, Pairing, PositionScheme, TransformerConfig

__all__ = [
    "Activation",
    "Backend",
    "Config",
    "LoRAConfig",
    "Norm",
    "Pairing",
    "PositionScheme",
    "Precision",
    "Schedule",
    "TrainConfig",
    "TransformerConfig",
    "check_at_least",
    "check_choice",
    "check_dropout",
    "check_heads",
    "check_names",
    "check_number",
]
