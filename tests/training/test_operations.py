"""Operations, against PyTorch's own count of the products that run."""

import pytest
import torch
from small_finetuning import run_of, tuner_of, write_bert
from torch.utils.flop_counter import FlopCounterMode

from companion import TransformerClassifier, TransformerConfig
from companion.training.finetuner import FeatureProbe
from companion.training.operations import attention_operations, finetuning_operations, linear_operations


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_the_forward_pass_is_counted_exactly():
    config = TransformerConfig(vocab_size=11, d_model=12, n_layers=3, n_heads=3, d_ff=20, max_len=9)
    model = TransformerClassifier(config, 2).eval()
    head = 2 * 12 * 2
    for rows, length in ((1, 4), (5, 9)):
        ids, lengths = torch.zeros(rows, length, dtype=torch.long), torch.full((rows,), length)
        expected = linear_operations(config, lengths) + attention_operations(config, lengths) + rows * head
        assert counted(lambda ids=ids: model(ids)) == expected


@pytest.mark.parametrize(("method", "error"), [("scratch", 0.02), ("lora", 0.12), ("probe", 0.02)])
def test_a_step_is_counted_nearly(tmp_path, method, error):
    shape = {"d_model": 32, "n_layers": 4, "d_ff": 64, "n_heads": 2, "backend": "formula"}
    bert = write_bert(tmp_path, **shape)
    run = run_of(bert, method=method, data={"length": 16, "keep": "both"}, finetune={"validation": 0.0})
    tuners = []
    passes = counted(lambda: tuners.append(tuner_of(run)))  # a probe computes its features here
    tuner = tuners[0]
    steps = counted(lambda: tuner.history.append(tuner.train_step()))
    assert isinstance(tuner.model, FeatureProbe) == (method == "probe") == (passes > 0)
    assert finetuning_operations(tuner) == pytest.approx(
        passes + steps, rel=error
    )  # the head is left out; no text is shorter
