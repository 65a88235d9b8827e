"""Modules sit on floors and import only downwards."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "subspace_lib"
FLOORS = {
    0: {"_checks", "_palette", "_random"},
    1: {"data", "networks", "projectors"},
    2: {"clustering", "bounds", "kernels"},
    3: {"reference", "estimator", "relations", "figures"},
    4: {"_diagnostics", "_layers"},
    5: {"training", "probe"},
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules}


def imported(source: str) -> set[str]:
    """Modules of the package that this source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subspace_lib"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("subspace_lib.")]
            found |= {name.split(".")[1] for name in names}
    return found


def upward(module: str, source: str) -> set[str]:
    """Imports from the same floor or above; the files of one package may import each other."""
    others = imported(source) - {module}
    return {name for name in others if FLOOR[name] >= FLOOR[module]}


def module_of(path: Path) -> str:
    """The module, or the package, that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_downwards(path):
    module = module_of(path)
    if module == "__init__":
        assert imported(path.read_text()) <= set(FLOOR)
        return
    assert module in FLOOR, f"{path.name} has no floor"
    assert upward(module, path.read_text()) == set()


def test_the_check_sees_a_violation():
    source = (
        "from subspace_lib import _checks as check\nfrom subspace_lib.figures import plot_sorted"
    )
    assert upward("bounds", source) == {"figures"}
