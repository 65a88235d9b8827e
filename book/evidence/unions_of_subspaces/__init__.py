"""Unions of subspaces."""

from evidence.unions_of_subspaces import claims, statements
