"""What clusters beside the projector is judged fairly."""

from dataclasses import replace

import numpy as np
import pytest

import evidence
from evidence.attention import claims
from evidence.convolution import experiment as lab
from evidence.experiment import find, run
from evidence.results import save

EXPERIMENT = find("architectures")


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, replace(EXPERIMENT.quick, steps=8, marks=(0, 3, 8)))


@pytest.mark.parametrize(
    ("direct", "other", "verdict"),
    [
        ({"maps", "tokens"}, {"pooled"}, "holds under conditions"),
        (set(), {"maps", "tokens"}, "holds under conditions"),
        (set(), {"maps", "tokens", "pooled", "position", "first token"}, "holds"),
        ({"maps", "tokens"}, {"maps", "tokens"}, "fails"),
        (set(), set(), "fails"),
    ],
)
def test_another_mechanism_is_needed_where_the_projector_fails(
    tmp_path, tiny, direct, other, verdict
):
    arrays = {k: np.full_like(tiny[k], 0.5) for k in lab.FOUND}
    for s in claims.everything(tiny):
        arrays["spectral_r1"][s.point, -1, s.row] = 0.95 if s.view in direct else 0.5
        arrays["kmeans"][s.point, -1, s.row] = 0.95 if s.view in other else 0.5
    save(replace(tiny, arrays=tiny.arrays | arrays), tmp_path)
    found = evidence.judge("cnn-transformer-cluster-anyway", tmp_path)
    assert found.verdict == verdict
    assert "of 16 ways of reading the layer" in found.measured
