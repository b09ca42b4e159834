"""Snapshots: the numbers of earlier runs, and the comparison with them."""
