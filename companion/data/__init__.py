"""Where texts come from: data sets, tokenizers, and small languages made for one question."""
