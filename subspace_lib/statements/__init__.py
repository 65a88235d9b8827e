"""Every numbered statement of the book, checked by machine.

``python -m subspace_lib.statements`` runs all of them and prints a table; ``--full`` uses 10,000
random instances per statement.
"""

from importlib import import_module
from pathlib import Path

from subspace_lib.statements._registry import STATEMENTS, Report, Sides, Statement, register, run

for _path in sorted(Path(__file__).parent.glob("chapter_*.py")):
    import_module(f"subspace_lib.statements.{_path.stem}")

__all__ = ["STATEMENTS", "Report", "Sides", "Statement", "register", "run"]
