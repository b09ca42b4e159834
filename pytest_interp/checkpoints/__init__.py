"""Sources of models, and :class:`Checkpoint`, the class through which all other packages use a model."""

from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs, resolve

__all__ = ["CheckpointSpec", "known_specs", "resolve"]
