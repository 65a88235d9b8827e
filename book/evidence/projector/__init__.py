"""The projector encodes the clustering."""

from evidence.projector import claims, statements
