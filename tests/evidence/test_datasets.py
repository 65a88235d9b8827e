import dataclasses
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import evidence
from evidence import datasets as module

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def images(n=40, side=28, classes=10, channels=1, seed=0):
    """uint8 images and labels; every class is there, and every image differs."""
    g = np.random.default_rng(seed)
    shape = (n, side, side) if channels == 1 else (n, side, side, channels)
    return g.integers(0, 256, shape, dtype=np.uint8), np.arange(n) % classes


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write_idx(folder, pixels, labels, prefix="t10k", packed=True):
    for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        name, content = f"{prefix}-{kind}-ubyte", idx(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def load(folder, name="mnist", split="test", **options):
    return evidence.load_dataset(name, split=split, directory=folder, check_counts=False, **options)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("digits", (64, 1797), 10), ("wine", (13, 178), 3), ("breast cancer", (30, 569), 2)],
)
def test_embedded(name, shape, classes):
    data = evidence.load_dataset(name)
    assert data.X.shape == shape == (data.card.n_features, data.card.n_samples)
    assert data.X.dtype == np.float64
    assert data.X.min() >= 0
    assert data.labels.dtype == np.int64
    assert set(data.labels) == set(range(classes))
    assert data.card.licence == "CC BY 4.0"
    assert "scikit-learn" in repr(data)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.X = None


def test_columns_are_samples_in_the_original_order():
    data, (X, y) = evidence.load_dataset("digits"), load_digits(return_X_y=True)
    np.testing.assert_array_equal(data.X.T, X)
    np.testing.assert_array_equal(data.labels, y)


def test_limit_is_stratified_and_repeatable():
    full = evidence.load_dataset("wine")
    part, again = (evidence.load_dataset("wine", limit=50, seed=3) for _ in range(2))
    assert part.X.shape == (13, 50)
    np.testing.assert_array_equal(part.X, again.X)
    share = np.bincount(full.labels) * 50 / 178
    assert np.abs(np.bincount(part.labels) - share).max() < 1
    other = evidence.load_dataset("wine", limit=50, seed=4)
    assert not np.array_equal(part.X, other.X)
    assert "50 drawn with seed 3" in part.card.preprocessing
    assert evidence.load_dataset("wine", limit=1000).X.shape == (13, 178)
    at = [np.flatnonzero(np.equal(full.X, column[:, None]).all(0))[0] for column in part.X.T]
    assert at == sorted(at)


def test_the_table_has_the_papers_thirteen_and_names_are_spelled_freely():
    assert len(module.TABLE) == 13
    paper = [
        *("MNIST", "CIFAR-10", "EMNIST", "SVHN", "Kuzushiji-MNIST", "Fashion-MNIST", "USPS"),
        *("Flowers-102", "Food-101", "STL-10", "DTD", "Oxford-IIIT Pet", "EuroSAT"),
    ]
    assert {module._key(name) for name in paper} == set(module.TABLE)
    for spec in module.TABLE.values():
        assert spec.hub.count("/") == 1
        assert spec.mode in ("L", "RGB")
        assert spec.licence
        assert "train" in spec.counts


def test_the_table_has_the_sizes_that_the_authors_state():
    """Images of one size keep it; photographs of many sizes are brought to 64."""
    sizes = {name: (spec.classes, spec.side, spec.mode) for name, spec in module.TABLE.items()}
    grey = {"mnist": (10, 28), "emnist": (26, 28), "kmnist": (10, 28), "usps": (10, 16)}
    grey |= {"fashionmnist": (10, 28)}
    colour = {"cifar10": (10, 32), "svhn": (10, 32), "stl10": (10, 96), "eurosat": (10, 64)}
    colour |= {"flowers102": (102, 64), "food101": (101, 64), "dtd": (47, 64)}
    colour |= {"oxfordiiitpet": (37, 64)}
    expected = {name: (*row, "L") for name, row in grey.items()}
    assert sizes == expected | {name: (*row, "RGB") for name, row in colour.items()}
    whole = {"mnist": 70_000, "cifar10": 60_000, "emnist": 103_600, "svhn": 630_420}
    whole |= {"kmnist": 70_000, "fashionmnist": 70_000, "flowers102": 8_189, "food101": 101_000}
    whole |= {"usps": 9_298, "stl10": 13_000, "dtd": 5_640, "oxfordiiitpet": 7_349}
    whole |= {"eurosat": 27_000}
    assert {name: sum(spec.counts.values()) for name, spec in module.TABLE.items()} == whole


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed):
    pixels, labels = images()
    write_idx(tmp_path, pixels, labels, packed=packed)
    data = load(tmp_path)
    np.testing.assert_allclose(data.X, pixels.reshape(40, -1).T / 255)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.card.source == "IDX files in a local directory"
    part = load(tmp_path, limit=10)
    assert sorted(part.labels) == list(range(10))
    with pytest.raises(FileNotFoundError, match="split 'train' of MNIST"):
        load(tmp_path, split="train")


def test_idx_labels_from_one_and_other_prefixes(tmp_path):
    pixels, labels = images(52, classes=26)
    write_idx(tmp_path, pixels, labels + 1, prefix="emnist-letters-train")
    data = load(tmp_path, "EMNIST", "train")
    np.testing.assert_array_equal(data.labels, labels)


@pytest.mark.skipif(not MNIST.exists(), reason="the MNIST files are not beside this checkout")
def test_the_real_mnist_files():
    data = evidence.load_dataset("mnist", split="test", directory=MNIST, progress=False)
    assert data.X.shape == (784, 10000)
    assert (data.X.min(), data.X.max()) == (0, 1)
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(data.labels).tolist() == counts
    part = evidence.load_dataset("mnist", split="test", directory=MNIST, limit=200, progress=False)
    assert part.X.shape == (784, 200)


def test_damaged_idx_files(tmp_path):
    pixels, labels = images()
    write_idx(tmp_path, pixels, labels)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content, message in [
        (whole[: len(whole) // 2], "must be a whole gzip file"),
        (whole[:200] + bytes(50) + whole[250:], "whole gzip file"),
        (gzip.compress(idx(pixels)[:-5]), r"must hold 31360 bytes .* got 31355"),
        (gzip.compress(b"<html>"), "must start as an IDX file"),
        (gzip.compress(idx(pixels)[:9]), "must hold"),
        (b"", "must start as an IDX file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            load(tmp_path)
        assert str(path) in str(caught.value)
        assert "delete" in str(caught.value)
    path.write_bytes(gzip.compress(idx(pixels[:-1])))
    with pytest.raises(ValueError, match="fetch both again"):
        load(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"must have t10k-labels-idx1-ubyte\.gz beside it"):
        load(tmp_path)


def write_folder(folder, pixels, labels, split="test"):
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = folder / split / f"class_{label:02d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03d}.png")


def test_image_folders(tmp_path):
    pixels, labels = images(side=32, channels=3)
    write_folder(tmp_path, pixels, labels)
    data = load(tmp_path, "cifar10")
    order = np.argsort(labels, kind="stable")  # folders come class by class
    np.testing.assert_allclose(data.X, pixels[order].reshape(40, -1).T / 255)
    np.testing.assert_array_equal(data.labels, labels[order])


def test_images_of_other_sizes_are_cut_and_resized(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the central square
    write_folder(tmp_path, [wide, wide[:, :, 0]], [0, 1])
    data = load(tmp_path, "dtd")
    assert data.X.shape == (64 * 64 * 3, 2)
    assert data.X.min() == 1
    assert load(tmp_path, "dtd", side=8).X.shape == (192, 2)
    assert "8×8" in load(tmp_path, "dtd", side=8).card.preprocessing


def test_a_damaged_image(tmp_path):
    pixels, labels = images(12, classes=2)
    write_folder(tmp_path, pixels, labels)
    path = tmp_path / "test" / "class_01" / "003.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"003\.png is no whole image"):
        load(tmp_path)


def test_counts_are_checked(tmp_path):
    pixels, labels = images()
    write_idx(tmp_path, pixels, labels)
    with pytest.raises(ValueError, match=r"10000 samples in 10 classes, got 40 of 10000 samples"):
        evidence.load_dataset("mnist", split="test", directory=tmp_path)
    spec = dataclasses.replace(module.TABLE["mnist"], counts={"test": 40})
    assert module._part_of(spec, "test", labels) == ""
    assert module._part_of(spec, "test", np.minimum(labels, 8)) == "9 of 10 classes"
    assert module._part_of(spec, "test", labels[:39]) == "39 of 40 samples"
    with pytest.raises(ValueError, match="got 41 in 10, which is no part of it"):
        module._part_of(spec, "test", np.arange(41) % 10)
    doubtful = dataclasses.replace(module.TABLE["mnist"], unverified="counts")
    assert module._part_of(doubtful, "test", labels) == ""


def test_a_part_is_named_as_one(tmp_path):
    pixels, labels = images(12, classes=4, channels=3)
    write_folder(tmp_path, pixels, labels)
    with pytest.raises(ValueError, match=r"DTD.* got 4 of 47 classes; .* names it so"):
        evidence.load_dataset("dtd", split="test", directory=tmp_path)
    card = load(tmp_path, "dtd", side=8).card
    assert (card.part, card.lossy, card.caveat) == ("4 of 47 classes", "", "4 of 47 classes")
    assert "\npart           4 of 47 classes" in str(card)
    assert evidence.load_dataset("wine").card.caveat == ""
    write_folder(tmp_path / "more", *images(22, classes=11))
    with pytest.raises(ValueError, match="got 22 in 11, which is no part of it"):
        load(tmp_path / "more", "usps")


@pytest.mark.parametrize(("name", "lossy"), [("cifar10", True), ("dtd", False)])
def test_a_copy_in_jpeg_is_lossy_where_the_original_is_not(tmp_path, name, lossy):
    pixels, labels = images(10, side=32, channels=3)
    write_folder(tmp_path, pixels, labels)
    assert load(tmp_path, name).card.lossy == ""
    for path in list(tmp_path.rglob("*.png"))[:1]:  # one is enough
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    card = load(tmp_path, name).card
    assert card.lossy == ("a lossy copy (JPEG)" if lossy else "")
    assert ("lossy" in str(card)) == lossy


def test_bad_requests(tmp_path):
    with pytest.raises(
        ValueError, match=r"one of digits, wine, breast_cancer, mnist, .*'imagenet'"
    ):
        evidence.load_dataset("imagenet")
    with pytest.raises(TypeError, match="name must be a string, got int"):
        evidence.load_dataset(3)
    with pytest.raises(ValueError, match="'train', 'test', got 'validation'"):
        evidence.load_dataset("mnist", split="validation")
    with pytest.raises(ValueError, match="digits has one split"):
        evidence.load_dataset("digits", split="test")
    with pytest.raises(ValueError, match="limit must be at least 1"):
        evidence.load_dataset("digits", limit=0)
    with pytest.raises(FileNotFoundError, match="which holds nothing; directory=… reads IDX"):
        evidence.load_dataset("mnist", directory=tmp_path)
    with pytest.raises(FileNotFoundError, match="must be a folder"):
        evidence.load_dataset("mnist", directory=tmp_path / "none")


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'subspace-book\[data\]'"):
        evidence.load_dataset("mnist")


class Hub:
    """Stands in for the hub library where a failure must be provoked."""

    def __init__(self, error):
        self.error = error

    def load_dataset(self, *args, **kwargs):
        raise self.error


def test_no_network_says_what_to_do(monkeypatch):
    inner = RuntimeError("Failed to resolve 'host'")
    outer = FileNotFoundError("Couldn't find the data set")
    outer.__cause__ = inner
    lost = RuntimeError("no answer")
    lost.__cause__ = BrokenPipeError("gone")
    for error in (outer, lost, ConnectionError("refused"), TimeoutError()):
        monkeypatch.setitem(sys.modules, "datasets", Hub(error))
        with pytest.raises(ConnectionError, match=r"save_to_disk\('DIR'\)"):
            evidence.load_dataset("mnist")


def test_a_damaged_cache_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", Hub(OSError("Parquet magic bytes not found")))
    with pytest.raises(ValueError, match="delete that folder and load again") as caught:
        evidence.load_dataset("mnist", cache=tmp_path)
    assert str(tmp_path) in str(caught.value)


class Moody:
    """Fails until it is told to fetch everything again."""

    def __init__(self, inner):
        self.inner = inner

    def load_dataset(self, *args, download_mode=None, **kwargs):
        if download_mode != "force_redownload":
            raise OSError("Parquet magic bytes not found")
        return self.inner


def test_a_damaged_cache_is_fetched_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", Moody("a whole table"))
    monkeypatch.setattr(module, "_from_table", lambda table, spec, where: table)
    assert module._from_hub(module.TABLE["usps"], "test", None) == "a whole table"


# ---- with the extra: what the hub library itself writes


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    library = pytest.importorskip("datasets", reason="pip install 'subspace-book[data]' runs this")
    library.disable_progress_bars()
    return library


def table(hub, pixels, labels, spec):
    features = hub.Features(
        {spec.image: hub.Image(), spec.label: hub.ClassLabel(num_classes=spec.classes)}
    )
    rows = {spec.image: [Image.fromarray(p) for p in pixels], spec.label: labels.tolist()}
    return hub.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("form", ["parquet", "data/parquet", "save_to_disk", "dict"])
def test_what_the_hub_library_writes(hub, tmp_path, form):
    spec = module.TABLE["cifar10"]
    pixels, labels = images(side=32, channels=3)
    rows = table(hub, pixels, labels, spec)
    folder = tmp_path / "files"
    (folder / "data").mkdir(parents=True)
    if form == "parquet":
        rows.to_parquet(folder / "test-00000-of-00001.parquet")
    elif form == "data/parquet":
        rows.select(range(25)).to_parquet(folder / "data" / "test-00000-of-00002.parquet")
        rows.select(range(25, 40)).to_parquet(folder / "data" / "test-00001-of-00002.parquet")
    elif form == "save_to_disk":
        rows.save_to_disk(folder)
    else:
        hub.DatasetDict({"test": rows}).save_to_disk(folder)
    data = load(folder, "cifar10", cache=tmp_path / "cache")
    np.testing.assert_allclose(data.X, pixels.reshape(40, -1).T / 255)
    np.testing.assert_array_equal(data.labels, labels)
    part = load(folder, "cifar10", limit=20, cache=tmp_path / "cache")
    assert part.X.shape == (3072, 20)
    if form == "dict":
        with pytest.raises(ValueError, match=r"one of \['test'\]"):
            load(folder, "cifar10", "train")


def test_damaged_parquet_and_other_columns(hub, tmp_path):
    pixels, labels = images()
    rows = table(hub, pixels, labels, module.TABLE["mnist"])
    path = tmp_path / "test.parquet"
    rows.to_parquet(path)
    with pytest.raises(ValueError, match="columns 'img' and 'label', got"):
        load(tmp_path, "cifar10", cache=tmp_path / "cache")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"test\.parquet is cut short"):
        load(tmp_path, cache=tmp_path / "cache")
    path.write_bytes(whole[:4] + bytes(len(whole) - 100) + whole[-96:])
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:100]])
def test_a_damaged_cache_is_built_again(hub, tmp_path, damage):
    pixels, labels = images()
    folder, cache = tmp_path / "files", tmp_path / "cache"
    folder.mkdir()
    table(hub, pixels, labels, module.TABLE["mnist"]).to_parquet(folder / "test.parquet")
    before = load(folder, cache=cache)
    (path,) = cache.rglob("*.arrow")
    path.write_bytes(damage(path.read_bytes()))
    again = load(folder, cache=cache)
    np.testing.assert_array_equal(again.X, before.X)
    np.testing.assert_array_equal(again.labels, labels)


def test_damage_inside_the_cache_is_named(hub, tmp_path):
    """The table can be read, an image in it cannot."""
    pixels, labels = images()
    folder, cache = tmp_path / "files", tmp_path / "cache"
    folder.mkdir()
    table(hub, pixels, labels, module.TABLE["mnist"]).to_parquet(folder / "test.parquet")
    load(folder, cache=cache)
    (path,) = cache.rglob("*.arrow")
    whole = path.read_bytes()
    path.write_bytes(whole[:4000] + bytes(8000) + whole[12000:])
    with pytest.raises(ValueError, match="is damaged") as caught:
        load(folder, cache=cache)
    assert f"its copy in {cache}: delete that folder" in str(caught.value)


def test_damaged_arrow(hub, tmp_path):
    pixels, labels = images()
    table(hub, pixels, labels, module.TABLE["mnist"]).save_to_disk(tmp_path / "set")
    (path,) = (tmp_path / "set").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path / "set")


def test_the_hub_library_offline(hub, tmp_path):
    """The real library, told that there is no network, ends in our message."""
    library_config = hub.config
    before = library_config.HF_HUB_OFFLINE
    library_config.HF_HUB_OFFLINE = True
    try:
        with pytest.raises(ConnectionError, match="With a network, run"):
            evidence.load_dataset("usps", cache=tmp_path)
    finally:
        library_config.HF_HUB_OFFLINE = before
