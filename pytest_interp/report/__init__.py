"""The closing tables of a run, as text for a terminal."""
