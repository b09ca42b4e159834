"""A first look at how a model does a task: which tables to read, and which claims to write next."""
