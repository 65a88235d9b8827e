"""Self-expression."""

from evidence.self_expression import methods, statements
