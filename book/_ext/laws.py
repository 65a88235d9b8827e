"""Two laws of imports that need more than a list: see ``[tool.importlinter]`` in pyproject.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).resolve().parents[2]


def chapters() -> list[str]:
    """The folders of the evidence in the order of the table of contents."""
    listed = re.findall(
        r"file:\s*book/(?:\d+[a-z]?_)?(\w+)", (ROOT / "_toc.yml").read_text("utf-8")
    )
    return [name for name in listed if (ROOT / "book/evidence" / name).is_dir()]


def floor() -> list[str]:
    """The modules of the evidence that every chapter shares."""
    names = {path.stem for path in (ROOT / "book/evidence").glob("*.py")}
    return sorted(names - {"__init__", "__main__"})


class Chapters(LayersContract):
    """A chapter imports the shared floor and earlier chapters; the shared floor imports none."""

    def __init__(
        self, name: str, session_options: dict[str, Any], contract_options: dict[str, Any]
    ) -> None:
        order = {
            "containers": ["evidence"],
            "layers": [*reversed(chapters()), " : ".join(floor())],
            "exhaustive": "true",  # a folder that the table of contents lacks is a fault
            "exhaustive_ignores": ["__main__"],
        }
        super().__init__(name, session_options, contract_options | order)


def requirements(path: Path, extras: list[str]) -> set[str]:
    """The distributions that a pyproject.toml asks for, with these extras, in lower case."""
    project = tomllib.loads(path.read_text("utf-8"))["project"]
    more = (project["optional-dependencies"][extra] for extra in extras)
    wanted = [*project["dependencies"], *(name for names in more for name in names)]
    return {re.split(r"[^\w-]", name)[0].lower() for name in wanted}


class Declared(Contract):
    """A package imports what its distribution declares, the standard library, and nothing else.

    So it can import neither tests nor notebooks nor what builds the pages.
    """

    packages: Any = fields.SetField(subfield=fields.StringField())
    project = fields.StringField()
    extras: Any = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        known = sys.stdlib_module_names | self.packages
        declared = requirements(ROOT / "pyproject.toml", [])  # the book stands on the library
        declared |= requirements(ROOT / str(self.project), self.extras)
        known |= {
            module
            for module, makers in packages_distributions().items()
            if declared & {maker.lower() for maker in makers}
        }
        strange = [
            (importer, imported)
            for package in self.packages
            for importer in sorted({package, *graph.find_descendants(package)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.split(".")[0] not in known
        ]
        return ContractCheck(kept=not strange, metadata={"strange": strange})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["strange"]:
            output.print_error(f"{importer} imports {imported}, which is not declared")
