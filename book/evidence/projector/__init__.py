"""Chapter 2, The projector encodes the clustering."""
