"""``lint-imports`` keeps the laws of imports; here each law sees an import that breaks it."""

from copy import deepcopy

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from laws import ROOT, Chapters, Declared, chapters

LAWS = read_configuration(str(ROOT / "pyproject.toml"))
TYPES = {
    "layers": LayersContract,
    "forbidden": ForbiddenContract,
    "chapters": Chapters,
    "declared": Declared,
}
VIOLATIONS = [
    ("houses", "subspace_lib.data", "evidence.results"),
    ("houses", "evidence.results", "page.mode"),
    ("houses", "page.mode", "evidence.results"),
    ("floors", "subspace_lib.projectors", "subspace_lib.figures"),
    ("floors", "subspace_lib.training", "subspace_lib.diagnostics"),
    ("page", "page.mode", "subspace_lib.projectors"),
    ("chapters", "evidence.theorem.statements", "evidence.training.claims"),
    ("chapters", "evidence.statement", "evidence.projector.statements"),
    ("library-requirements", "subspace_lib.data", "pandas"),
    ("library-requirements", "subspace_lib.data", "IPython"),
    ("library-requirements", "subspace_lib.data", "hypothesis"),
    ("book-requirements", "evidence.results", "environment"),
    ("book-requirements", "page.mode", "strategies"),
]


@pytest.fixture(scope="module")
def imports():
    roots = LAWS["session_options"]["root_packages"]
    return grimp.build_graph(*roots, include_external_packages=True, cache_dir=None)


def kept(law, graph):
    (options,) = [o for o in LAWS["contracts_options"] if o["id"] == law]
    contract = TYPES[options["type"]](options["name"], LAWS["session_options"], options)
    return contract.check(graph, verbose=False).kept


@pytest.mark.parametrize("law", [options["id"] for options in LAWS["contracts_options"]])
def test_the_law_is_kept(law, imports):
    assert kept(law, deepcopy(imports))


@pytest.mark.parametrize(("law", "importer", "imported"), VIOLATIONS)
def test_the_law_sees_a_violation(law, importer, imported, imports):
    graph = deepcopy(imports)
    if imported not in graph.modules:
        graph.add_module(imported, is_squashed=True)
    graph.add_import(importer=importer, imported=imported)
    assert not kept(law, graph)


def test_every_law_is_broken_once():
    assert {law for law, _, _ in VIOLATIONS} == {o["id"] for o in LAWS["contracts_options"]}


def test_chapters_follow_the_table_of_contents():
    order = chapters()
    assert order.index("unions_of_subspaces") < order.index("theorem") < order.index("training")
    assert len(order) == len(set(order)) >= 20


def test_a_module_without_a_floor_is_seen(imports):
    graph = deepcopy(imports)
    graph.add_module("subspace_lib.unplanned")
    assert not kept("floors", graph)
