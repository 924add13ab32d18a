"""The layers: attention, and what the later chapters build on it. Torch and the errors and configs only."""
