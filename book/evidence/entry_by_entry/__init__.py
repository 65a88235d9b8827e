"""Entry by entry."""

from evidence.entry_by_entry import claims, experiment, statements
