"""Where models come from, and the one class through which everything else touches them."""

from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs, resolve

__all__ = ["CheckpointSpec", "known_specs", "resolve"]
