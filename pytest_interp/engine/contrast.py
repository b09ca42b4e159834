"""Which prompts an intervention can change at all: those on which the new activation differs from the old one.

Under a corruption that exchanges S2, everything before S2 is equal in both runs. A patch there leaves each prompt as it
was, whatever the head does, so its effect is undefined and not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch

from pytest_interp.checkpoints.rows import Rows
from pytest_interp.engine.patch import HEAD_SITES, Ablation, Node, Patch, Source
from pytest_interp.errors import UsageError
from pytest_interp.tasks.positions import END, text_of
from pytest_interp.text import counted, shown
from pytest_interp.tolerance import ACTIVATION_NOISE

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from pytest_interp.engine.experiment import Experiment

NEGLIGIBLE = 1e-7
"""The size of a head, relative to the largest of its layer at a position, below which it is float noise."""

Changed: TypeAlias = "Bool[Tensor, 'row pos head']"


def require_contrast(experiment: Experiment, corruption: str) -> None:
    """Refuses a corruption whose prompts are those of the clean run.

    Args:
        experiment: checkpoint and data set.
        corruption: the name of a corrupted run.

    Raises:
        UsageError: no such corruption, or it changes no token.
    """
    data = experiment.data
    if corruption == "clean" or data.run(corruption).inputs == data.clean.inputs:
        raise UsageError(
            f"the corruption {shown(corruption)} of {data.name} changes no prompt: an effect between equal runs is "
            "undefined; pass one that does"
        )


def changed_prompts(
    experiment: Experiment, patches: Sequence[Patch], run: str, read: str | int = END
) -> list[list[int]]:
    """For each patch the prompts, by row of the data set, on which it replaces an activation by a different one.

    Two activations are equal where no dimension differs by more than float noise, relative to the head's own size at
    that position of that prompt. A head whose size is float noise of the largest one there has none.

    Args:
        experiment: checkpoint and data set.
        patches: each is examined by itself.
        run: which prompts would run: ``clean`` or a corruption.
        read: the position whose logits are read: what is replaced after it cannot reach them.

    Returns:
        For each patch, row numbers in ascending order.
    """
    hooks = {node: experiment.checkpoint.sites.hook(node.site, node.layer) for patch in patches for node in patch.nodes}
    unedited = experiment.activations(sorted(set(hooks.values())), experiment.data.run(run))
    prompts: list[list[int]] = [[] for _ in patches]
    # Many patches share a source and a hook.
    sources = {(patch.source, hooks[node]): node.site for patch in patches for node in patch.nodes}
    places = [(index, source, hook) for index in range(len(experiment.data.clean.groups)) for source, hook in sources]
    everywhere = _on_cpu([
        _changed(experiment, source, sources[source, hook], hook, index, unedited[hook][index])
        for index, source, hook in places
    ])  # fmt: skip
    changed_in: dict[int, dict[tuple[Source, str], Changed]] = {}
    for (index, source, hook), changed in zip(places, everywhere, strict=True):
        in_reach = changed if read == END else _up_to(experiment, index, changed, read)
        changed_in.setdefault(index, {})[source, hook] = in_reach
    for index, group in enumerate(experiment.data.clean.groups):
        for number, patch in enumerate(patches):
            reached = torch.zeros(len(group.rows), dtype=torch.bool)
            for node in patch.nodes:
                spared = [spare for spare in patch.spare if (spare.site, spare.layer) == (node.site, node.layer)]
                cleared = _cleared(experiment, index, changed_in[index][patch.source, hooks[node]], spared)
                reached |= _reached(experiment, index, cleared, node)
            prompts[number] += [row for row, reaches in zip(group.rows, reached.tolist(), strict=True) if reaches]
    return [sorted(rows) for rows in prompts]


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of a device, brought to the CPU together: it waits for the device once."""
    if not tensors:
        return []
    joined = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    parts = torch.split(joined, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _up_to(experiment: Experiment, index: int, changed: Changed, read: str | int) -> Changed:
    """The changes of a group up to the position that is read; what comes after it cannot reach its logits."""
    (last,) = experiment.positions(index, read)
    assert last is not None
    reaching = torch.arange(changed.shape[1]) <= last[:, None]
    return changed & reaching[..., None]


def _changed(experiment: Experiment, source: Source, site: str, hook: str, index: int, value: Tensor) -> Changed:
    """Where a source differs from an activation of a group; the head axis has size 1 at sites without heads.

    The result is on the device of the activation.
    """
    rows = Rows.of(range(len(value)), len(value), value.device)
    replacement = source.give(hook, index, rows, value)
    distance = (replacement - value).abs().amax(-1).float()
    size = torch.maximum(replacement.abs(), value.abs()).amax(-1).float()
    if site == "pattern":
        distance, size = distance.transpose(1, 2), size.transpose(1, 2)
    if site not in HEAD_SITES:
        distance, size = distance[..., None], size[..., None]
    noise = ACTIVATION_NOISE[experiment.checkpoint.precision] * size
    return distance > torch.maximum(noise, NEGLIGIBLE * size.amax(-1, keepdim=True))


def _reached(experiment: Experiment, index: int, changed: Changed, node: Node) -> Bool[Tensor, " row"]:
    """The rows of a group in which a node is changed."""
    places = changed.any(2) if node.index is None else changed[:, :, node.index]
    reached = torch.zeros(len(places), dtype=torch.bool)
    for position in experiment.positions(index, node.at):
        reached |= places.any(1) if position is None else places[range(len(places)), position]
    return reached


def _cleared(experiment: Experiment, index: int, changed: Changed, spared: Sequence[Node]) -> Changed:
    """``changed`` with False at the spared nodes, which the patch leaves as they are."""
    cleared = changed.clone() if spared else changed
    for node in spared:
        heads = slice(None) if node.index is None else node.index
        for position in experiment.positions(index, node.at):
            if position is None:
                cleared[:, :, heads] = False
            else:
                cleared[range(len(cleared)), position, heads] = False
    return cleared


def no_change(
    experiment: Experiment, description: str, nodes: Sequence[Node], corruption: str, read: str | int = END
) -> str:
    """Why exchanging nodes between the clean run and a corrupted one can change nothing, and which corruption would.

    Args:
        experiment: checkpoint and data set.
        description: the nodes for a reader, such as ``z of 0.0 at S1+1``.
        nodes: the nodes that would be exchanged.
        corruption: the corrupted run.
        read: the position whose logits are read.

    Returns:
        The reason, for a message.
    """
    limit = "" if read == END else f" as far as {read}, which is read,"
    text = f"{description} is equal in the clean run and under {shown(corruption)}{limit} on all "
    text += counted(len(experiment.data.clean), "prompt")
    text += ": exchanging it can change nothing, so its effect is undefined, not 0"
    if _tokens_differ(experiment, nodes, corruption):
        return f"{text}; the prompts differ up to there, but it does not"
    names = [name for name in experiment.data.corrupted if _tokens_differ(experiment, nodes, name)]
    hint = f"the prompts of {' and '.join(map(repr, names))} differ there" if names else "no corruption differs there"
    return f"{text}; {hint}"


def nothing_ablated(experiment: Experiment, description: str, ablation: Ablation) -> str:
    """Why an ablation takes nothing away: the activation already equals what the ablation would put there.

    Args:
        experiment: checkpoint and data set.
        description: the ablated nodes for a reader, such as ``z of 0.0 at END``.
        ablation: the kind of ablation.

    Returns:
        The reason, for a message.
    """
    return (
        f"{description} is on all {counted(len(experiment.data.clean), 'prompt')} what {ablation} ablation puts there: "
        "nothing is taken away, so the effect is undefined, not 0"
    )


def _tokens_differ(experiment: Experiment, nodes: Sequence[Node], corruption: str) -> bool:
    """Whether any prompt differs at or before a position of a node: only then can the node differ."""
    data = experiment.data
    for index, (clean, corrupted) in enumerate(zip(data.clean.groups, data.run(corruption).groups, strict=True)):
        differ = (clean.tokens != corrupted.tokens).cummax(1).values
        for node in nodes:
            for position in experiment.positions(index, node.at):
                at = differ[:, -1] if position is None else differ[range(len(differ)), position]
                if bool(at.any()):
                    return True
    return False


def place_of(nodes: Sequence[Node]) -> str:
    """The positions of nodes, for a reader: ``at S1+1``.

    Args:
        nodes: all at the same positions.
    """
    at = text_of(nodes[0].at)
    return f"at {', '.join(map(str, at))}" if isinstance(at, list) else f"at {at}"
