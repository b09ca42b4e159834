"""What came of each claim of a run, as plain data."""
