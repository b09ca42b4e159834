"""Loads transformers models and tokenizers from files, and checks that the files belong together."""
