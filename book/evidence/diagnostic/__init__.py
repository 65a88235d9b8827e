"""The diagnostic on your own model."""

from evidence.diagnostic import claims, experiment, statements
