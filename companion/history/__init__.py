"""The models of chapter 1, each with the learning rule of its time, and chapter 2's autograd and optimizers by hand.

Each module stands alone: NumPy in float64, no gradient that is not written out. PyTorch is the judge in the tests.
"""
