"""One reference for any layer."""

from evidence.reference import claims, experiment, statements
