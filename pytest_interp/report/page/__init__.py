"""The page of a run: one HTML file that opens from disk, without a network and without a model."""
