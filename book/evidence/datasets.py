"""Real data as matrices with one sample per column: non-negative, float64, with labels and a card.

Three sets need no network (scikit-learn's). Thirteen image sets, those the paper names, come from
the Hugging Face hub (``pip install subspace-book[data]``) or from a directory that you filled.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from subspace_lib import _checks as check
from subspace_lib._random import generator


@dataclass(frozen=True)
class Card:
    """Where a data set comes from, and what was done to it."""

    name: str
    source: str
    licence: str
    split: str
    n_features: int
    n_samples: int
    classes: int
    preprocessing: str
    unverified: str = ""  # what could not be checked against the source when this was written
    part: str = ""  # "10 of 47 classes", where it is not the whole
    lossy: str = ""  # what was lost on the way, where the original lost nothing

    @property
    def caveat(self) -> str:
        """What must be said beside the name: "10 of 47 classes", "a lossy copy (JPEG)"."""
        return ", ".join(filter(None, (self.part, self.lossy)))

    def rows(self) -> list[tuple[str, str]]:
        return [(key, str(value)) for key, value in vars(self).items() if value != ""]

    def __str__(self) -> str:
        return "\n".join(f"{key:<14} {value}" for key, value in self.rows())


@dataclass(frozen=True, eq=False)
class Dataset:
    """X: (n_features, n) float64, ≥ 0; labels: (n,) int64, 0..K−1; card."""

    X: np.ndarray
    labels: np.ndarray
    card: Card

    def __repr__(self) -> str:
        return f"Dataset(X {self.X.shape}, {self.card.classes} classes)\n{self.card}"


@dataclass(frozen=True)
class Spec:
    """One row of the table: what the hub is asked for and what must come back."""

    title: str
    hub: str
    classes: int
    mode: str  # of the image: "L" grey, "RGB"
    side: int
    licence: str = "none stated"
    jpeg: bool = False  # the authors' own files are JPEG
    config: str | None = None
    image: str = "image"
    label: str = "label"
    counts: dict[str, int] = field(default_factory=dict)  # samples per split
    unverified: str = ""

    @property
    def source(self) -> str:
        return f"Hugging Face hub, {self.hub}" + (f" ({self.config})" if self.config else "")


# Identifiers, columns and counts were compared with stored copies of the hub's pages where there
# was one; UNVERIFIED names the rest. Sides above 96 are ours: those images vary in size.
COUNTS = {
    "mnist": {"train": 60000, "test": 10000},
    "cifar10": {"train": 50000, "test": 10000},
    "emnist": {"train": 88800, "test": 14800},
    "svhn": {"train": 73257, "test": 26032, "extra": 531131},
    "kmnist": {"train": 60000, "test": 10000},
    "fashionmnist": {"train": 60000, "test": 10000},
    "flowers102": {"train": 1020, "validation": 1020, "test": 6149},
    "food101": {"train": 75750, "validation": 25250},
    "usps": {"train": 7291, "test": 2007},
    "stl10": {"train": 5000, "test": 8000},
    "dtd": {"train": 3760, "test": 1880},
    "oxfordiiitpet": {"train": 3680, "test": 3669},
    "eurosat": {"train": 16200, "validation": 5400, "test": 5400},
}
MNIST, SVHN = "CC BY-SA 3.0 (the hub's card says MIT)", "non-commercial use only"
KMNIST = PET = "CC BY-SA 4.0"
SPECS = {
    "mnist": Spec("MNIST", "ylecun/mnist", 10, "L", 28, MNIST),
    "cifar10": Spec("CIFAR-10", "uoft-cs/cifar10", 10, "RGB", 32, image="img"),
    "emnist": Spec("EMNIST (letters)", "tanganke/emnist_letters", 26, "L", 28),
    "svhn": Spec(
        "SVHN (cropped digits)", "ufldl-stanford/svhn", 10, "RGB", 32, SVHN, config="cropped_digits"
    ),
    "kmnist": Spec("Kuzushiji-MNIST", "tanganke/kmnist", 10, "L", 28, KMNIST),
    "fashionmnist": Spec("Fashion-MNIST", "zalando-datasets/fashion_mnist", 10, "L", 28, "MIT"),
    "flowers102": Spec(
        "Flowers-102", "dpdl-benchmark/oxford_flowers102", 102, "RGB", 64, jpeg=True
    ),
    "food101": Spec("Food-101", "ethz/food101", 101, "RGB", 64, jpeg=True),
    "usps": Spec("USPS", "flwrlabs/usps", 10, "L", 16),
    "stl10": Spec("STL-10", "tanganke/stl10", 10, "RGB", 96),
    "dtd": Spec("DTD", "tanganke/dtd", 47, "RGB", 64, "for research", True),
    "oxfordiiitpet": Spec("Oxford-IIIT Pet", "timm/oxford-iiit-pet", 37, "RGB", 64, PET, True),
    "eurosat": Spec("EuroSAT", "timm/eurosat-rgb", 10, "RGB", 64, "MIT", True),
}
UNVERIFIED = {
    "cifar10": "column names",
    "emnist": "counts (accounts of the letters split differ), columns, licence",
    "kmnist": "column names",
    "flowers102": "column names, licence",
    "stl10": "licence",
    "dtd": "counts, columns, licence",
    "eurosat": "column names",
}
TABLE = {
    name: replace(spec, counts=COUNTS[name], unverified=UNVERIFIED.get(name, ""))
    for name, spec in SPECS.items()
}

EMBEDDED = ("digits", "wine", "breast_cancer")
OFFLINE = (
    "directory=… reads IDX files (t10k-images-idx3-ubyte.gz …), Parquet files named by split, a "
    "folder from save_to_disk, or images as split/class/name.png"
)
PROGRESS_FROM = 2000  # images


def known_datasets() -> tuple[str, ...]:
    """Names that ``load_dataset`` takes; spelling is free in case, spaces, "-" and "_"."""
    return (*EMBEDDED, *TABLE)


def load_dataset(
    name: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    directory: str | Path | None = None,
    cache: str | Path | None = None,
    side: int | None = None,
    check_counts: bool = True,
    progress: bool = True,
) -> Dataset:
    """A data set by name: X (n_features, n) float64 ≥ 0, labels (n,), card.

    digits, wine and breast_cancer come with scikit-learn, in its units. The others are images,
    flattened (row by row, colour last) and divided by 255; images that are not side×side are cut
    to their central square and resized (bilinear).
    split: of the image sets, default "train". limit: at most that many samples, in the classes'
    proportions, drawn with the seed, in the original order.
    directory: read from there, without network and (IDX files and image folders) without the
    extra. cache: where the hub's files are kept (default: the hub library's own place).
    check_counts=False accepts a part of a data set, which the card then names, as it names a copy
    in JPEG of images that were not.
    Raises ValueError for an unknown name or split (lists the known ones), counts, labels or shapes
    that do not match, and damaged files (names them); ImportError without the extra;
    FileNotFoundError for an empty directory; ConnectionError without network.
    """
    key = _key(name)
    if key in EMBEDDED:
        return _embedded(key, split, limit, seed)
    spec = TABLE[key]
    split = "train" if split is None else split
    check.one_of(split, tuple(spec.counts), "split")
    side = spec.side if side is None else check.positive_int(side, "side")
    if directory is None:
        rows, source = _from_hub(spec, split, cache), spec.source
    else:
        rows, where = _from_directory(spec, split, Path(directory).expanduser(), cache)
        source = f"{where} in a local directory"
    part = _part_of(spec, split, rows.labels)
    if part and check_counts:
        raise ValueError(
            f"{spec.title}, split {split!r}, must have {spec.counts[split]} samples in "
            f"{spec.classes} classes, got {part}; fetch it again, or pass check_counts=False, "
            f"which accepts a part and names it so"
        )
    chosen = stratified(rows.labels, limit, seed)
    show = progress and len(chosen) >= PROGRESS_FROM
    X, seen = _matrix(rows, chosen, spec, side, show)
    labels = check.label_vector(rows.labels, len(rows.labels))[chosen]
    done = f"{spec.mode} images at {side}×{side}, flattened, divided by 255"
    done += _drawn(limit, rows.labels, seed)
    about = (spec.title, source, spec.licence, split)
    lossy = "a lossy copy (JPEG)" if "JPEG" in seen and not spec.jpeg else ""
    return _dataset(X, labels, about, done, unverified=spec.unverified, part=part, lossy=lossy)


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {type(name).__name__}")

    def plain(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    aliases = {"kuzushijimnist": "kmnist", "emnistletters": "emnist", "oxforddtd": "dtd"}
    aliases["oxfordpet"] = "oxfordiiitpet"
    names = {plain(known): known for known in known_datasets()} | aliases
    if plain(name) not in names:
        raise ValueError(f"name must be one of {', '.join(known_datasets())}, got {name!r}")
    return names[plain(name)]


def _dataset(
    X: np.ndarray, labels: np.ndarray, about: tuple[str, ...], done: str, **more: Any
) -> Dataset:
    """about: name, source, licence and split, as ``Card`` has them, done: the preprocessing."""
    name, source, licence, split = about
    if not np.isfinite(X).all() or X.min() < 0:
        raise ValueError(f"{name} must be finite and non-negative; the files are not what they say")
    sizes = (X.shape[0], X.shape[1], int(labels.max()) + 1)
    card = Card(name, source, licence, split, *sizes, done, **more)
    return Dataset(X, labels.astype(np.int64), card)


def _embedded(key: str, split: str | None, limit: int | None, seed: int) -> Dataset:
    from sklearn import datasets as bundled

    if split not in (None, "all"):
        raise ValueError(f"{key} has one split, 'all', got split={split!r}")
    bunch = getattr(bundled, f"load_{key}")()
    chosen = stratified(bunch.target, limit, seed)
    X = np.ascontiguousarray(bunch.data[chosen].T, dtype=np.float64)
    done = "pixel counts 0..16" if key == "digits" else "measurements in their own units"
    done += _drawn(limit, bunch.target, seed)
    about = (key, f"scikit-learn, load_{key} (UCI repository)", "CC BY 4.0", "all")
    return _dataset(X, bunch.target[chosen], about, done)


def _drawn(limit: int | None, labels: np.ndarray, seed: int) -> str:
    return "" if limit is None or limit >= len(labels) else f"; {limit} drawn with seed {seed}"


def stratified(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most ``limit`` samples in the classes' proportions, in their order."""
    n = len(labels)
    if limit is None or check.positive_int(limit, "limit") >= n:
        return np.arange(n)
    y = check.label_vector(labels, n)
    share = np.bincount(y) * (limit / n)
    count = np.floor(share).astype(int)
    count[np.argsort(count - share, kind="stable")[: limit - count.sum()]] += 1
    draw = generator(seed, "stratified", 0)
    parts = [draw.choice(np.flatnonzero(y == k), c, replace=False) for k, c in enumerate(count)]
    return np.sort(np.concatenate(parts))


def _part_of(spec: Spec, split: str, labels: np.ndarray) -> str:
    """ "10 of 47 classes", "40 of 10000 samples", or "" for the whole split.

    Raises ValueError for more than the whole: that is another data set.
    """
    n, classes, whole = len(labels), len(np.unique(labels)), spec.counts[split]
    unsure = "counts" in spec.unverified
    if classes > spec.classes or (n > whole and not unsure and classes == spec.classes):
        raise ValueError(
            f"{spec.title}, split {split!r}, must have {whole} samples in {spec.classes} classes, "
            f"got {n} in {classes}, which is no part of it; fetch it again"
        )
    if classes < spec.classes:
        return f"{classes} of {spec.classes} classes"
    return "" if n == whole or unsure else f"{n} of {whole} samples"


# ---------------------------------------------------------------------------- rows of images


@dataclass(frozen=True)
class _Rows:
    """labels (n,) and a function that decodes the images with given indices, one by one."""

    labels: np.ndarray
    images: Callable[[np.ndarray], Iterator[Any]]


def _matrix(
    rows: _Rows, chosen: np.ndarray, spec: Spec, side: int, show: bool
) -> tuple[np.ndarray, set[str | None]]:
    """One image per column, and the formats of the files they came from."""
    channels = 1 if spec.mode == "L" else 3
    X, formats = np.empty((side * side * channels, len(chosen))), set()
    images = _progress(rows.images(chosen), len(chosen), spec.title, show)
    for j, image in enumerate(map(_opened, images)):
        formats.add(image.format)
        X[:, j] = _pixels(image, spec.mode, side)
    X /= 255
    return X, formats


def _opened(image: Any) -> Any:
    """As Pillow has it; its format is None where no file says."""
    if isinstance(image, dict):  # a Parquet file without the hub's type information
        return Image.open(io.BytesIO(image["bytes"]))
    return Image.fromarray(image) if isinstance(image, np.ndarray) else image


def _pixels(image: Any, mode: str, side: int) -> np.ndarray:
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (side, side):
        width, height = image.size
        edge = min(width, height)
        left, top = (width - edge) // 2, (height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float64).ravel()


def _progress(images: Iterable[Any], total: int, title: str, show: bool) -> Iterable[Any]:
    if not show:
        return images
    try:
        from tqdm.auto import tqdm
    except ImportError:  # it comes with the extra
        return images
    return tqdm(images, total=total, desc=title, unit=" images")


# ---------------------------------------------------------------------------- the hub


def _extra() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "Hugging Face datasets is missing: pip install 'subspace-book[data]' installs it. "
            f"Without it, {OFFLINE} (the first and the last form)"
        ) from error
    return datasets


def _from_hub(spec: Spec, split: str, cache: str | Path | None) -> _Rows:
    hub = _extra()
    where = _cache(cache)
    table = _loaded(
        lambda **again: hub.load_dataset(
            spec.hub, spec.config, split=split, cache_dir=where, **again
        ),
        lambda error: _explained(error, spec, where),
    )
    return _from_table(table, spec, where or "the hub library's cache")


def _cache(cache: str | Path | None) -> str | None:
    return None if cache is None else str(Path(cache).expanduser())


def _loaded(load: Callable[..., Any], explain: Callable[[Exception], Exception]) -> Any:
    """load(), and where that fails on a damaged cache, once more past the cache."""
    try:
        return load()
    except Exception as error:
        told = explain(error)
        if isinstance(told, ConnectionError):
            raise told from error
        try:
            return load(download_mode="force_redownload")
        except Exception:  # the first error says what is wrong
            raise told from error


def _explained(error: Exception, spec: Spec, where: str | None) -> Exception:
    """The hub library's many exceptions in two: no network, or files that are not right."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    words = " ".join(f"{type(e).__name__} {e}" for e in chain).lower()
    signs = ("connect", "offline", "timeout", "timed out", "resolve", "network", "ssl", "proxy")
    if any(isinstance(e, (ConnectionError, TimeoutError)) for e in chain) or any(
        sign in words for sign in signs
    ):
        return ConnectionError(
            f"the hub cannot be reached for {spec.title} ({spec.hub}). With a network, run "
            f"datasets.load_dataset({spec.hub!r}).save_to_disk('DIR'), copy DIR here and pass "
            f"directory='DIR'. Otherwise, {OFFLINE}"
        )
    kept = where or "the hub library's cache (HF_DATASETS_CACHE)"
    return ValueError(
        f"{spec.title} ({spec.hub}) could not be read: {type(error).__name__}: {error}. If a file "
        f"in {kept} is damaged, delete that folder and load again"
    )


def _from_table(table: Any, spec: Spec, where: str) -> _Rows:
    for column in (spec.image, spec.label):
        if column not in table.column_names:
            raise ValueError(
                f"{spec.title} must have the columns {spec.image!r} and {spec.label!r}, got "
                f"{table.column_names}; the source has changed or is another data set"
            )
    try:
        labels = np.asarray(list(table[spec.label]))
    except Exception as error:
        raise _damaged(where, error) from error

    def images(chosen: np.ndarray) -> Iterator[Any]:
        rows = iter(table.select(chosen).select_columns([spec.image]))
        for _ in chosen:
            try:
                image = next(rows)[spec.image]
            except Exception as error:
                raise _damaged(f"an image in {where}", error) from error
            yield image

    return _Rows(labels, images)


# ---------------------------------------------------------------------------- a directory


def _from_directory(
    spec: Spec, split: str, folder: Path, cache: str | Path | None
) -> tuple[_Rows, str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"directory must be a folder, got {folder}; {OFFLINE}")
    idx = _idx_files(folder, split)
    if idx:
        return _from_idx(*idx), "IDX files"
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _from_saved(spec, split, folder), "save_to_disk"
    parquet = sorted(folder.rglob(f"{split}*.parquet")) or sorted(
        (folder / split).rglob("*.parquet")
    )
    if spec.config and any(spec.config in path.parts for path in parquet):
        parquet = [path for path in parquet if spec.config in path.parts]
    if parquet:
        return _from_parquet(spec, parquet, cache), "Parquet files"
    known = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
    pictures = sorted(p for p in (folder / split).glob("*/*") if p.suffix.lower() in known)
    if pictures:
        return _from_pictures(pictures), "an image folder"
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"split {split!r} of {spec.title} must be in {folder}, which holds {found}; {OFFLINE}"
    )


def _idx_files(folder: Path, split: str) -> tuple[Path, Path] | None:
    """The images and labels of a split: t10k-images-idx3-ubyte(.gz) and its like."""
    words = {"train": ("train",), "test": ("t10k", "test")}.get(split, (split,))
    for path in sorted(folder.glob("*images*idx3-ubyte*")):
        if any(word in path.name for word in words):
            name = path.name.replace("images", "labels").replace("idx3", "idx1")
            other = path.with_name(name)
            if not other.exists():
                raise FileNotFoundError(f"{path.name} must have {name} beside it; fetch that file")
            return path, other
    return None


def _from_idx(image_file: Path, label_file: Path) -> _Rows:
    pixels, labels = read_idx(image_file), read_idx(label_file)
    if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
        raise ValueError(
            f"{image_file.name} and {label_file.name} must hold (n, height, width) images and n "
            f"labels, got {pixels.shape} and {labels.shape}; fetch both again"
        )
    return _Rows(labels, lambda chosen: (pixels[i] for i in chosen))


def read_idx(path: str | Path) -> np.ndarray:
    """An IDX file of unsigned bytes (MNIST's format), gzipped or not.

    Raises ValueError if it is damaged: not IDX, cut short, or with bytes to spare.
    """
    path = Path(path).expanduser()
    remedy = f"delete {path} and fetch it again"
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path.name} must be a whole gzip file: {error}; {remedy}") from error
    # 0, 0, type (8: unsigned byte), number of axes; then each length as a big-endian 32-bit number
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise ValueError(
            f"{path.name} must start as an IDX file of bytes, got {content[:4]!r}; {remedy}"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(
            f"{path.name} must hold {start} bytes of header, got {len(content)}; {remedy}"
        )
    shape = tuple(int(v) for v in np.frombuffer(content[4:start], ">u4"))
    expected = math.prod(shape)
    if len(content) - start != expected:
        raise ValueError(
            f"{path.name} must hold {expected} bytes after its header for shape {shape}, got "
            f"{len(content) - start}; {remedy}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _damaged(what: str, error: Exception) -> ValueError:
    return ValueError(f"{what} is damaged ({type(error).__name__}: {error}); fetch it again")


def _from_saved(spec: Spec, split: str, folder: Path) -> _Rows:
    hub = _extra()
    try:
        table = hub.load_from_disk(str(folder))
    except Exception as error:
        raise _damaged(str(folder), error) from error
    if isinstance(table, dict):
        if split not in table:
            raise ValueError(f"split must be one of {sorted(table)} in {folder}, got {split!r}")
        table = table[split]
    return _from_table(table, spec, str(folder))


def _from_parquet(spec: Spec, files: list[Path], cache: str | Path | None) -> _Rows:
    hub = _extra()
    for path in files:
        with path.open("rb") as file:
            file.seek(-min(4, path.stat().st_size), io.SEEK_END)
            end = file.read()
        if end != b"PAR1":
            raise ValueError(f"{path} is cut short or no Parquet file; delete it, fetch it again")
    names, where = [str(path) for path in files], _cache(cache)
    table = _loaded(
        lambda **again: hub.load_dataset(
            "parquet", data_files=names, split="train", cache_dir=where, **again
        ),
        lambda error: _damaged(", ".join(names), error),
    )
    kept = where or "the hub library's cache"
    return _from_table(
        table, spec, f"{files[0].parent} (or its copy in {kept}: delete that folder)"
    )


def _from_pictures(pictures: list[Path]) -> _Rows:
    labels = np.array([path.parent.name for path in pictures])

    def images(chosen: np.ndarray) -> Iterator[Any]:
        for i in chosen:
            try:
                with Image.open(pictures[i]) as image:
                    image.load()
                    yield image
            except OSError as error:
                raise ValueError(
                    f"{pictures[i]} is no whole image ({error}); delete it or fetch it again"
                ) from error

    return _Rows(labels, images)
