"""How row spaces move."""

from evidence.row_spaces_move import statements
