"""Snapshots: the files with the accepted numbers of claims, and the comparison with them."""
