"""Indirect object identification: behaviour, heads, circuit."""
