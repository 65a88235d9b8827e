"""The readings of a curve, on curves made for them."""

import numpy as np

from evidence import readings


def test_what_comes_back_does_not_fall():
    back, down = [1.0, 0.1, 0.5], [1.0, 0.5, 0.1]
    run = {"d": np.repeat(np.array([back, down])[..., None], 3, -1)}
    assert readings.falls(run, "d").tolist() == [False, True]
    assert readings.ends_lower(run, "d").tolist() == [True, True]
