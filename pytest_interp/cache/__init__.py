"""Measurements on disk, and whether the code that made them is what was installed."""
