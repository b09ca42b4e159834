"""A fooling set: false but plausible claims, and what is said of each; true claims, of which none may be refuted.

A false claim may be refuted, inconclusive, not applicable or a usage error. Where it is supported, a note or caveat
must say why it should not be believed (``words``); where it holds as stated and only a reader can take it for more, the
record must let the reader see it (``shows``). A case that still fools the tool has a ``mend`` and is expected to fail.

    python tests/assertions/test_fooling.py --write

writes the table into docs/fooling.md.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from models import CLAIMS, ROOT, benchmark, experiment_on, random_gpt2

from pytest_interp import (
    Checkpoint,
    CheckpointSpec,
    Experiment,
    Head,
    assert_ablation_effect,
    assert_accuracy,
    assert_attention,
    assert_attention_write_correlation,
    assert_backup_heads,
    assert_cell,
    assert_completeness,
    assert_component_attribution,
    assert_copy_score,
    assert_detector_score,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_flips,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_logit_lens,
    assert_loss,
    assert_matrix,
    assert_measurement,
    assert_minimality,
    assert_next_token,
    assert_only,
    assert_ov_eigenvalue_score,
    assert_patch_effect,
    assert_path_patch_effect,
    assert_self_repair,
    assert_some_head,
    assert_top,
    assert_top_k,
    load_circuit,
)
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.build import Plan, build_planted
from pytest_interp.checkpoints.planted.family import MOVERS, TRUTH
from pytest_interp.checkpoints.planted.rules import RULES, Match, Rule, Write, with_rule, without
from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.measure import direct_logit_attribution, direct_logit_attribution_sweep, patch_effect_sweep
from pytest_interp.report.terminal import summarise
from pytest_interp.tasks import DataSet, from_strings, ioi, repeated_tokens, single_token_names
from pytest_interp.tasks.protocols import names_permuted
from pytest_interp.verdict import recording
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import judge

calibration = benchmark("calibration")
QUESTIONS, TRUE, Setting = calibration.CLAIMS, calibration.TRUE, calibration.Setting
PAGE = ROOT / "docs" / "fooling.md"
TABLE = re.compile(r"(<!-- made: fooling -->\n).*?(<!-- end -->)", re.DOTALL)

# Of the planted circuit, without one mover and without the negative head: what is missing has a sum near 0.
CANCELLING = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.2"]

# Raises the answer where it comes first of the two names, and lowers it where it comes second.
TWO_FACED = Rule(
    Head(3, 3),
    "first_name",
    (
        Match("is_end", "is_name", 20),
        Match("position", "position", 20, shift=-12),
        Match("position", "position", 20, shift=-13),
    ),
    30,
    (Write("token", "output", 5),),
)
# Reads IO at END and writes nothing.
SILENT = replace(RULES[Head(3, 0)], writes=())


class Stage:
    """The models and prompts that claims are made on; each is built once, when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.results: dict[str, Result] = {}

    def built(self, name: str, plan: Plan, circuit: Any = None) -> Experiment:
        """A planted model of this plan on 24 IOI prompts."""
        folder = self.directory / name.replace(" ", "-")
        folder.mkdir()
        spec = CheckpointSpec(name, loader=lambda: build_planted(plan, folder), bos=True)
        return experiment_on(Checkpoint(spec, circuit))

    @cached_property
    def circuit(self) -> Any:
        return load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")

    @cached_property
    def planted(self) -> Experiment:
        return experiment_on(Checkpoint(known_specs()["planted-ioi"], self.circuit))

    @cached_property
    def bare(self) -> Experiment:
        """The same without a circuit file, so that any head is a control."""
        return experiment_on(Checkpoint(known_specs()["planted-ioi"]))

    @cached_property
    def noisy(self) -> Experiment:
        return experiment_on(Checkpoint(known_specs()["planted-noisy"]))

    @cached_property
    def gqa(self) -> Experiment:
        return experiment_on(Checkpoint(known_specs()["planted-gqa"], self.circuit))

    @cached_property
    def two_faced(self) -> Experiment:
        return self.built("two-faced", Plan(with_rule(TWO_FACED)))

    @cached_property
    def two_faced_noisy(self) -> Experiment:
        return self.built("two-faced noisy", Plan(with_rule(TWO_FACED), noise=0.002, live=0.02))

    @cached_property
    def silent(self) -> Experiment:
        return self.built("silent reader", Plan(with_rule(SILENT)), self.circuit)

    @cached_property
    def unrepaired(self) -> Experiment:
        return self.built("no backup", Plan(without(Head(4, 1))))

    @cached_property
    def incapable(self) -> Experiment:
        return self.built("no inhibition", Plan(without(Head(2, 0), Head(2, 1))))

    @cached_property
    def random_checkpoint(self) -> Checkpoint:
        tokenizer = self.tokenizer
        return Checkpoint(CheckpointSpec("random", loader=lambda: (random_gpt2(tokenizer), tokenizer), bos=True))

    def random(self, n: int, seed: int) -> Experiment:
        """A model with random weights; IOI prompts of this seed."""
        data = ioi(self.tokenizer, half="confirm", n=n, seed=seed, bos=True)
        return Experiment(self.random_checkpoint, data)

    @cached_property
    def smollm2(self) -> Experiment:
        spec = known_specs()["smollm2-135m-instruct"]
        circuit = load_circuit(CLAIMS / "circuits" / "smollm2-135m-instruct.toml")
        return experiment_on(Checkpoint(spec, circuit))

    @property
    def tokenizer(self) -> Any:
        return self.planted.checkpoint.tokenizer

    @cached_property
    def names(self) -> tuple[str, ...]:
        return single_token_names(self.tokenizer, "confirm")

    def listed(self, rows: list[int], templates: list[str] | None, corruption: str = "s2-exchanged") -> DataSet:
        """Prompts of the planted data set by row, listed by hand; without templates a fixed population."""
        clean, other = self.planted.data.clean.prompts, self.planted.data.corrupted[corruption].prompts
        return from_strings(
            self.tokenizer,
            clean=[clean[row].text for row in rows],
            answers=[clean[row].answer for row in rows],
            distractors=[clean[row].distractor for row in rows],
            corrupted={corruption: [other[row].text for row in rows]},
            templates=templates,
            bos=True,
            population="sampled" if templates else "fixed",
        )

    @cached_property
    def dull(self) -> DataSet:
        """A corruption that exchanges places and objects, so that the answer stays."""
        prompts = self.planted.data.clean.prompts
        texts = [prompt.text for prompt in prompts]
        for tag in ("object", "place"):
            words = sorted({prompt.tags[tag] for prompt in prompts})
            following = dict(zip(words, [*words[1:], words[0]], strict=True))
            texts = [text.replace(p.tags[tag], following[p.tags[tag]]) for text, p in zip(texts, prompts, strict=True)]
        return self._relabelled(corrupted={"other-things": texts})

    @cached_property
    def absent(self) -> DataSet:
        """The prompts, with distractors that are not in them."""
        texts = [prompt.text for prompt in self.planted.data.clean.prompts]
        return self._relabelled(distractors=[f" {next(n for n in self.names if n not in text)}" for text in texts])

    @cached_property
    def one_wording(self) -> DataSet:
        """One template under twelve labels."""
        first = self.planted.data.clean.prompts[0]
        text = first.template.replace("{place}", first.tags["place"]).replace("{object}", first.tags["object"])
        pairs = [(self.names[i], self.names[(i + 1) % len(self.names)]) for i in range(12)]
        return from_strings(
            self.tokenizer,
            clean=[text.format(A=io, B=s, S=s) for io, s in pairs],
            answers=[f" {io}" for io, _ in pairs],
            distractors=[f" {s}" for _, s in pairs],
            templates=[f"wording {i}" for i in range(12)],
            bos=True,
            population="sampled",
        )

    @cached_property
    def verbs(self) -> DataSet:
        """Prompts with a position that is asked for by the word "ate", which is the end of "Kate" too."""
        sample = self.planted.data.clean.prompts
        wording = next(prompt for prompt in sample if " ate " in prompt.text)
        text = wording.template.replace("{place}", wording.tags["place"])
        return from_strings(
            self.tokenizer,
            clean=[text.format(A=io, B="Kate", S="Kate") for io in self.names[:8]],
            answers=[f" {io}" for io in self.names[:8]],
            distractors=[" Kate"] * 8,
            corrupted={"s2-exchanged": [text.format(A=io, B="Kate", S=io) for io in self.names[:8]]},
            positions={"verb": ["ate"] * 8},
            bos=True,
            population="fixed",
        )

    @cached_property
    def faint(self) -> Experiment:
        """One mover, which writes a hundredth of a logit, and nobody else who writes names."""
        rule = replace(RULES[Head(3, 0)], writes=(Write("token", "output", 0.01),))
        others = without(*(Head.parse(head) for head in ("1.0", "3.1", "3.2", "4.0", "4.1")))
        return self.built("a faint mover", Plan({**others, rule.head: rule}), self.circuit)

    @cached_property
    def crowded(self) -> Experiment:
        """Twelve heads at work: 3.0 and 0.0 share what they do with 3.3 and 0.2."""
        movers = [replace(RULES[Head(3, 0)], head=Head(3, h), writes=(Write("token", "output", 3),)) for h in (0, 3)]
        previous = [
            replace(RULES[Head(0, 0)], head=Head(0, h), writes=(Write("token", "previous", 0.5),)) for h in (0, 2)
        ]
        return self.built("crowded", Plan({**RULES, **{rule.head: rule for rule in (*movers, *previous)}}))

    @cached_property
    def positional(self) -> Experiment:
        """A head that looks 18 tokens back, on random tokens that repeat after 19."""
        rule = Rule(Head(0, 2), "18 back", (Match("position", "position", 40, shift=-18),), 0, ())
        checkpoint = self.built("18 back", Plan(with_rule(rule))).checkpoint
        return Experiment(checkpoint, repeated_tokens(self.tokenizer, length=19, n=16, seed=1, bos=True, complete=True))

    @cached_property
    def two_bos(self) -> DataSet:
        """Prompts that begin with BOS, before which BOS is put."""
        return self._relabelled(clean=[f"<bos> {prompt.text}" for prompt in self.planted.data.clean.prompts])

    @cached_property
    def mostly_equal(self) -> DataSet:
        """A corruption that leaves all prompts but three as they are."""
        prompts, other = self.planted.data.clean.prompts, self.planted.data.corrupted["s2-exchanged"].prompts
        texts = [(other if row in (0, 7, 12) else prompts)[row].text for row in range(len(prompts))]
        return self._relabelled(corrupted={"s2-exchanged": texts})

    @cached_property
    def weak(self) -> Experiment:
        """A fourth mover, with a thirtieth of the gain of the first."""
        rule = replace(RULES[Head(3, 0)], head=Head(3, 3), writes=(Write("token", "output", 0.2),))
        return self.built("a weak mover", Plan(with_rule(rule)), self.circuit)

    def _relabelled(self, **changes: Any) -> DataSet:
        prompts = self.planted.data.clean.prompts
        lists: dict[str, Any] = {
            "clean": [prompt.text for prompt in prompts],
            "answers": [prompt.answer for prompt in prompts],
            "distractors": [prompt.distractor for prompt in prompts],
            "templates": [prompt.template for prompt in prompts],
        }
        return from_strings(self.tokenizer, **{**lists, **changes}, bos=True, population="sampled")

    @cached_property
    def spaced(self) -> DataSet:
        """IOI prompts for SmolLM2 with a space at their end, as a file of prompts easily has."""
        prompts = self.smollm2.data.clean.prompts
        return from_strings(
            self.smollm2.checkpoint.tokenizer,
            clean=[f"{prompt.text} " for prompt in prompts],
            answers=[prompt.answer for prompt in prompts],
            distractors=[prompt.distractor for prompt in prompts],
            templates=[prompt.template for prompt in prompts],
            bos=False,
            population="sampled",
        )

    @cached_property
    def favoured(self) -> DataSet:
        """Prompts for SmolLM2 whose answers are common words and whose distractors are rare names."""
        starts = ("They talked about", "We walked along", "She looked at", "It was under", "He sat in", "You see",
                  "I came from", "Go to")  # fmt: skip
        common = ("the", "a", "his", "my", "our", "her", "this", "some")
        rare = ("Mary", "John", "Paul", "Anna", "Tom", "Mark", "Jack", "Kate")
        return from_strings(
            self.smollm2.checkpoint.tokenizer,
            clean=starts,
            answers=[f" {word}" for word in common],
            distractors=[f" {word}" for word in rare],
            templates=starts,
            bos=False,
            population="sampled",
        )


def lucky(stage: Stage) -> Any:
    """A seed of twenty and a head of twelve for which a claim that is false by little is supported at n = 12."""
    truth = direct_logit_attribution_sweep(stage.random(480, 99))
    for seed in range(20):
        prompts = stage.random(12, seed)
        for head, effect in direct_logit_attribution_sweep(prompts).items():
            bound = {"at_least": truth[head].value + 0.005}
            if judge(effect, Bound.of(**bound)).outcome == "supported":
                return assert_direct_logit_attribution(prompts, head, **bound)
    raise NotApplicable("no seed of twenty supports it")


def overlapping(stage: Stage) -> Any:
    """Found on all of the prompts but one, confirmed on all of them."""
    found_on = replace(stage.planted, data=stage.planted.data.rebuild(range(23)))
    names = single_token_names(stage.tokenizer)
    return assert_some_head(stage.planted, found_on=found_on, to="IO", minus=("S1", "S2"), names=names)


def cherries(stage: Stage) -> Experiment:
    """The prompts on which the two-faced head raises the answer."""
    effect = direct_logit_attribution(stage.two_faced_noisy, "3.3")
    rows = [row for row, value in enumerate(effect.values) if value > 1]
    return replace(stage.two_faced_noisy, data=stage.two_faced_noisy.data.rebuild(rows))


@dataclass(frozen=True)
class Case:
    """A false claim.

    Attributes:
        claim: what is claimed, in words.
        false: what is false about it.
        ask: the call.
        words: what notes and caveats must say (a regular expression) where it is supported; empty where it may not be.
        shows: what else of the record lets a reader see it, where it holds as stated.
        mend: what would make the tool say so; where it is given the tool is fooled.
        smollm2: whether it is about SmolLM2.
    """

    claim: str
    false: str
    ask: Callable[[Stage], Any]
    words: str = ""
    shows: str = ""
    mend: str = ""
    smollm2: bool = False


ANSWERS = ("refused", "said", "shown", "fooled")
NONE = (-0.5, 0.5)  # "no effect", in logits
SAME = "controls? do(es)? the same"
OPPOSITE = "opposite|cancel|single prompts|both signs"
VACUOUS = "cannot fail|any value|by definition|chance|trivial"
CONSTRUCTION = "by construction|trivial"

TRAPS: dict[str, list[Case]] = {
    "a wrong head, sign or position": [
        Case("0.3 raises the answer", "it is 3.0: layer and head are exchanged",
             lambda s: assert_direct_logit_attribution(s.planted, "0.3", at_least=0.5)),
        Case("4.0 raises the answer", "it lowers it",
             lambda s: assert_direct_logit_attribution(s.planted, "4.0", at_least=0.5)),
        Case("3.0 acts at S2", "it acts at END",
             lambda s: assert_head_patch_effect(s.planted, "3.0", at="S2", at_least=0.1)),
        Case("3.2 suppresses S", "it is 23.3",
             lambda s: assert_direct_logit_attribution(s.smollm2, "3.2", at_least=0.5), smollm2=True),
        Case("24.4 raises the answer", "it lowers it",
             lambda s: assert_direct_logit_attribution(s.smollm2, "24.4", at_least=0.1), smollm2=True),
    ],
    "an intervention that changes nothing, or is not what decides": [
        Case("0.0 does nothing at S1+1", "S1+1 stands before S2, which alone is exchanged",
             lambda s: assert_head_patch_effect(s.planted, "0.0", at="S1+1", between=NONE)),
        Case("3.3 does nothing", "its mean is all it ever writes: ablation takes nothing away",
             lambda s: assert_ablation_effect(s.planted, "3.3", between=NONE)),
        Case("2.0 has no path to the movers' queries, places exchanged", "what it sends is equal in both runs",
             lambda s: assert_path_patch_effect(
                 Experiment(s.bare.checkpoint, s.dull), "2.0", MOVERS, into="q", corruption="other-things",
                 between=NONE)),
        Case("4.1 stands in for 4.0", "they are in one layer: it cannot see the loss",
             lambda s: assert_backup_heads(s.planted, "4.1", knocked_out="4.0", at_least=0)),
        Case("0.0 is not needed", "it acts at S1+1; END alone was ablated",
             lambda s: assert_ablation_effect(s.planted, "0.0", between=NONE), shows="ablation of 0.0 at END"),
        Case("2.0 is not needed", "its path leads through the movers",
             lambda s: assert_path_patch_effect(s.planted, "2.0", "logits", between=NONE), shows="to the logits"),
        Case("0.1 does not act on 2.0", "it acts on its keys",
             lambda s: assert_path_patch_effect(s.planted, "0.1", "2.0", into="v", at="S2", between=NONE),
             shows="to v of 2.0"),
        Case("3.0 does not look at END from S1", "nothing can look ahead",
             lambda s: assert_attention(s.planted, "3.0", at="S1", to="END", between=(-0.1, 0.1)), words="unspecific"),
        Case("3.0 moves the answer", "on 3 of 24 prompts: the others are not corrupted",
             lambda s: assert_head_patch_effect(Experiment(s.planted.checkpoint, s.mostly_equal), "3.0", at="END",
                                                at_least=0.3), words="21 of 24 prompts left out"),
    ],
    "labels shuffled, a model that does not do the task": [
        Case("3.0 moves the answer, labels shuffled", "answers are those of other prompts",
             lambda s: assert_head_patch_effect(_shuffled(s), "3.0", at="END", at_least=0.1)),
        Case("3.0 raises the answer, labels shuffled", "answers are those of other prompts",
             lambda s: assert_direct_logit_attribution(_shuffled(s), "3.0", at_least=0.1)),
        Case("3.0 moves the answer of a model without inhibition", "the model does not do the task",
             lambda s: assert_head_patch_effect(s.incapable, "3.0", at="END", at_least=0.1)),
        Case("4.0 raises the answer", "the model does not do the task, and it suppresses S",
             lambda s: assert_direct_logit_attribution(s.incapable, "4.0", at_least=1), words="does not do the task"),
        Case("a model without inhibition does IOI", "distractors are not in the prompts",
             lambda s: assert_logit_diff(Experiment(s.incapable.checkpoint, s.absent), at_least=1),
             words="distractor"),
    ],
    "a set with dead or opposed members": [
        Case("3.0 and 3.3 raise the answer", "3.3 writes nothing",
             lambda s: assert_direct_logit_attribution(s.planted, ["3.0", "3.3"], at_least=1),
             words=r"(?<=3\.3 0\.000 alone, 0\.000 in the set: )adds nothing"),
        Case("3.0 and 4.0 raise the answer", "4.0 lowers it",
             lambda s: assert_direct_logit_attribution(s.planted, ["3.0", "4.0"], at_least=1), words="works against"),
        Case("4.1 and 4.3 are backups", "4.3 writes nothing",
             lambda s: assert_backup_heads(s.planted, ["4.1", "4.3"], knocked_out=MOVERS, at_least=1),
             words=r"(?<=4\.3 0\.000 alone, 0\.000 in the set: )adds nothing"),
        Case("a circuit of all heads but 4.1 is faithful, so 4.1 is no part", "ten of its heads write nothing",
             lambda s: assert_faithfulness(
                 s.planted, [str(h) for h in s.planted.checkpoint.shape.heads if str(h) != "4.1"], between=(0.9, 1.1)),
             words="add nothing"),
        Case("3.0 and 3.3 raise the answer", "3.0 does thirty times as much",
             lambda s: assert_direct_logit_attribution(s.weak, ["3.0", "3.3"], at_least=5),
             shows=r"3\.3(?=', 'contribution': 'adds', 'alone': 0\.19)"),
        Case("23.3, 0.0 and 0.1 raise the answer", "23.3 does all of it",
             lambda s: assert_direct_logit_attribution(s.smollm2, ["23.3", "0.0", "0.1"], at_least=0.8),
             words="add nothing", smollm2=True),
    ],
    "few prompts, one name, one wording": [
        Case("the model does IOI, shown on 2 prompts", "two templates say next to nothing",
             lambda s: assert_logit_diff(experiment_on(s.noisy.checkpoint, 2), at_least=1)),
        Case("3.0 copies names", "one name was asked for",
             lambda s: assert_copy_score(s.planted.checkpoint, "3.0", names=s.names[:1], at_least=0.8),
             words="this name only"),
        Case("the model does IOI", "four templates",
             lambda s: assert_logit_diff(experiment_on(s.noisy.checkpoint, 4), at_least=1), words="only 4 templates"),
        Case("the model is right on more than a tenth", "two prompts",
             lambda s: assert_accuracy(experiment_on(s.noisy.checkpoint, 2), at_least=0.1), words="few templates"),
        Case("the model does IOI", "one listed prompt",
             lambda s: assert_logit_diff(Experiment(s.noisy.checkpoint, s.listed([0], None)), at_least=3),
             words="this prompt only"),
        Case("23.1 does nothing", "24 prompts are too few to say so",
             lambda s: assert_head_patch_effect(s.smollm2, "23.1", at="END", between=(-0.02, 0.02), controls=0),
             smollm2=True),
        Case("the model does IOI", "four templates, and one name",
             lambda s: assert_logit_diff(experiment_on(s.smollm2.checkpoint, 4), at_least=0.5),
             words="only 4 templates",
             smollm2=True),
        Case("the model does IOI in 12 wordings", "one wording, twelve labels",
             lambda s: assert_logit_diff(Experiment(s.bare.checkpoint, s.one_wording), at_least=3),
             words="one wording|same wording"),
    ],
    "the same prompt, many times": [
        Case("the model does IOI, 12 prompts", "one prompt, twelve times, as twelve templates",
             lambda s: assert_logit_diff(_repeated(s, [0], 12), at_least=3), words="same answer"),
        Case("the model does IOI, 12 prompts", "two prompts, six times each",
             lambda s: assert_logit_diff(_repeated(s, [0, 5], 6), at_least=3), words="names widen"),
        Case("the model is right on nine of ten, 48 prompts", "two prompts, 24 times each",
             lambda s: assert_accuracy(_repeated(s, [0, 5], 24), at_least=0.9), words="2 different|repeated|names"),
        Case("the model does IOI, these 30 prompts", "one prompt, thirty times",
             lambda s: assert_logit_diff(Experiment(s.noisy.checkpoint, s.listed([0] * 30, None)), at_least=3),
             words="this prompt only|1 different"),
        Case("3.0 copies these 50 names", "one name, fifty times",
             lambda s: assert_copy_score(s.planted.checkpoint, "3.0", names=s.names[:1] * 50, at_least=0.8),
             words="this name only|1 different"),
        Case("the user's number is 1.2, 40 prompts", "two labels, twenty times each",
             lambda s: assert_measurement([1.0, 1.4] * 20, unit="logits", labels=["a", "b"] * 20, at_least=1.1),
             words="2 different|repeated"),
    ],
    "two groups with opposite effects": [
        Case("3.3 does not change the answer's logits", "5 up where IO comes first, 5 down where it comes second",
             lambda s: assert_direct_logit_attribution(s.two_faced, "3.3", between=(-2, 2)),
             words=OPPOSITE),
        Case("3.3 is not needed", "the same, by ablation",
             lambda s: assert_ablation_effect(s.two_faced, "3.3", ablation="zero", between=(-2, 2)),
             words=OPPOSITE),
        Case("3.3 does not act at END", "10 up or down, by patching",
             lambda s: assert_head_patch_effect(s.two_faced, "3.3", at="END", corruption="names-exchanged",
                                                metric="logit_diff", between=(-4, 4)), words=OPPOSITE),
        Case("the user's number is 0", "24 prompts at 1, 24 at -1",
             lambda s: assert_measurement([1.0, -1.0] * 24, unit="logits", between=NONE), words=OPPOSITE),
        Case("28.1 does not change the answer's logits", "by 1.5 up and 1.0 down on single prompts",
             lambda s: assert_direct_logit_attribution(s.smollm2, "28.1", between=NONE), words=OPPOSITE, smollm2=True),
        Case("the effect is at least 1, in 12 templates", "one template with 40 of 51 prompts has all of it",
             lambda s: assert_measurement([0.0] * 11 + [2 + i / 100 for i in range(40)], unit="logits",
                                          clusters=[f"t{i}" for i in range(11)] + ["large"] * 40, at_least=1)),
    ],
    "prompts, a seed or heads that were picked": [
        Case("a random head raises the answer", "a seed of twenty and a head of twelve were picked",
             lucky, shows="'data_seed'"),
        Case("the random model's best head raises the answer", "it is the best of twelve by chance",
             lambda s: assert_direct_logit_attribution(s.random(96, 1), _best(s), at_least=0)),
        Case("the model prefers the answer by 9", "in the order ABBA only",
             lambda s: assert_logit_diff(s.two_faced.select(order="ABBA"), at_least=9), words="ABBA|order|part of"),
        Case("the model prefers the answer by 12", "11 of 24 prompts, on which it does, were picked",
             lambda s: assert_logit_diff(cherries(s), at_least=12), words="11 of 24|part of"),
        Case("some head is a name mover, found elsewhere", "23 of the 24 prompts are those it was found on",
             overlapping, words="overlap|same prompts|23 of"),
        Case("the movers and no other head move the answer", "only layer 3 was swept",
             lambda s: assert_only(patch_effect_sweep(s.noisy, "z", layers=[3], at="END"), MOVERS, at_least=0.25),
             shows="1 of 1 surely outside"),
        Case("the model prefers the answer by 5", "true with BOS only",
             lambda s: assert_logit_diff(s.planted, at_least=5), shows="'bos': True"),
    ],
    "a bound that nothing can miss, or chance meets": [
        Case("3.0 has no effect", "its effect is 0.63: the band is wider than the whole",
             lambda s: assert_head_patch_effect(s.planted, "3.0", at="END", between=(-1.5, 1.5)), shows=r"0\.628"),
        Case("a random head copies names (top 170)", "of 178 tokens nearly all are among the top 170",
             lambda s: assert_copy_score(s.random_checkpoint, "1.2", names=s.names, k=170, at_least=0.8),
             words="unspecific"),
        Case("attribution is this matrix", "two of twenty cells were given, and both are 0",
             lambda s: assert_matrix(direct_logit_attribution_sweep(s.planted), {"3.3": 0.0, "0.0": 0.0}, within=0.1),
             shows="difference of 2 cells"),
        Case("the model is right", "at least 0 of any share",
             lambda s: assert_accuracy(s.planted, at_least=0), words=VACUOUS),
        Case("the answer has rank 1 or more", "every rank is at least 1",
             lambda s: assert_next_token(s.planted, "rank", at_least=0.5), words=VACUOUS),
        Case("a random model knows the answer", "0.3 is less than the half that guessing gets",
             lambda s: assert_accuracy(s.random(96, 1), at_least=0.3), words=VACUOUS),
        Case("a random model has the answer among its top", "150 of 178 tokens",
             lambda s: assert_top_k(s.random(96, 1), 150, at_least=0.6), words=VACUOUS),
        Case("a random model predicts the prompts", "a loss of 7 nats is more than that of no knowledge, ln 178",
             lambda s: assert_loss(s.random(96, 1), at_most=7), words=VACUOUS),
        Case("3.3 is a special cell", "the bound holds of all cells",
             lambda s: assert_cell(direct_logit_attribution_sweep(s.planted), "3.3", at_least=-9), words="unspecific"),
        Case("3.3 is among the top 18", "of 20; 17 may be in front",
             lambda s: assert_top(direct_logit_attribution_sweep(s.planted), "3.3", among=18),
             words="18 of 20|unspecific"),
        Case("attribution is this matrix", "a matrix of zeros, within 7",
             lambda s: assert_matrix(direct_logit_attribution_sweep(s.planted), [[0.0] * 4] * 5, within=7),
             words="zeros|unspecific|any"),
        Case("3.3 is among the top 6", "it is tied with fourteen heads that write nothing",
             lambda s: assert_top(direct_logit_attribution_sweep(s.planted), "3.3", among=6)),
    ],
    "true by construction": [
        Case("resid_pre of layer 0 holds the answer", "all positions: it is the whole clean run",
             lambda s: assert_patch_effect(s.planted, "resid_pre", 0, at_least=0.9), words=CONSTRUCTION),
        Case("S2 holds the answer at layer 0", "no other token differs",
             lambda s: assert_patch_effect(s.planted, "resid_pre", 0, at="S2", at_least=0.9), words=CONSTRUCTION),
        Case("END holds the answer after the last layer", "nothing else is read",
             lambda s: assert_patch_effect(s.planted, "resid_post", 4, at="END", at_least=0.9), words=CONSTRUCTION),
    ],
    "controls that do the same, or were not looked at": [
        Case("only 3.1 moves the answer", "3.0 and 3.2 do too",
             lambda s: assert_head_patch_effect(s.bare, "3.1", at="END", at_least=0.3), words=SAME),
        Case("3.1 writes 3.96 as no other head does", "3.0 writes more: a band hides a control that does",
             lambda s: assert_direct_logit_attribution(s.bare, "3.1", near=(3.96, 0.05)), shows=r"3\.0 5\.941"),
        Case("the answer appears at layer 3 alone", "layer 4 has it too",
             lambda s: assert_logit_lens(s.planted, 3, at_least=5), words=SAME),
        Case("attention of layer 2 alone writes nothing", "nor does that of layer 1",
             lambda s: assert_component_attribution(s.planted, "attn_out", 2, between=NONE),
             words=SAME),
        Case("exchanging S2 alone flips the answer", "exchanging the names does too",
             lambda s: assert_flips(s.planted, "s2-exchanged", at_least=0.8), words=SAME),
        Case("only 3.1 moves the answer, by the circuit file", "3.0 and 3.2 do: heads of the circuit are no controls",
             lambda s: assert_head_patch_effect(s.planted, "3.1", at="END", at_least=0.3), words="3\\.0|same role"),
        Case("only 3.1 moves the answer", "one control, of a seed that draws the dead head",
             lambda s: assert_head_patch_effect(replace(s.bare, seed=0), "3.1", at="END", at_least=0.3, controls=1),
             words="no score|no control|1 control"),
        Case("only 3.1 moves the answer", "controls were turned off",
             lambda s: assert_head_patch_effect(s.bare, "3.1", at="END", at_least=0.3, controls=0), words="no control"),
        Case("the user's number is at least 0.92", "the control has 0.93, on other prompts",
             lambda s: assert_measurement([1.0 + 0.1 * (-1) ** i for i in range(12)], unit="logits",
                                          control=[0.93 + 0.3 * (-1) ** i for i in range(10)], at_least=0.92),
             words="control does the same"),
        Case("3.3 carries the answer, by noising", "it has no rule: 1 means that nothing was lost",
             lambda s: assert_head_patch_effect(s.noisy, "3.3", at="END", direction="noise", at_least=0.5),
             words=SAME),
    ],
    "a corruption that leaves the answer": [
        Case("3.0 recovers nothing of exchanged places", "the denominator is 0 within its interval",
             lambda s: assert_head_patch_effect(
                 Experiment(s.noisy.checkpoint, s.dull), "3.0", at="END", corruption="other-things", between=NONE)),
        Case("3.0 does nothing", "nothing does where only places and objects are exchanged",
             lambda s: assert_head_patch_effect(
                 Experiment(s.noisy.checkpoint, s.dull), "3.0", at="END", corruption="other-things",
                 metric="logit_diff", between=NONE), words=SAME),
        Case("the stream at END does not carry the answer", "the corruption leaves the answer",
             lambda s: assert_patch_effect(Experiment(s.noisy.checkpoint, s.dull), "resid_post", 4, at="END",
                                           corruption="other-things", metric="logit_diff", between=NONE),
             words="corruption"),
    ],
    "an effect that something hides": [
        Case("4.1 has no part in IOI", "it stands in for the movers, which are there",
             lambda s: assert_ablation_effect(s.planted, "4.1", ablation="zero", at=None, between=NONE),
             words="alone|stand in"),
        Case("4.1 is no part of the circuit", "the same, by minimality with K empty",
             lambda s: assert_minimality(s.planted, "4.1", [str(head) for head in RULES], between=NONE),
             words="K is empty|alone"),
        Case("3.0 does nothing", "the metric is saturated: rank 1 with and without it",
             lambda s: assert_ablation_effect(s.planted, "3.0", ablation="zero", metric="rank", between=NONE),
             words="logit"),
        Case("backups repair a third of the loss", "there is none: the negative head falls silent",
             lambda s: assert_self_repair(s.unrepaired, MOVERS, at_least=0.2), words="4\\.0|released|negative"),
        Case("4.0 is a backup of the movers", "it lowered the answer before and is released",
             lambda s: assert_backup_heads(s.planted, "4.0", knocked_out=MOVERS, at_least=1)),
    ],
    "a circuit whose missing heads cancel": [
        Case("a circuit without 3.1 and 4.0 is complete", "without K they show: the negative head hid the mover",
             lambda s: assert_completeness(s.planted, CANCELLING, knocked_out=["3.0", "3.2"], between=(-1, 1))),
        Case("a circuit without 3.1 and 4.0 is faithful", "what is missing cancels",
             lambda s: assert_faithfulness(s.planted, CANCELLING, between=(0.8, 1.2)), words="outside|missing|cancel"),
        Case("a circuit of 11 heads is more faithful than others", "no other was drawn: nine heads are left",
             lambda s: assert_faithfulness(
                 s.crowded, [*(head for head in RULES if head != Head(4, 1)), "0.2", "3.3"], between=(0.8, 1.2)),
             words="no control|no random circuit"),
        Case("that circuit is complete", "K is empty: this is faithfulness again",
             lambda s: assert_completeness(s.planted, CANCELLING, between=(-1, 1)), words="K is empty"),
    ],
    "one mark of several": [
        Case("1.0 is a name mover", "it copies what it reads, and never reads at END",
             lambda s: assert_copy_score(s.planted.checkpoint, "1.0", names=s.names, at_least=0.8),
             shows="also true of 4 of 19 other heads"),
        Case("3.0 is a name mover", "it reads IO and writes nothing",
             lambda s: assert_attention(s.silent, "3.0", at="END", to="IO", minus=("S1", "S2"), at_least=0.5),
             words="moves nothing|writes nothing"),
        Case("some head is a name mover", "the only one writes 0.01 logits",
             lambda s: assert_some_head(
                 s.faint, found_on=experiment_on(s.faint.checkpoint, half="find"), to="IO", minus=("S1", "S2"),
                 names=s.names), words="does not do the task|of the logit difference"),
        Case("3.0 writes what it reads", "its correlation is 1, and it writes 0.01 logits",
             lambda s: assert_attention_write_correlation(s.faint, "3.0", at_least=0.8),
             words=r"0\.01|logits"),
        Case("0.2 is an induction head", "it looks 18 tokens back, whatever stands there: all have one length",
             lambda s: assert_detector_score(s.positional, "0.2", "induction", at_least=0.5),
             words="one length|distance"),
        Case("29.1 is a name mover", "it raises the answer, and reads no name at END",
             lambda s: assert_direct_logit_attribution(s.smollm2, "29.1", at_least=0.4), words="reads", smollm2=True),
        Case("24.4 copies what it reads", "it suppresses it: eigenvalues of the OV circuit alone have no sign of use",
             lambda s: assert_ov_eigenvalue_score(s.smollm2.checkpoint, "24.4", through="residual", at_least=0.3,
                                                   controls=0),
             words="copy score|negative", smollm2=True),
    ],
    "heads that share keys and values": [
        Case("3.3's value moves the answer", "it has no rule; its key-value head is 3.2's",
             lambda s: assert_head_patch_effect(s.gqa, "3.3", site="v", corruption="names-exchanged",
                                                at_least=0.05),
             words="shared?|3\\.2"),
        Case("2.0's value alone carries all", "it is 2.1's too; each carries half",
             lambda s: assert_head_patch_effect(s.gqa, "2.0", site="v", at_least=0.9), words="shared?|2\\.1"),
    ],
    "prompts that are not what they seem": [
        Case("the verb 'ate' holds the answer at layer 0", "the position is that of S2: 'Kate' ends in 'ate'",
             lambda s: assert_patch_effect(Experiment(s.planted.checkpoint, s.verbs), "resid_pre", 0, at="verb",
                                           at_least=0.9), words="Kate|whole word"),
        Case("the model prefers the answer by 5, after BOS", "after two of them",
             lambda s: assert_logit_diff(Experiment(s.planted.checkpoint, s.two_bos), at_least=5), words="BOS"),
        Case("the model does not know the answer", "prompts end in a space: .96 have it in the top 10 without",
             lambda s: assert_top_k(Experiment(s.smollm2.checkpoint, s.spaced), 10, at_most=0.5), words="space",
             smollm2=True),
        Case("the model knows these eight phrases", "common words beat rare names after anything",
             lambda s: assert_logit_diff(Experiment(s.smollm2.checkpoint, s.favoured), at_least=2),
             words="no control|other names",
             smollm2=True),
    ],
}  # fmt: skip

CASES = [case for cases in TRAPS.values() for case in cases]


def _shuffled(stage: Stage) -> Experiment:
    return replace(stage.planted, data=names_permuted(stage.planted.data))


def _repeated(stage: Stage, rows: list[int], times: int) -> Experiment:
    """Prompts listed several times, each time as another template."""
    listed = rows * times
    return Experiment(stage.noisy.checkpoint, stage.listed(listed, [f"template {i}" for i in range(len(listed))]))


def _best(stage: Stage) -> Head:
    effects = direct_logit_attribution_sweep(stage.random(96, 1))
    return max(effects, key=lambda head: effects[head].value)


# ---- what is said of a claim


@dataclass(frozen=True)
class Result:
    """What the tool says of a claim.

    Attributes:
        outcome: of its verdict, or ``not applicable`` or ``usage error``.
        said: notes and caveats.
        recorded: everything else of the record.
    """

    outcome: str
    said: str = ""
    recorded: str = ""


def result_of(stage: Stage, ask: Callable[[Stage], Any]) -> Result:
    """The outcome of a claim, and what is said with it."""
    with recording.collecting() as records:
        try:
            ask(stage)
        except NotApplicable as refusal:
            return Result("not applicable", str(refusal))
        except UsageError as refusal:
            return Result("usage error", str(refusal))
        except ClaimFailed:
            pass
    record = records[-1]
    said = " | ".join([*record.notes, *record.caveats])
    shown = {key: value for key, value in record.to_json().items() if key not in ("notes", "caveats")}
    return Result(record.outcome, said, str({**shown, "value": f"{record.value:.3f}"}))


def name_of(case: Case) -> str:
    """A name for a test, which no other case has."""
    return f"{case.claim}: {case.false}"


def kept(stage: Stage, case: Case) -> Result:
    """The result of a case, asked once."""
    if name_of(case) not in stage.results:
        stage.results[name_of(case)] = result_of(stage, case.ask)
    return stage.results[name_of(case)]


def warning(case: Case, result: Result) -> str:
    """What a reader of a supported verdict is told or shown; empty where there is nothing."""
    for text, pattern in ((result.said, case.words), (result.recorded, case.shows)):
        if pattern and (match := re.search(pattern, text, re.IGNORECASE)):
            return match.group(0)
    return ""


def verdict_on(case: Case, result: Result) -> str:
    """Whether the tool is fooled, for the page."""
    if result.outcome != "supported":
        return "refused"
    return ("said" if case.words else "shown") if warning(case, result) else "fooled"


def row_of(stage: Stage, trap: str) -> str:
    """The row of a trap: how many claims fell into which answer."""
    cases = TRAPS[trap]
    counts = Counter(verdict_on(case, kept(stage, case)) for case in cases)
    numbers = " | ".join(str(counts[answer] or "") for answer in ANSWERS)
    return f"| {trap} | {numbers} |"


def needs(case: Case) -> None:
    """Skips a case whose model is not here."""
    if case.smollm2 and (reason := known_specs()["smollm2-135m-instruct"].missing()):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("models"))


def _cases() -> Iterator[Any]:
    for case in CASES:
        fooled = pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"fooled: {case.mend}")
        yield pytest.param(case, id=name_of(case), marks=[fooled] if case.mend else [])


@pytest.mark.parametrize("case", list(_cases()))
def test_no_false_claim_is_supported_without_a_word(stage: Stage, case: Case) -> None:
    needs(case)
    result = kept(stage, case)
    assert result.outcome != "supported" or warning(case, result), f"nothing but {result.said!r} is said"


def test_there_are_enough_and_each_has_a_name() -> None:
    assert len({name_of(case) for case in CASES}) == len(CASES) >= 80
    assert sum(case.smollm2 for case in CASES) >= 5


def test_notes_of_a_supported_claim_reach_the_terminal(stage: Stage) -> None:
    """Listed prompts, few templates, one answer: what is said must be printed, at least where it is asked for (-v)."""
    with recording.collecting() as records:
        assert_logit_diff(_repeated(stage, [0], 3), at_least=3)
    outcome = ClaimOutcome(RecordedClaim("claim", "claim"), "planted-noisy", tuple(records), when="call")
    printed = " ".join(" ".join(line.text for line in summarise([outcome], verbose=True)).split())
    assert all(note in printed for note in records[0].notes)


# ---- true claims


def _true_claims() -> Iterator[Any]:
    """What follows from the tables of planted_family, and from those of calibration for planted-ioi."""
    for model, truth in TRUTH.items():
        near = 2 * truth.tolerance
        claims: dict[str, Callable[[Setting], Any]] = {
            "clean": lambda s, t=truth, w=near: assert_logit_diff(s.prompts, near=(t.clean, w)),
            "accuracy": lambda s: assert_accuracy(s.prompts, at_least=0.8),
            "corrupted": lambda s, t=truth, w=near: assert_logit_diff(
                s.prompts, run="s2-exchanged", near=(-t.clean, w)
            ),
            "flips": lambda s: assert_flips(s.prompts, "s2-exchanged", at_least=0.8),
            "faithful": lambda s: assert_faithfulness(
                s.prompts, [head for head in RULES if head != Head(4, 1)], controls=0, between=(0.8, 1.2)
            ),
            "top": lambda s: assert_top(direct_logit_attribution_sweep(s.prompts), ["3.0", "3.1", "3.2"]),
            "lowest": lambda s: assert_top(direct_logit_attribution_sweep(s.prompts), "4.0", most="negative"),
            "only": lambda s: assert_only(direct_logit_attribution_sweep(s.prompts), MOVERS, at_least=2),
        }
        for heads, left in truth.without.items():
            claims[f"without {' '.join(heads)}"] = lambda s, h=heads, e=left - truth.clean, w=near: (
                assert_ablation_effect(s.prompts, h, ablation="zero", at=None, near=(e, w))
            )
        for head in RULES:
            expected = truth.writes.get(str(head), 0.0)
            claims[f"{head} writes {expected:.1f}"] = lambda s, h=head, e=expected, w=near: (
                assert_direct_logit_attribution(s.prompts, h, near=(e, w))
            )
        for sign, heads in (("", truth.copies), ("negative ", truth.suppresses)):
            for head in heads:
                claims[f"{sign}copy score of {head}"] = lambda s, h=head, n=bool(sign): assert_copy_score(
                    s.checkpoint, h, names=s.names, negative=n, at_least=0.9
                )
        for head in set(truth.redundant) - {"0.1"}:  # it has no rule in the chain: not applicable there
            claims[f"{head} is redundant"] = lambda s, h=head, w=truth.tolerance: assert_ablation_effect(
                s.prompts, h, ablation="zero", at=None, controls=0, between=(-w, w)
            )
        if model != "planted-chain":
            for question, heads in TRUE.items():
                for head in sorted(heads):
                    claims[f"{head} {question}"] = lambda s, q=question, h=head: QUESTIONS[q](s, h)
        for text, claim in claims.items():
            yield pytest.param(model, claim, id=f"{model}: {text}")
    yield pytest.param(
        "planted-ioi",
        lambda s: assert_backup_heads(s.prompts, "4.1", knocked_out="3.0", between=(-0.1, 0.1)),
        id="planted-ioi: 4.1 does not react to the loss of one mover",
    )


@pytest.fixture(scope="module")
def settings() -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    for model in TRUTH:
        prompts = experiment_on(Checkpoint(known_specs()[model]))
        tokenizer = prompts.checkpoint.tokenizer
        twice = Experiment(
            prompts.checkpoint, repeated_tokens(tokenizer, length=19, n=16, seed=1, bos=True, complete=True)
        )
        settings[model] = Setting(prompts.checkpoint, prompts, twice, single_token_names(tokenizer, "confirm"))
    return settings


@pytest.mark.parametrize(("model", "claim"), list(_true_claims()))
def test_no_true_claim_is_refuted(settings: dict[str, Setting], model: str, claim: Callable[[Setting], Any]) -> None:
    with recording.trial(until_refuted=False) as records:  # what decides, without controls
        claim(settings[model])
    assert records
    assert all(record.outcome in ("supported", "inconclusive") for record in records), records


# ---- the page


@pytest.mark.parametrize("trap", TRAPS)
def test_the_page_says_so(stage: Stage, trap: str) -> None:
    for case in TRAPS[trap]:
        needs(case)
    assert row_of(stage, trap) in PAGE.read_text(encoding="utf-8").splitlines(), (
        "run `python tests/assertions/test_fooling.py --write`"
    )


def test_the_page_has_no_other_rows() -> None:
    rows = [line for line in TABLE.search(PAGE.read_text(encoding="utf-8")).group(0).splitlines() if line[:2] == "| "]
    assert len(rows) == len(TRAPS) + 2


def write_page() -> None:
    """Asks every claim and writes the table into the page."""
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(Path(directory))
        rows = [row_of(stage, trap) for trap in TRAPS]
    head = [f"| trap | {' | '.join(ANSWERS)} |", "| --- | --- | --- | --- | --- |"]
    table = "\n".join([*head, *rows])
    page = TABLE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write_page()
