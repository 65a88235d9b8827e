"""Deterministic property tests; torch on one thread, since pytest runs in parallel."""

import matplotlib
import torch
from hypothesis import settings

matplotlib.use("agg")
torch.set_num_threads(1)
settings.register_profile("book", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("book")
