"""The outcome of each claim of a run, as plain data, and the JSON file that holds it."""
