"""The profile of a checkpoint: its heads on the task of its circuit, as drift compares them with a baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_interp.common.builtin_types import plain
from pytest_interp.measurement import Sample


@dataclass(frozen=True)
class RoleScores:
    """The role score of every head for one role.

    The score is the attention from the role's position to what it reads, less that to mentions of the other name; where
    the role writes what it reads, times the (negative) copy score.

    Attributes:
        role: its name in the circuit file.
        reads: the rule for a reader, such as ``END reads IO, less S1 and S2; times copy score``.
        heads: those that have the role in the circuit file, such as ``9.9``.
        bound: the least score of a head that has the role.
        means: the mean score of every head over prompts, in [-1, 1].
        values: one score for each prompt, of the circuit's heads and of others that may have the role.
    """

    role: str
    reads: str
    heads: tuple[str, ...]
    bound: float
    means: Mapping[str, float]
    values: Mapping[str, tuple[float, ...]]

    def found(self, bound: float) -> frozenset[str]:
        """Returns the heads whose score is at or above a bound, whatever the circuit file says.

        Args:
            bound: such as that of the baseline.
        """
        return frozenset(head for head, mean in self.means.items() if mean >= bound)

    def rank(self, head: str) -> int:
        """Returns the place of a head among all heads by its score; 1 is the highest.

        Args:
            head: such as ``9.9``.
        """
        return 1 + sum(other > self.means[head] for other in self.means.values())

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RoleScores:
        """Returns the scores that a table of JSON describes."""
        values = {head: tuple(row) for head, row in table["values"].items()}
        return cls(**{**table, "heads": tuple(table["heads"]), "values": values})


@dataclass(frozen=True)
class PromptDraw:
    """What a profile has of one draw of prompts.

    Attributes:
        digest: the hash that draws of the same prompts have in common.
        sample: its prompts.
        logit_diff: of the whole model for each prompt, in logits.
        accuracy: 1 for each prompt whose answer is preferred, else 0.
        faithfulness: the logit difference of the circuit alone for each prompt; empty where it is not defined.
        roles: the role scores of all heads.
        effects: what patching z of each head at END from the clean run into the corrupted one adds to the logit
            difference, in logits; 0 where both runs have the same z, and within float noise of 0.
        left_out: why a number is not there, a sentence each.
    """

    digest: str
    sample: Sample
    logit_diff: tuple[float, ...]
    accuracy: tuple[float, ...]
    faithfulness: tuple[float, ...]
    roles: tuple[RoleScores, ...]
    effects: Mapping[str, float]
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> PromptDraw:
        """Returns the draw that a table of JSON describes."""
        sample = table["sample"]
        names = tuple(map(tuple, sample["names"]))
        typed = {
            "sample": Sample(tuple(sample["labels"]), tuple(sample["clusters"]), sample["population"], names),
            "roles": tuple(map(RoleScores.from_json, table["roles"])),
            **{key: tuple(table[key]) for key in ("logit_diff", "accuracy", "faithfulness", "left_out")},
        }
        return cls(**{**table, **typed})


@dataclass(frozen=True)
class Profile:
    """The heads of a checkpoint on the task of its circuit.

    Attributes:
        draws: the claims' prompts; then, of a baseline, other prompts of the same templates and names. What differs
            between the two is the floor under any difference from another checkpoint.
        reason: why there is no draw; else empty.
    """

    draws: tuple[PromptDraw, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON."""
        table: dict[str, Any] = plain(self)
        return table

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Profile:
        """Returns the profile that a table of JSON describes."""
        return cls(tuple(map(PromptDraw.from_json, table["draws"])), table["reason"])
