"""The models: BERT, GPT, a classifier, and their weights from and to Hugging Face."""
