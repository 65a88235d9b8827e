"""The benchmark script runs, compares its trainers, and stores nothing unless it is asked to."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from evidence.results import results_folder

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_quick_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # fresh processes find it there too
    script = importlib.import_module("run")
    stored, threads = results_folder() / "benchmarks.npz", torch.get_num_threads()
    before = stored.read_bytes()
    result = script.main(["--quick", "--threads", str(threads)])
    assert stored.read_bytes() == before
    assert result["speed"].shape[-1] == len(result.config["names"])
    for name in ("speed", "cost", "diagnostics", "distance", "large"):
        assert np.isfinite(result[name]).all()
        assert (result[name] > 0).all()
    dense = result["distance_memory"][0, 0, 1]
    assert dense >= 1000 * 1000 * 8  # one n×n matrix at the least
    assert result.provenance["cpu_seconds"] > 0


@pytest.mark.slow
def test_quick_comparison_of_clusterers(monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delenv("SUBSPACE_DATA", raising=False)
    script = importlib.import_module("clustering")
    before = sorted((p, p.read_bytes()) for p in results_folder().glob("clustering-*"))
    peers, motion, _, scale = script.main(["--quick"])
    assert before == sorted((p, p.read_bytes()) for p in results_folder().glob("clustering-*"))
    assert np.isfinite(peers["ari"]).all()
    assert np.isnan(motion["error"]).all()
    assert (scale["accuracy"] > 0.9).all()
    assert "SSC-OMP" in capsys.readouterr().out
