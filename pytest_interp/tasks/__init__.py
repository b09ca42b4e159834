"""Tasks: functions that make data sets of prompts, grouped by token length and never padded."""

from pytest_interp.tasks.analogies import analogies
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.tasks.facts import alex_hart, capitals, surnames
from pytest_interp.tasks.ioi import ioi, ioi_grid, ioi_prompt, ioi_wordings, single_token_names
from pytest_interp.tasks.ioi_extra_mention import ioi_extra_mention
from pytest_interp.tasks.listed import from_ids, from_strings
from pytest_interp.tasks.p8 import p8
from pytest_interp.tasks.prompts import Group, Prompt, PromptSet
from pytest_interp.tasks.repeated_tokens import copied_tokens, repeated_ids, repeated_tokens
from pytest_interp.tasks.sequences import sequences

__all__ = [
    "DataSet",
    "Group",
    "Prompt",
    "PromptSet",
    "alex_hart",
    "analogies",
    "capitals",
    "copied_tokens",
    "from_ids",
    "from_strings",
    "ioi",
    "ioi_extra_mention",
    "ioi_grid",
    "ioi_prompt",
    "ioi_wordings",
    "p8",
    "repeated_ids",
    "repeated_tokens",
    "sequences",
    "single_token_names",
    "surnames",
]
