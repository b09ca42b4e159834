"""From files to a transformers model and its tokenizer."""
