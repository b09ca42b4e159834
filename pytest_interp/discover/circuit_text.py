"""Stage 9: a proposal as the text of a circuit file, with the evidence for each head as comments."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.alternative import Alternative
from pytest_interp.discover.curve import Curve
from pytest_interp.discover.fit import BAND
from pytest_interp.discover.proposal import Proposal
from pytest_interp.discover.roles import BACKUP, INHIBITION, UNNAMED, Reading
from pytest_interp.heads import Head, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.tasks.positions import END
from pytest_interp.text import counted
from pytest_interp.verdict.caveats import disagreement
from pytest_interp.verdict.intervals import interval_of

Value = TypeVar("Value")
WIDTH = 118
INCOMPLETE = "INCOMPLETE"
"""The first word of a file whose discovery did not come to its end."""


def circuit_text(proposal: Proposal) -> str:
    """Returns the text of the circuit file of a proposal that has a circuit.

    Args:
        proposal: with a selection of at least one place.
    """
    finding, confirming = proposal.finding, proposal.confirming
    checkpoint = finding.checkpoint
    keys = [
        f"checkpoint = {_quoted(checkpoint.name)}",
        f"task = {_quoted(proposal.task)}",
        f"bos = {str(finding.data.clean.bos).lower()}",
        f"fingerprint = {_quoted(checkpoint.fingerprint)}",
        *(f"{key} = {_heads(heads)}" for key, heads in _lists(proposal).items() if heads),
        "",
        "[found]",
        'half = "find"',
        *([f"seed = {finding.data.seed}"] if finding.data.seed is not None else []),
        f"prompts = {len(finding.data.clean)}",
        f"confirmed_on = {_quoted(f'{confirming.data.name}, {len(confirming.data.clean)} prompts')}",
    ]
    parts = [*_comment(_heading(proposal)), *keys]
    for name, readings in _by_role(proposal).items():
        parts += ["", *_comment(_evidence(proposal, reading) for reading in readings), *_role(name, readings)]
    return "\n".join(parts) + "\n"


def measured(measurement: Measurement) -> str:
    """Returns the value of a measurement with its 95 % interval, such as ``0.950 [0.900, 1.000]``."""
    if measurement.population == "fixed":
        return quote(measurement.value)
    interval = interval_of(measurement)
    return f"{quote(measurement.value)} [{quote(interval.low)}, {quote(interval.high)}]"


def described(alternative: Alternative) -> str:
    """Returns what the heads outside of a circuit do without it, in a clause or two."""
    rest, best = measured(alternative.rest), measured(alternative.faithfulness)
    count = len(alternative.nearest)
    if not alternative.is_faithful:
        return f"all others keep {rest}; no other circuit: the nearest set of them, {count} heads, keeps {best}"
    kind = "another circuit" if alternative.complete else "another circuit, not yet as small as can be"
    return f"all others keep {rest}; {kind} of {count} heads keeps {best}: {names_of(alternative.nearest)}"


def summary(proposal: Proposal) -> list[str]:
    """Returns what a proposal says about its circuit as a whole, a line each.

    Args:
        proposal: with a selection.
    """
    selection = proposal.selection
    assert selection is not None
    lines = [
        f"{counted(len(selection.heads), 'head')} at {counted(len(selection.places), 'place')}; "
        f"faithfulness on the finding half {measured(selection.faithfulness)}; "
        f"all heads at the named positions alone: {quote(selection.ceiling)}."
    ]
    if proposal.confirmation is not None:
        confirmed = proposal.confirmation
        incomplete = "; ".join(f"without {role} {measured(gap)}" for role, gap in confirmed.completeness.items())
        resampled, corruption = confirmed.resampled
        lines.append(
            f"Faithfulness on the confirming half: {measured(confirmed.faithfulness)}; with z of {corruption} outside, "
            f"not the mean: {measured(resampled)}."
        )
        lines.append(f"Circuit minus model there, in logits: {incomplete}.")
    if proposal.stability is not None:
        interchangeable = [head for head in selection.heads if proposal.stability.is_interchangeable(head)]
        lines.append(
            f"Interchangeable (inclusion below 0.8 in {proposal.stability.resamples} resamples): "
            f"{names_of(interchangeable) or 'none'}."
        )
    if proposal.redraws is not None:
        likeness = proposal.redraws.jaccard
        lines.append(
            f"{counted(len(proposal.redraws.circuits), 'redraw')} in {proposal.redraws.seconds:.0f} s: "
            f"mean Jaccard index of two of their circuits {'undefined' if likeness is None else quote(likeness)}."
        )
    if proposal.curve is not None:
        curve = proposal.curve
        for run, values in curve.by_ablation.items():
            numbers = ", ".join(f"{size}: {value:.2f}" for size, value in _by_size(curve, values))
            word = "mean ablation" if run == "mean" else f"counterfactual ablation from {run}"
            lines.append(f"Faithfulness by number of heads, {word}: {numbers}; CMD {curve.cmd[run]:.3f}.")
        numbers = ", ".join(f"{size}: {low:.2f} to {high:.2f}" for size, (low, high) in _by_size(curve, curve.band))
        lines.append(f"Random heads, same ablation as the first curve: {numbers}.")
    if proposal.alternative is not None:
        lines.append(f"Without these heads, on the finding half: {described(proposal.alternative)}.")
    return lines


def _by_size(curve: Curve, values: Sequence[Value]) -> Iterable[tuple[int, Value]]:
    """The values of a curve by size, each size once: small shares of a small model are the same number of heads."""
    return dict(zip(curve.sizes, values, strict=True)).items()


def undecided(proposal: Proposal) -> list[str]:
    """Returns what a proposal could not decide, a sentence each."""
    selection, sentences = proposal.selection, []
    if proposal.interrupted:
        sentences.append(proposal.interrupted)
    if proposal.effects is not None and proposal.effects.untested:
        places = counted(len(proposal.effects.untested), "place")
        sentences.append(f"not patched alone, since the time was over: {places}; estimates ordered them")
    if selection is not None and not selection.complete:
        sentences.append("the search did not come to its end: heads may be superfluous or missing")
    for half, faithful in _faithfulness(proposal).items():
        if not BAND[0] <= faithful.value <= BAND[1]:
            sentences.append(f"the faithfulness on the {half} half is outside of {BAND[0]} to {BAND[1]}")
    if selection is not None and selection.improving:
        sentences.append(f"would bring it nearer to the model: {', '.join(map(str, sorted(selection.improving)))}")
    if proposal.roles is not None and (unnamed := [r.place for r in proposal.roles.readings if r.role == UNNAMED]):
        sentences.append(f"these act and fit no role: {', '.join(map(str, unnamed))}")
    return sentences + _unconfirmed(proposal)


def _unconfirmed(proposal: Proposal) -> list[str]:
    """What the confirming half leaves open, a sentence each."""
    confirmation, roles = proposal.confirmation, proposal.roles
    if confirmation is None or roles is None:
        return []
    sentences = []
    if different := disagreement(confirmation.faithfulness, *confirmation.resampled):
        sentences.append(different)
    if unconfirmed := [f"{r.place} ({r.role})" for r in roles.all if not confirmation.confirms(r)]:
        sentences.append(f"these do not have their role on the confirming half: {', '.join(unconfirmed)}")
    if idle := [str(place) for place in confirmation.adds if place not in confirmation.needed]:
        sentences.append(f"on the confirming half these add nothing that is surely off 0: {', '.join(idle)}")
    return sentences


def _faithfulness(proposal: Proposal) -> dict[str, Measurement]:
    """The faithfulness of the circuit on each half on which it was measured."""
    measurements = {}
    if proposal.selection is not None:
        measurements["finding"] = proposal.selection.faithfulness
    if proposal.confirmation is not None:
        measurements["confirming"] = proposal.confirmation.faithfulness
    return measurements


def _heading(proposal: Proposal) -> Iterator[str]:
    finding = proposal.finding
    if undone := _unfinished(proposal):
        yield f"{INCOMPLETE}: {undone}"
    command = (
        f"pytest-interp discover {finding.checkpoint.name} --task {proposal.task} --prompts {len(finding.data.clean)} "
        f"--seed {proposal.seed}"
    )
    if proposal.selection is not None and proposal.selection.given:
        yield f"Measured by {command} --circuit FILE. The heads were given; nothing was searched."
    else:
        yield (
            f"Proposed by {command}. Look at it before you believe it: it is a circuit that is faithful, not the only "
            "one."
        )
    if proposal.capability is not None:
        yield (
            f"The model on the finding half: {100 * proposal.capability.accuracy.value:.1f} % right, logit difference "
            f"{measured(proposal.capability.logit_diff)}."
        )
    yield from summary(proposal)
    sentences = undecided(proposal)
    yield f"Undecided: {'; '.join(sentences)}." if sentences else "Undecided: nothing."
    if proposal.seconds:
        stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in proposal.seconds.items())
        yield f"Seconds: {stages}; {sum(proposal.seconds.values()):.0f} in all."


def _unfinished(proposal: Proposal) -> str:
    """Why a file is incomplete; empty where it is whole."""
    if proposal.interrupted:
        return proposal.interrupted
    if proposal.selection is not None and not proposal.selection.complete:
        return "the search did not come to its end"
    return ""


def _by_role(proposal: Proposal) -> dict[str, list[Reading]]:
    """The readings by the name of their role in the file; a role at a second position gets a name of its own."""
    readings = proposal.roles.all if proposal.roles is not None else _without_roles(proposal)
    usual: dict[str, str] = {}
    for role in dict.fromkeys(reading.role for reading in readings):
        counts = Counter((r.place.at, r.reads) for r in readings if r.role == role)
        usual[role] = counts.most_common(1)[0][0][0]
    names: dict[str, list[Reading]] = {}
    for reading in readings:
        at = reading.place.at
        slug = re.sub(r"\W+", "_", at).strip("_").lower()
        name = reading.role if at == usual[reading.role] else f"{reading.role}_at_{slug}"
        names.setdefault(name, []).append(reading)
    return names


def _without_roles(proposal: Proposal) -> tuple[Reading, ...]:
    """The places of a circuit whose roles were not reached."""
    assert proposal.selection is not None
    return tuple(Reading(place, {}, "") for place in proposal.selection.places)


def _heads(heads: Iterable[Head]) -> str:
    """Heads as a list of TOML."""
    return f"[{', '.join(_quoted(str(head)) for head in heads)}]"


def _lists(proposal: Proposal) -> dict[str, list[Head]]:
    """The heads that the circuit keeps at every position, and those with a role that are not in it."""
    if proposal.roles is None or proposal.selection is None:
        return {}
    with_role = {reading.place.head for reading in proposal.roles.all}
    return {
        "everywhere": [place.head for place in proposal.selection.places if place.at == EVERYWHERE],
        "outside": sorted(with_role - set(proposal.selection.heads)),
    }


def _role(name: str, readings: list[Reading]) -> list[str]:
    """The table of a role."""
    first = readings[0]
    reads = Counter(reading.reads for reading in readings).most_common(1)[0][0]
    has_role = first.role != UNNAMED
    lines = [
        f"[roles.{name}]",
        f"heads = {_heads(sorted({r.place.head for r in readings}))}",
        f"at = {_quoted(first.place.at)}",
    ]
    if has_role and reads:
        lines.append(f"reads = {_quoted(reads)}")
        if first.place.at == END:
            lines += [f"writes = {_quoted(reads)}", f"sign = {first.sign}"]
    return [*lines, f"source = {_quoted(_source(first.role))}"]


def _source(role: str) -> str:
    how = {
        UNNAMED: "the search over exact faithfulness; what it reads and writes fits no role",
        BACKUP: "it writes next to nothing, and the answer when the name movers are knocked out",
        INHIBITION: "attention from END, and path patching into the name movers' queries",
    }
    return f"discovered: {how.get(role, 'attention, copy score and attribution on the prompts of the task')}"


def _evidence(proposal: Proposal, reading: Reading) -> str:
    """What was measured of a head at a position, in one line."""
    place, parts = reading.place, []
    if reading.attention:
        largest = sorted(reading.attention.items(), key=lambda item: -item[1].value)[:3]
        parts.append("attends to " + ", ".join(f"{name} {effect.value:.2f}" for name, effect in largest))
    if reading.copies is not None:
        parts.append(f"copies {reading.copies:.2f}, suppresses {reading.suppresses or 0:.2f}")
    if reading.written is not None:
        parts.append(f"writes {measured(reading.written)} at END")
    if reading.onto_queries is not None:
        parts.append(f"into the movers' queries {measured(reading.onto_queries)}")
    if reading.rise is not None:
        parts.append(f"rises by {measured(reading.rise)} without the movers")
    if proposal.effects is not None:
        for run, effects in proposal.effects.by_corruption.items():
            if place in effects:
                parts.append(f"patched from {run} {measured(effects[place])}")
    parts += _evidence_in_circuit(proposal, reading)
    return f"{place}: {'; '.join(parts)}." if parts else f"{place}."


def _evidence_in_circuit(proposal: Proposal, reading: Reading) -> Iterator[str]:
    """What a place does for the circuit, how stable it is, and on what it acts."""
    place, selection = reading.place, proposal.selection
    for node in (place, type(place)(place.head, EVERYWHERE)):
        if selection is not None and node in selection.lost:
            yield f"the circuit loses {measured(selection.lost[node])} without it"
        if proposal.confirmation is not None and node in proposal.confirmation.adds:
            yield f"on the confirming half {measured(proposal.confirmation.adds[node])}"
    if proposal.stability is not None and place.head in proposal.stability.frequency:
        yield f"included in {proposal.stability.frequency[place.head]:.2f} of resamples"
        shares = proposal.stability.by_template.get(place.head, {}).values()
        if shares:
            yield f"by template {min(shares):.2f} to {max(shares):.2f}"
        if others := proposal.stability.replacements.get(place.head):
            yield f"interchangeable with {names_of(list(others))}"
    if proposal.redraws is not None:
        yield f"in {proposal.redraws.frequency.get(place.head, 0):.2f} of redraws"
    edges = [edge for edge in proposal.edges or () if edge.sender == place.head]
    for edge in edges:
        if edge.acts:
            yield f"acts on {edge.target} {measured(edge.effect)}"
    if edges and not any(edge.acts for edge in edges):
        largest = max(edges, key=lambda edge: abs(edge.effect.value))
        yield (
            f"none of {counted(len(edges), 'tested path')} surely acts, the largest effect is on {largest.target} "
            f"{measured(largest.effect)}"
        )


def _comment(lines: Iterable[str]) -> list[str]:
    """Lines as comments of a TOML file."""
    return [
        f"# {part}"
        for line in lines
        for part in textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    ]


def _quoted(text: str) -> str:
    """A TOML string; those of JSON are such, but for characters that TOML forbids and JSON escapes as well."""
    return json.dumps(text, ensure_ascii=False)
