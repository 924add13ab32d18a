"""The book's measurements: chapters run small versions, ``benchmarks/`` records the whole ones in ``book/results/``."""
