"""The theorem."""

from evidence.theorem import claims, experiment, statements
