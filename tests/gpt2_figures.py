"""The figures of GPT-2 small measured by the reference in numpy, on a model that stands in for GPT-2.

What a figure is measured on comes from the tables of claims/published; how it is measured is written here once more,
from the sources' protocols, apart from the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gpt2_vocabulary
import numpy as np
from gpt2_cases import Case, cases_of
from gpt2_reference import Prompts, Reference

from claims.published.populations import lists
from claims.published.tables import Figure

BOS = 50256
STREAMS = ("resid_pre", "attn_out", "mlp_out")


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured; the default is as its table says.

    Attributes:
        bos: whether BOS is as the table says, or the other choice.
        shift: how many positions every read or edited position is moved.
        space: whether answers have their leading space as the table says, or the other choice.
        value_bias: whether value biases are folded into the output bias.
        direction: whether clean stands in corrupted, or the two change places.
    """

    bos: bool = True
    shift: int = 0
    space: bool = True
    value_bias: bool = True
    direction: bool = True


RIGHT = Protocol()
WRONG = {
    "BOS": Protocol(bos=False),
    "position": Protocol(shift=-1),
    "space": Protocol(space=False),
    "value bias": Protocol(value_bias=False),
    "direction": Protocol(direction=False),
}


class Rehearsal:
    """The figures of a stand-in, measured by the reference.

    Args:
        folder: of the stand-in, as ``save_pretrained`` writes it.
        encode: text to GPT-2's token ids, without special tokens.
    """

    def __init__(self, folder: Path, encode: Callable[[str], list[int]]) -> None:
        self.encode = encode
        self.means: dict[tuple[str, Protocol], dict[str, float]] = {}
        self._references = {fold: Reference(folder, fold_value_biases=fold) for fold in (True, False)}

    def value(self, figure: Figure, protocol: Protocol = RIGHT) -> Any:
        """The figure's number, or the matrix of its numbers, by a protocol."""
        return self._measured(figure, protocol).value()

    def reference_mean(self, figure: Figure) -> float:
        """The mean logit difference over the prompts that a gap is measured from."""
        return self._measured(figure, RIGHT).reference_mean()

    def tells_runs_apart(self, figure: Figure) -> bool:
        """Whether the clean run's logit difference is above the corrupted one's, so that a share can be recovered."""
        return self._measured(figure, RIGHT).gained() > 0

    def _measured(self, figure: Figure, protocol: Protocol) -> _Measured:
        return _Measured(self, figure, protocol, self._references[protocol.value_bias])


@dataclass(frozen=True)
class _Measured:
    """One figure, by one protocol."""

    rehearsal: Rehearsal
    figure: Figure
    protocol: Protocol
    model: Reference

    # ---- text to tokens

    @cached_property
    def cases(self) -> Sequence[Case]:
        return cases_of(self.figure.stimulus)

    def tokens(self, text: str) -> list[int]:
        ids = self.rehearsal.encode(text)
        bos = self.figure.stimulus.get("bos", True)
        ids = [BOS, *ids] if bos == self.protocol.bos else ids
        return ids[: len(ids) + self.protocol.shift]

    def token(self, word: str) -> int:
        if not self.protocol.space:
            word = word[1:] if word.startswith(" ") else f" {word}"
        return self.rehearsal.encode(word)[0]

    def groups(self, run: str = "clean", cases: Sequence[Case] | None = None) -> Iterator[Prompts]:
        """Prompts of one length at a time, scored with the clean run's answers."""
        by_length: dict[int, list[tuple[list[int], int, int]]] = {}
        for case in self.cases if cases is None else cases:
            ids = self.tokens(case.text if run == "clean" else case.corrupted[run])
            by_length.setdefault(len(ids), []).append((ids, self.token(case.answer), self.token(case.distractor)))
        for rows in by_length.values():
            yield Prompts.of(*map(list, zip(*rows, strict=True)))

    @property
    def whole(self) -> Prompts:
        """All prompts, where they have one length."""
        (prompts,) = self.groups()
        return prompts

    # ---- numbers

    def value(self) -> Any:
        measure: Callable[[], Any] = getattr(self, f"_{self.figure.measurement}")
        return measure()

    def _logit_diff(self) -> float:
        knocked_out = self.figure.protocol.get("knocked_out")
        edits = Reference.zeroed(_head(knocked_out)) if knocked_out else None
        return self._mean(self.figure.protocol.get("run", "clean"), edits=edits)

    def _mean(self, run: str = "clean", cases: Sequence[Case] | None = None, edits: Any = None) -> float:
        return float(np.concatenate([self.model.logit_diff(p, edits) for p in self.groups(run, cases)]).mean())

    def _by_template(self, stimulus: Mapping[str, Any]) -> dict[str, float]:
        """The mean logit difference of each template, measured once for all figures that compare with these prompts."""
        key = (repr(stimulus), self.protocol)
        if key not in self.rehearsal.means:
            by_template: dict[str, list[Case]] = {}
            for case in cases_of(stimulus):
                by_template.setdefault(case.template, []).append(case)
            self.rehearsal.means[key] = {name: self._mean(cases=cases) for name, cases in by_template.items()}
        return self.rehearsal.means[key]

    def gained(self) -> float:
        """The mean logit difference of the clean run minus that of the corrupted one."""
        return self._mean() - self._mean(self.figure.protocol.get("corruption", "s2-exchanged"))

    def _logit_diff_gap(self) -> float:
        """The mean over templates of the difference from the reference's prompts of the same template."""
        ours, theirs = map(self._by_template, (self.figure.stimulus, self.figure.protocol["reference"]))
        return float(np.mean([mean - theirs[template] for template, mean in ours.items()]))

    def reference_mean(self) -> float:
        """The mean logit difference over the prompts that a gap is measured from."""
        cases = cases_of(self.figure.protocol["reference"])
        means = self._by_template(self.figure.protocol["reference"])
        return float(np.mean([means[case.template] for case in cases]))

    _token_logit = _logit_diff

    def _probability(self) -> float:
        (case,) = self.cases
        run = self.figure.protocol.get("run", "clean")
        text = case.text if run == "clean" else case.corrupted[run]
        return self.model.probability(self.tokens(text), self.token(self.figure.protocol.get("token", case.answer)))

    def _rank(self) -> int:
        (case,) = self.cases
        return self.model.rank(self.tokens(case.text), self.token(self.figure.protocol["token"]))

    def _loss(self) -> float:
        (case,) = self.cases
        return self.model.loss(self.tokens(case.text))

    def _activation_sum(self) -> float:
        run, hook = self.model.run(self.whole.tokens), self.figure.protocol["hook"]
        if hook.endswith("scale"):
            stream = run.sites["resid_pre" if ".ln1." in hook else "resid_mid", 0]
            return float(np.sqrt((stream**2).mean(-1) + self.model.epsilon).sum())
        return float(run.sites[hook.rpartition("_")[2], 0].sum())

    def _bias_difference(self) -> float:
        (case,) = self.cases
        return self.model.bias_difference(self.token(case.answer), self.token(case.distractor))

    def _scale_ratio(self) -> float:
        prompts = self.whole
        before = self.model.run(prompts.tokens).scale[:, -1]
        return float((before / self._without(self.figure.protocol["heads"]).scale[:, -1]).mean())

    def _without(self, heads: str) -> Any:
        return self.model.run(self.whole.tokens, Reference.zeroed(_head(heads)))

    def _logit_lens(self) -> float:
        return self.model.lens(self.whole, self.figure.protocol["site"], self.figure.protocol["layer"])

    def _component_attribution(self) -> float:
        values = [
            len(prompts.tokens)
            * self.model.component_attribution(
                prompts, self.figure.protocol["component"], self.figure.protocol["layer"]
            )
            for prompts in self.groups()
        ]
        return float(sum(values) / len(self.cases))

    def _direct_logit_attribution(self) -> float:
        layer, head = _head(self.figure.protocol["heads"])
        values = [len(prompts.tokens) * self.model.head_attributions(prompts)[layer, head] for prompts in self.groups()]
        return float(sum(values) / len(self.cases))

    def _ov_eigenvalue_score(self) -> float:
        return self.model.eigenvalue_score(*_head(self.figure.protocol["heads"]))

    def _suppressed_share(self) -> float:
        protocol = self.figure.protocol
        ranks = gpt2_vocabulary.suppression_ranks(self.model, *_head(protocol["heads"]), bias=protocol["bias"])
        return float((ranks < protocol["among"]).mean())

    def _biased_copy_share(self) -> float:
        return float(self._copy_shares()[_head(self.figure.protocol["heads"])])

    def _biased_copy_average(self) -> float:
        shares = self._copy_shares()
        return float(shares[1:].sum() / shares.size)

    def _copy_shares(self) -> Any:
        """By head; the source's names have no space before them."""
        tokens = tuple(self.token(name) for name in lists()["names"]["arena"])
        return gpt2_vocabulary.biased_copy_shares(
            self.model, tokens, negative=self.figure.protocol.get("negative", False), k=5
        )

    def _attended_share(self) -> float:
        return float((gpt2_vocabulary.attention_ranks(self.model, *_head(self.figure.protocol["heads"])) == 0).mean())

    def _patch_effect(self) -> float:
        protocol = self.figure.protocol
        return self._recovered(protocol["site"], protocol["layer"], None, protocol["at"])

    def _head_patch_effect(self) -> float:
        protocol = self.figure.protocol
        layer, head = _head(protocol["heads"])
        return self._recovered(protocol.get("site", "z"), layer, head, protocol.get("at"))

    def _recovered(self, site: str, layer: int, head: int | None, at: str | int | None) -> float:
        """(patched - corrupted) / (clean - corrupted): means over all prompts before the ratio."""
        corruption = self.figure.protocol.get("corruption", "s2-exchanged")
        sums = np.zeros(3)
        for clean, other in zip(self.groups(), self.groups(corruption), strict=True):
            corrupted = replace(other, answers=clean.answers, distractors=clean.distractors)
            runs = (clean, corrupted) if self.protocol.direction else (corrupted, clean)
            sums += self.model.patched_sums(*runs, site, layer, at=self._position(at, clean), head=head)
        patched, low, high = sums
        return float((patched - low) / (high - low))

    def _position(self, at: str | int | None, prompts: Prompts) -> int | None:
        """The index of a position: S2 is the same in all prompts of P8. BOS and END move with the protocol's tokens."""
        if at is None:
            return None
        if at == "END":
            return -1
        index = 10 if at == "S2" else int(at)
        length = prompts.tokens.shape[1]
        return min(index - (not self.protocol.bos), length - 1) + self.protocol.shift

    # ---- matrices

    def _direct_logit_attribution_matrix(self) -> Any:
        return self.model.head_attributions(self.whole).tolist()

    def _knocked_out_attribution_matrix(self) -> Any:
        edits = Reference.zeroed(_head(self.figure.protocol["knocked_out"]))
        return self.model.head_attributions(self.whole, edits).tolist()

    def _component_attribution_matrix(self) -> Any:
        prompts = self.whole
        rows: list[list[float | None]] = [[*self.model.embedding_attributions(prompts), None, None]]
        for layer in range(self.model.n_layers):
            written = [self.model.component_attribution(prompts, site, layer) for site in ("attn_out", "mlp_out")]
            rows.append([None, None, *written])
        return rows

    def _logit_lens_matrix(self) -> Any:
        return self._as_printed(
            lambda layer, column: self.model.lens(self.whole, ("resid_pre", "resid_mid", "resid_post")[column], layer)
        )

    def _patch_effect_matrix(self) -> Any:
        site, positions = self.figure.protocol["site"], "positions" in self.figure.protocol
        heads = self.model.n_heads

        def cell(row: int, column: int) -> float:
            if site in STREAMS:
                return self._recovered(site, row, None, column)
            if positions:
                return self._recovered(site, row // heads, row % heads, column)
            return self._recovered(site, row, column, None)

        return self._as_printed(cell)

    def _attribution_estimate_matrix(self) -> Any:
        """The slopes of patching effects."""
        site = self.figure.protocol["site"]
        (clean,), (other,) = self.groups(), self.groups("s2-exchanged")
        corrupted = replace(other, answers=clean.answers, distractors=clean.distractors)
        runs = (clean, corrupted) if self.protocol.direction else (corrupted, clean)

        def cell(layer: int, column: int) -> float:
            if site in STREAMS:
                return self.model.estimated(*runs, site, layer, at=self._position(column, clean), head=None)
            return self.model.estimated(*runs, site, layer, at=None, head=column)

        return self._as_printed(cell)

    def _as_printed(self, cell: Callable[[int, int], float]) -> Any:
        """A matrix with a number wherever the printed one has one."""
        return [
            [None if printed is None else cell(row, column) for column, printed in enumerate(cells)]
            for row, cells in enumerate(self.figure.value)
        ]


def _head(text: str) -> tuple[int, int]:
    layer, _, head = text.partition(".")
    return int(layer), int(head)
