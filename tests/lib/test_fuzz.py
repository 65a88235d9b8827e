"""A sample of the hostile calls of ``tests/fuzz.py``, and the faults that the whole list found."""

import fuzz
import numpy as np
import pytest
import torch

import subspace_lib as sl

SAMPLE = 200


def test_a_sample_of_hostile_calls_finds_nothing_wrong_and_nothing_foreign():
    """Other calls in every version of the list; `make fuzz` makes ten thousand."""
    every = fuzz.calls()
    random = np.random.default_rng(len(every))
    problems = {}
    for i in random.choice(len(every), SAMPLE, replace=False).tolist():
        if problem := fuzz.attempt(every[i], np.random.default_rng(i)):
            problems[every[i]] = problem
    assert not problems


def test_every_public_function_is_among_the_cases():
    tried = set(fuzz.cases())
    spaces = (sl.projectors, sl.bounds, sl.reference, sl.entrywise, sl.certify)
    names = {
        name
        for space in spaces
        for name, thing in vars(space).items()
        if callable(thing)
        and not isinstance(thing, type)
        and thing.__module__.startswith(space.__name__)
        and not name.startswith("_")
        and thing.__doc__
        and ">>>" in thing.__doc__
    }
    assert names - tried == set()


def test_the_list_sees_what_is_wrong(monkeypatch):
    """A wrong answer, a foreign refusal, a bad argument taken: each is counted."""
    good = fuzz.cases()["numerical_rank"]

    def found(call, argument, what):
        case = fuzz.dataclasses.replace(good, call=call)
        monkeypatch.setattr(fuzz, "cases", lambda: {"case": case})
        return fuzz.attempt(("case", argument, what), np.random.default_rng(0)).split("  ")[0]

    rank = sl.projectors.numerical_rank
    assert found(rank, "A", "bad text") == ""
    assert found(lambda A: int(A.shape[0]), "A", "bad text") == "foreign"
    assert found(lambda A: 3, "A", "bad text") == "accepted"
    assert found(lambda A: rank(A) + A.is_contiguous(), "A", "same strided") == "wrong"
    assert found(lambda A: int((A.abs() > 1e-9).sum()), "", "unit -300") == "wrong"


def test_a_margin_for_each_trial_is_not_taken_for_a_link():
    """Two margins beside the two links of a lemma gave an answer to nobody's question."""
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=8, trials=3, seed=0
    )
    S, W, margins = data.X, torch.eye(12).double(), torch.tensor([0.1, 0.2, 0.3])
    Z = 1e-4 * sl.add_noise(data, variance=1, seed=1).noise
    several = sl.bounds.lemma_4_2(S, Z, W, 6, margins)
    alone = [sl.bounds.lemma_4_2(S[i], Z[i], W, 6, float(margins[i])) for i in range(3)]
    assert several.threshold.tolist() == pytest.approx([float(c.threshold) for c in alone])
    with pytest.raises(ValueError, match=r"margin must be one number or one for each trial \(\)"):
        sl.bounds.lemma_4_2(S[0], Z[0], W, 6, margins[:2])


def test_what_needs_more_memory_than_there_is_is_refused_before_it_is_taken():
    wide = torch.ones(1, 1, dtype=torch.float64).expand(1, 10_000_000)
    network = sl.FeedForward((12, 8, 12))
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=8, seed=0
    )
    refused = {
        "A: its projector": lambda: sl.row_projector(wide, 1),
        "trials": lambda: network.init(trials=10**13, seed=0),
        "widths": lambda: sl.FeedForward((10**7, 10**7, 3)).init(seed=0),
        "steps": lambda: sl.train(network, data, steps=10**13),
        "checkpoints": lambda: sl.train(network, data, steps=3, checkpoints=10**13),
        "points_per_subspace": lambda: sl.sample_union(
            ambient_dim=10**8,
            n_subspaces=3,
            subspace_dim=2,
            points_per_subspace=10**6,
            seed=0,
        ),
    }
    for name, call in refused.items():
        with pytest.raises(ValueError, match=rf"{name}.* GiB are needed, more than"):
            call()


def test_single_precision_beside_double_gives_double():
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=8, seed=0
    )
    noisy = sl.add_noise(data, variance=1e-3, seed=1).X
    both = (
        sl.projection_distance(data.X.float(), noisy, 6),
        sl.projection_distance(data.X, noisy.float(), 6),
    )
    assert [d.dtype for d in both] == [torch.float64] * 2


def test_noise_on_data_of_any_unit_is_relative_to_it():
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=8, seed=0
    )
    plain = sl.add_noise(data, variance=0.1, seed=1).noise
    for exponent in (-900, 900):
        scaled = sl.add_noise(data.scaled(2.0**exponent), variance=0.1, seed=1)
        assert torch.equal(scaled.noise, plain * 2.0**exponent)
        assert "nan" not in repr(sl.from_matrix(scaled.X, data.labels, 6))
    with pytest.raises(ValueError, match="leave the data finite"):
        data.scaled(1e308).scaled(1e10)
    with pytest.raises(ValueError, match="does not fit"):
        sl.train(sl.FeedForward((12, 8, 12)), data.scaled(1e-60), steps=1)
