"""What the build needs to know: the repository, and which stored outputs are still true."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "numpy",
    "scipy",
    "torch",
    "matplotlib",
    "scikit-learn",
    "ipywidgets",
)


def repository(root: Path = ROOT) -> tuple[str, str] | None:
    """(address, branch) from the environment or the git remote; None when unknown."""
    branch = os.environ.get("BOOK_BRANCH") or os.environ.get("GITHUB_REF_NAME") or "main"
    if slug := os.environ.get("GITHUB_REPOSITORY"):
        return f"https://github.com/{slug}", branch
    command = ["git", "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(
        r"github\.com[:/]([^/\s]+)/([^/\s]+?)(?:\.git)?/?$",
        done.stdout.strip(),
    )
    return (f"https://github.com/{found[1]}/{found[2]}", branch) if found else None


def cache_key(root: Path = ROOT) -> str:
    """jupyter-cache keys on code cells only; the library, the mode and the versions count too."""
    digest = hashlib.sha256(os.environ.get("BOOK_MODE", "quick").encode())
    digest.update(platform.python_version().encode())
    for name in LIBRARIES:
        digest.update(f"{name} {version(name)}".encode())
    for path in sorted(
        p
        for name in ("subspace_lib", "book/evidence", "book/page")
        for p in (root / name).rglob("*.py")
    ):
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted(
        (root / "book" / "results").glob("*.npz")
    ):  # not the parts of a running sweep
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def cache_path(root: Path = ROOT) -> Path:
    return root / "_build" / ".jupyter_cache" / cache_key(root)


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the table of contents, in order."""
    names = re.findall(r"(?:root|file):\s*(\S+)", (root / "_toc.yml").read_text())
    return [path for name in names if (path := root / f"{name}.ipynb").exists()]
