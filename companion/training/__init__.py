"""Training: what is minimised, at which rate, by which loop, and how a run survives what happens to machines.

- :mod:`~companion.training.loop`: :class:`companion.Trainer`
- :mod:`~companion.training.objectives`: masked words and next sentence, next token, classes
- :mod:`~companion.training.gradients`: exact gradients over micro-batches and processes
- :mod:`~companion.training.optimizer`, :mod:`~companion.training.schedule`: AdamW and its rate
- :mod:`~companion.training.evaluation`: losses and accuracies on held-out batches
- :mod:`~companion.training.checkpoint`: checkpoints that are whole or not there
- :mod:`~companion.training.finetune`: a pretrained model becomes a classifier, in four ways
- :mod:`~companion.training.calibration`: how far its probabilities can be believed
- :mod:`~companion.training.distributed`: several processes as one
"""
