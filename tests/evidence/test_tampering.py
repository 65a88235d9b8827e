"""A hostile reader edits stored results: every edit of the book's own is found, and named."""

import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from threading import Thread

import numpy as np
import pytest

import evidence
from evidence import claim as module
from evidence import results
from evidence.checked import check
from evidence.experiment import EXPERIMENTS, Experiment, run
from evidence.results import COMMITTED, HALF, Result, checksums, load, load_result, save
from evidence.statement import LOOSE

NAMES = sorted(path.stem for path in COMMITTED.glob("*.npz"))
PAIRS = [name for name in NAMES if name + HALF in NAMES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the book's results."""
    there = tmp_path_factory.mktemp("results").resolve()
    for path in COMMITTED.glob("[!.]*"):
        shutil.copy2(path, there)
    return there


@pytest.fixture
def stolen(folder, monkeypatch):
    """The copy in place of the book's results."""
    monkeypatch.setattr(results, "COMMITTED", folder)
    monkeypatch.delenv("BOOK_RESULTS", raising=False)
    return folder


def numbers_of(folder, name):
    with np.load(folder / f"{name}.npz") as archive:
        return dict(archive)


def one_number(arrays, rng):
    """Another value in one entry of one array, of any kind."""
    key = rng.choice([key for key, v in arrays.items() if key != "__meta__" and v.size])
    values = arrays[key] = arrays[key].copy()
    place = tuple(int(rng.integers(n)) for n in values.shape)
    if values.dtype.kind == "b":
        values[place] = ~values[place]
    elif values.dtype.kind == "f":
        values[place] = 1.5 * np.nan_to_num(values[place]) + 1e-3
    else:
        values[place] = values[place] + (1 if values.dtype.kind in "iu" else "x")


def one_digit(arrays, rng):
    """Another digit in the config, the settings, the versions or the seconds."""
    text = str(arrays["__meta__"])
    places = [found.start() for found in re.finditer(r"\d", text)]
    i = int(rng.choice(places))
    arrays["__meta__"] = np.array(f"{text[:i]}{(int(text[i]) + 1) % 10}{text[i + 1 :]}")


@pytest.mark.parametrize("edit", [one_number, one_digit])
def test_one_edited_number_in_any_file_is_found(edit, stolen):
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = stolen / f"{name}.npz"
        kept, arrays = path.read_bytes(), numbers_of(stolen, name)
        edit(arrays, rng)
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"{name}\.npz is not the committed .* run {name} "):
            load_result(name)
        path.write_bytes(kept)


def signed(folder, name):
    """What a forger of the list would write."""
    return checksums() | {f"{name}.npz": results._digest(folder / f"{name}.npz")}


@pytest.mark.parametrize("name", PAIRS)
def test_another_size_under_this_name_is_found_although_the_list_is_forged(
    name, stolen, monkeypatch
):
    """The half copied over the full and back: as it is, and with the name inside mended."""
    for whole, other in ((name, name + HALF), (name + HALF, name)):
        path = stolen / f"{whole}.npz"
        kept = path.read_bytes()
        shutil.copyfile(stolen / f"{other}.npz", path)
        sums = signed(stolen, whole)
        monkeypatch.setattr(results, "checksums", lambda sums=sums: sums)
        with pytest.raises(ValueError, match=rf"{whole}\.npz: it holds the result '{other}'"):
            load_result(whole)
        arrays = numbers_of(stolen, other)
        arrays["__meta__"] = np.array(
            str(arrays["__meta__"]).replace(f'"name": "{other}"', f'"name": "{whole}"')
        )
        np.savez(path, **arrays)
        sums = signed(stolen, whole)
        monkeypatch.setattr(results, "checksums", lambda sums=sums: sums)
        with pytest.raises(ValueError, match=r"its config is not the experiment's at full size"):
            load_result(whole)
        monkeypatch.undo()
        monkeypatch.setattr(results, "COMMITTED", stolen)
        path.write_bytes(kept)


def statements(**changed):
    arrays = {"violations": 0, "extremal": 0.995, "controls": 2, "broken": 2, "passed": True}
    return {name: np.array([value]) for name, value in (arrays | changed).items()}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"violations": 1}, "violations"),
        ({"extremal": 0.98}, "a loose extremal instance"),
        ({"extremal": 1.01}, "a loose extremal instance"),
        ({"broken": 1}, "a control that holds"),
    ],
)
def test_a_statement_counts_as_passed_only_where_it_did(changed, reason):
    check(statements(**changed, passed=False))
    with pytest.raises(ValueError, match=f"a statement has {reason} and counts as passed"):
        check(statements(**changed))


def test_the_stored_statements_passed_for_their_reasons():
    check(statements())
    check(statements(extremal=np.nan))
    check(statements(extremal=LOOSE))
    check(load(COMMITTED / "statements.npz").arrays)


def test_an_origin_that_is_not_told_is_refused(toy, tmp_path, monkeypatch):
    save(replace(run(toy, toy.full), provenance={"device": "CPU"}), tmp_path)
    monkeypatch.setenv("BOOK_RESULTS", str(tmp_path))
    with pytest.raises(ValueError, match=r"does not say how it was made: versions, wall_seconds;"):
        load_result("toy")


def test_what_a_judge_cannot_read_names_the_files(toy, tmp_path, monkeypatch):
    """Text where it counts, an array that it does not know: no raw error leaves the ledger."""
    made = Experiment("toy", "", None, None, lambda config: [], None, {})
    monkeypatch.setitem(EXPERIMENTS, "toy", made)
    told = {"versions": {}, "device": "CPU", "wall_seconds": 1.0}
    save(Result("toy", {}, [{"size": 1}], {"score": np.array(["many"])}, told), tmp_path)

    def subtracts(result):
        return [result["score"] - 1.0]

    def misses(result):
        return [result["steps"]]

    for judge in (subtracts, misses):
        claim = module.Claim("toys", "many", ("toy",), judge)
        with pytest.raises(ValueError, match=r"toys cannot .* toy\.npz in .* run toy --full"):
            evidence.judge(claim, tmp_path)


def enter(name, folder):
    """In a process of its own: a save among the committed results."""
    results.COMMITTED = folder
    save(Result(name, {}, [], {"x": np.zeros(3)}), folder)


def test_two_runs_at_a_time_both_enter_their_line(tmp_path, monkeypatch):
    here = tmp_path.resolve()
    names = [f"r{i}" for i in range(24)]
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        list(pool.map(enter, names, [here] * len(names)))
    monkeypatch.setattr(results, "COMMITTED", here)
    assert checksums() == {f"{n}.npz": results._digest(here / f"{n}.npz") for n in sorted(names)}
    assert sorted(p.name for p in here.iterdir()) == sorted([*checksums(), results.SUMS])


def test_a_save_waits_for_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "COMMITTED", tmp_path.resolve())
    second = Thread(target=save, args=(Result("r", {}, [], {"x": np.zeros(3)}), tmp_path))
    with results._alone(tmp_path / ".saving"):
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert checksums() == {}
    second.join(5)
    assert list(checksums()) == ["r.npz"]


def test_a_lock_that_was_left_behind_does_not_stop_a_save(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "COMMITTED", tmp_path.resolve())
    monkeypatch.setattr(results, "PATIENCE", 0.05)
    (tmp_path / ".saving").mkdir()
    save(Result("r", {}, [], {"x": np.zeros(3)}), tmp_path)
    assert list(checksums()) == ["r.npz"]
    assert not (tmp_path / ".saving").exists()


def test_a_relative_folder_stays_where_it_was_named(toy, tmp_path, monkeypatch):
    """A cell that changes the directory changes no result."""
    save(run(toy, toy.full), tmp_path / "mine")
    monkeypatch.setattr(results, "START", tmp_path)
    monkeypatch.setenv("BOOK_RESULTS", "mine")
    for place in (tmp_path, tmp_path / "mine", COMMITTED):
        monkeypatch.chdir(place)
        assert load_result("toy").name == "toy"
