"""Forward passes with something replaced, over all groups of a data set."""

from pytest_interp.engine.experiment import Experiment

__all__ = ["Experiment"]
