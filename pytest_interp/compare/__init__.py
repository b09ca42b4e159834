"""Two ledgers side by side: what moved, and by how much it may."""
