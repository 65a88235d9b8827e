"""Results: what is stored comes back, what is damaged, changed or another's is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import Config, same

from evidence.experiment import run
from evidence.results import Result, load_result, save


def test_round_trip(toy, tmp_path):
    result = run(toy)
    path = save(result, tmp_path / "new" / "folder")
    assert path.name == "toy.npz"
    back = load_result("toy", path.parent)
    same(result, back, apart=())
    assert back.provenance == result.provenance
    assert [p.name for p in path.parent.iterdir()] == ["toy.npz"]


def test_provenance_is_complete(toy):
    made = run(toy).provenance
    assert set(made) == {"versions", "device", "wall_seconds", "cpu_seconds"}
    assert set(made["versions"]) == {"python", "numpy", "scipy", "torch", "scikit-learn"}
    assert made["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert made["device"].startswith("CPU")
    assert made["wall_seconds"] >= 0
    assert made["cpu_seconds"] >= 0
    assert run(toy).config == {"trials": 2, "seed": 0, "sizes": [1, 2, 3]}
    assert "trials 2, seed 0" in run(toy).note()


def test_missing_file_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"python -m evidence run toy --full"):
        load_result("toy", tmp_path)
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_result("toy")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_says_so(toy, tmp_path, share):
    path = save(run(toy), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"damaged or truncated.*delete it and run"):
        load_result("toy", tmp_path)


def test_any_wrong_byte_is_found_or_harmless(toy, tmp_path):
    """Flip each byte in turn: a ValueError, or the same result (a byte nobody reads)."""
    result = run(toy)
    path = save(result, tmp_path)
    data, messages = path.read_bytes(), []
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            same(result, load_result("toy", tmp_path), apart=())
        except ValueError as error:
            messages.append(str(error))
    assert all("damaged" in message for message in messages)
    assert len(messages) > len(data) / 2


def test_other_files_are_not_results(tmp_path):
    np.savez(tmp_path / "toy.npz", values=np.arange(3))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)
    with (tmp_path / "toy.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)
    np.savez(tmp_path / "toy.npz", values=np.arange(3), __meta__=np.array(json.dumps({"name": 1})))
    with pytest.raises(ValueError, match="damaged"):
        load_result("toy", tmp_path)


def test_objects_are_not_stored(tmp_path):
    with pytest.raises(TypeError, match="got objects"):
        save(Result("toy", {}, [], {"bad": np.array([None])}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(toy, tmp_path, monkeypatch):
    save(run(toy), tmp_path)
    before = (tmp_path / "toy.npz").read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        save(run(toy, replace(toy.quick, seed=5)), tmp_path)
    assert (tmp_path / "toy.npz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["toy.npz"]


def test_index_and_at(toy):
    result = run(toy)
    assert result.index(size=2) == result.index(kind="even") == 1
    assert result.at(size=3)["values"].tolist() == [0, 9]
    with pytest.raises(ValueError, match="matches 2 settings, expected one"):
        result.index(kind="odd")
    with pytest.raises(ValueError, match="matches 0 settings"):
        result.at(size=7)
    with pytest.raises(ValueError, match="matches 0 settings"):
        result.index(colour="red")
    with pytest.raises(KeyError, match="has no array 'value'; it has values, found, seconds"):
        result["value"]


def test_config_must_be_a_dataclass_instance(toy):
    for config in ({"trials": 2}, Config):
        with pytest.raises((TypeError, AttributeError)):
            run(replace(toy, settings=lambda c: [{"size": 1}]), config)
