"""Attribution patching: an estimate of every cell's patching effect from two passes and a gradient.

A screen says where to look, and is no evidence: assertions refuse it. It takes the model for linear between the two
runs, which fails most where much is computed after: in the first layers, in MLP0, and where a softmax or a norm is
saturated. On SmolLM2 docs/patching.md has what it misses. What it finds is measured with ``head_patch_effect``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, Literal

from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.checkpoints.gradients import node_scores
from pytest_interp.common.arguments import checked
from pytest_interp.engine.contrast import require_contrast
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head
from pytest_interp.measure.patching import corruption_of, named_positions
from pytest_interp.table import name_of, ranking
from pytest_interp.text import counted

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

Site = Literal["z", "mlp_out"]
_KINDS = {"z": "attn_head_out", "mlp_out": "mlp_out"}


@dataclass(frozen=True)
class Screen(Mapping[Any, float]):
    """Estimated patching effects by cell, mean over prompts, in logits: where to look, no evidence.

    Attributes:
        estimates: by head, or by layer and position, or by head and position.
        axes: what rows and columns are.
    """

    estimates: Mapping[Any, float]
    axes: tuple[str, str]

    def __getitem__(self, key: Any) -> float:
        return self.estimates[Head.parse(key) if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name_of(cell)} {value:.3f}" for cell, value in self.top(3))
        return f"<Screen, {self.axes[0]} by {self.axes[1]}, {counted(len(self), 'cell')}: {shown} ...>"

    def top(self, count: int, *, most: str = "absolute") -> list[tuple[Any, float]]:
        """The cells with the largest estimates: what to measure next.

        Args:
            count: how many cells.
            most: ``absolute``, ``positive`` or ``negative``.

        Returns:
            Cells with their estimates, the largest first.

        Raises:
            UsageError: another word for ``most``.
        """
        size = ranking(most)
        return sorted(self.estimates.items(), key=lambda item: -size(item[1]))[:count]


@checked
@in_one_state
def attribution_screen(
    experiment: Experiment,
    site: Site = "z",
    *,
    positions: Sequence[str | int] | None = None,
    corruption: str | None = None,
) -> Screen:
    """The estimated effect on the logit difference of putting clean activations into the corrupted run, cell by cell.

    For each prompt: take the gradient of the logit difference by the activation, at the corrupted run; multiply it with
    the clean minus the corrupted activation; sum over dimensions. A cell adds these products up over its positions, and
    is their mean over prompts. It is the first-order part of
    ``patch_effect_sweep(experiment, site, metric="logit_diff")``. TransformerLens computes it (``attribution_patch``).

    Args:
        experiment: checkpoint and data set.
        site: ``z``: layer by head; ``mlp_out``: layer by position.
        positions: for ``z``: head by position instead of all positions together; for ``mlp_out`` the columns, by
            default the named positions, or every index where all prompts have one length.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.

    Returns:
        An estimate for each cell, in logits; positive where the clean activation raises the logit difference.

    Raises:
        UsageError: an unknown site, position or corruption; runs that do not differ.

    Nanda 2023 (attribution patching); Kramar et al. 2024 on where it fails.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> attribution_screen(experiment)
        <Screen, layer by head, 20 cells: 3.0 11.283, 4.0 -8.000, 3.1 7.522 ...>
    """
    corruption = corruption_of(experiment, corruption)
    data, other = experiment.data, experiment.data.run(corruption)
    require_contrast(experiment, corruption)
    columns = named_positions(experiment) if site == "mlp_out" and positions is None else positions
    sums: dict[Any, list[float]] = {}
    for group, twin in zip(data.clean.groups, other.groups, strict=True):
        indices = {} if columns is None else {column: _indices(experiment, group, column) for column in columns}
        for row in range(len(group.rows)):
            this_row = slice(row, row + 1)
            pair = group.answers[row], group.distractors[row]

            def metric(logits: Tensor, pair: Any = pair) -> Tensor:
                return logits[0, -1, pair[0]] - logits[0, -1, pair[1]]

            column_at = {index[row]: column for column, index in indices.items()}
            scores = node_scores(experiment.checkpoint, group.tokens[this_row], twin.tokens[this_row], metric)
            for node, score in scores.items():
                if node.kind == _KINDS[site] and (columns is None or node.position in column_at):
                    place = node.layer if node.head is None else Head(node.layer, node.head)
                    cell = place if columns is None else (place, column_at[node.position])
                    sums.setdefault(cell, []).append(score)
    cells = {cell: fsum(scores) / len(data.clean) for cell, scores in sums.items()}
    return Screen(cells, ("layer" if site == "mlp_out" else "head", "position") if columns else ("layer", "head"))


def _indices(experiment: Experiment, group: Any, column: str | int) -> list[int]:
    """The index of a column in each row of a group."""
    if isinstance(column, str):
        indices: list[int] = experiment.position(group, column).tolist()
        return indices
    length = group.tokens.shape[1]
    if not -length <= column < length:
        raise UsageError(f"position {column} is outside prompts of {length} tokens")
    return [column % length] * len(group.rows)
