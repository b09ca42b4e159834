"""Prompts: text in, groups of equal token length out. Nothing is ever padded."""

from pytest_interp.tasks.ioi import ioi, ioi_grid, single_token_names
from pytest_interp.tasks.p8 import p8
from pytest_interp.tasks.prompts import DataSet, Group, Prompt, PromptSet, from_strings

__all__ = ["DataSet", "Group", "Prompt", "PromptSet", "from_strings", "ioi", "ioi_grid", "p8", "single_token_names"]
