"""From texts to batches: data sets, tokenizers, masks, pairs and blocks; and small languages made for one question."""
