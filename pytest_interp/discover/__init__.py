"""From a checkpoint and a task to a proposed circuit: stages, each a function with a plain result."""
