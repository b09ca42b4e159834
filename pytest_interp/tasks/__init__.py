"""Prompts: text in, groups of equal token length out. Nothing is ever padded."""

from pytest_interp.tasks.dataset import DataSet, from_strings
from pytest_interp.tasks.ioi import ioi, ioi_grid, single_token_names
from pytest_interp.tasks.p8 import p8
from pytest_interp.tasks.prompts import Group, Prompt, PromptSet

__all__ = ["DataSet", "Group", "Prompt", "PromptSet", "from_strings", "ioi", "ioi_grid", "p8", "single_token_names"]
