"""How row spaces move."""

from evidence.row_spaces_move import statements

__all__ = ["statements"]
