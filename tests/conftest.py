"""Deterministic property tests; torch on one thread, since pytest runs in parallel."""

import os
import random

import matplotlib
import pytest
import torch
from hypothesis import settings

matplotlib.use("agg")
torch.set_num_threads(1)
settings.register_profile("book", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("book")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    """What takes a chapter's experiment run live (the fixture ``tiny``) is slow, and runs in one
    process, which computes it once. What is long runs where ``-m`` names it only.

    The environment variable SHUFFLE, a seed, puts all tests in random order: ``make shuffled``.
    """
    for item in items:
        if "tiny" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    if seed := os.environ.get("SHUFFLE"):
        random.Random(seed).shuffle(items)
