"""A data set as a tuple of groups of equal token length, with named positions for each prompt.

There is no padding anywhere: END is the last token of every row, and a position is an index that was
checked against the word it stands for. What identifies a data set (texts, answers, tokens, BOS) is hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.measurement import Population
from pytest_interp.positions import END

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass(frozen=True)
class Prompt:
    """One prompt as text.

    Attributes:
        text: what the model reads, without the answer.
        answer: the right next token, with its leading space.
        distractor: the token it is compared with.
        marks: position name -> number of characters of ``text`` up to the end of the marked word.
        template: the stratum; prompts of one template are not independent.
        tags: further strata such as ``order`` and the names.
    """

    text: str
    answer: str
    distractor: str
    marks: Mapping[str, int] = field(default_factory=dict)
    template: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """The prompts of one token length.

    Attributes:
        rows: indices of the prompts in data-set order.
        tokens: token ids, shape ``(row, pos)``.
        positions: name -> index of its token in each row, shape ``(row,)``.
        answers: token id of each answer, shape ``(row,)``.
        distractors: token id of each distractor, shape ``(row,)``.
    """

    rows: tuple[int, ...]
    tokens: Int[Tensor, "row pos"]
    positions: Mapping[str, Int[Tensor, " row"]]
    answers: Int[Tensor, " row"]
    distractors: Int[Tensor, " row"]


@dataclass(frozen=True)
class PromptSet:
    """Tokenised prompts of one run (clean, or one corruption)."""

    prompts: tuple[Prompt, ...]
    groups: tuple[Group, ...]
    bos: bool
    digest: str

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def position_names(self) -> tuple[str, ...]:
        """The positions that every prompt has."""
        return tuple(self.groups[0].positions)


@dataclass(frozen=True)
class DataSet:
    """A task's prompts: the clean run, its corruptions, and the reference for mean ablation.

    Attributes:
        name: for records, such as ``ioi/confirm``.
        clean: the clean run.
        corrupted: by name; each aligned with ``clean`` prompt by prompt and token by token. Scored with
            the clean run's answers.
        reference: prompts over which mean ablation averages, by template; None where there are none.
        population: ``sampled`` from templates and names, or ``fixed``.
        seed: what it was drawn with.
    """

    name: str
    clean: PromptSet
    corrupted: Mapping[str, PromptSet]
    reference: PromptSet | None
    population: Population
    seed: int | None
    rebuild: Callable[[Sequence[int]], DataSet] = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The hash that identifies the data set: prompts, answers, tokens, BOS, corruptions."""
        parts = [self.clean.digest, *(f"{name}:{run.digest}" for name, run in sorted(self.corrupted.items()))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]

    def run(self, name: str) -> PromptSet:
        """The run of that name: ``clean`` or a corruption.

        Raises:
            UsageError: the data set has no such corruption.
        """
        if name == "clean":
            return self.clean
        if name not in self.corrupted:
            known = ", ".join(self.corrupted) or "none"
            raise UsageError(
                f"data set {self.name} has no corruption {name!r}; it has {known}{nearest(name, self.corrupted)}"
            )
        return self.corrupted[name]

    def where(self, **tags: str) -> DataSet:
        """The prompts that carry these tags, such as ``order="ABBA"``.

        Raises:
            UsageError: no prompt carries them.
        """
        keep = [
            row
            for row, prompt in enumerate(self.clean.prompts)
            if all(prompt.tags.get(key) == value for key, value in tags.items())
        ]
        if not keep:
            seen = {key: sorted({prompt.tags.get(key, "") for prompt in self.clean.prompts}) for key in tags}
            raise UsageError(f"no prompt of {self.name} has {tags}; its values are {seen}")
        return self.rebuild(keep)


def from_strings(
    tokenizer: Any,
    *,
    clean: Sequence[str],
    answers: Sequence[str],
    distractors: Sequence[str],
    corrupted: Mapping[str, Sequence[str]] | None = None,
    positions: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] | None = None,
    bos: bool,
    name: str = "task",
    population: Population = "fixed",
) -> DataSet:
    """A data set from lists of strings.

    Args:
        tokenizer: a Hugging Face tokenizer.
        clean: prompts without their answers.
        answers: the right next token of each, with its leading space.
        distractors: the token each is compared with.
        corrupted: corruption name -> prompts, aligned with ``clean``.
        positions: position name -> for each prompt the word at whose last token it stands (its last
            occurrence in the clean text). END is always there.
        templates: the stratum of each prompt; by default each prompt is its own.
        bos: whether the tokenizer's BOS is put before each prompt.
        name: for records.
        population: ``fixed`` for a listed set, ``sampled`` where the prompts stand for more of their kind.

    Raises:
        UsageError: lists of different length, a word that is not in its prompt, an answer of several
            tokens or equal to the distractor, runs that do not align.
    """
    n = len(clean)
    for what, column in (
        ("answers", answers),
        ("distractors", distractors),
        *(("templates", column) for column in [templates] if column is not None),
        *((f"corrupted[{key!r}]", column) for key, column in (corrupted or {}).items()),
        *((f"positions[{key!r}]", column) for key, column in (positions or {}).items()),
    ):
        if len(column) != n:
            raise UsageError(f"{what} has {len(column)} entries for {n} prompts; pass one for each prompt")
    prompts = []
    for row, text in enumerate(clean):
        marks = {}
        for position, words in (positions or {}).items():
            at = text.rfind(words[row])
            if at < 0:
                raise UsageError(f"position {position}: {words[row]!r} is not in the prompt {text!r}")
            marks[position] = at + len(words[row])
        template = templates[row] if templates else f"prompt {row}"
        prompts.append(Prompt(text, answers[row], distractors[row], marks, template))
    runs = {
        key: [Prompt(text, p.answer, p.distractor, {}, p.template) for text, p in zip(texts, prompts, strict=True)]
        for key, texts in (corrupted or {}).items()
    }
    return build(tokenizer, prompts, runs, None, bos=bos, name=name, population=population, seed=None)


def build(
    tokenizer: Any,
    clean: Sequence[Prompt],
    corrupted: Mapping[str, Sequence[Prompt]],
    reference: Sequence[Prompt] | None,
    *,
    bos: bool,
    name: str,
    population: Population,
    seed: int | None,
) -> DataSet:
    """Tokenises, groups and checks a data set."""
    clean_set = tokenize(tokenizer, clean, bos=bos)
    runs = {key: tokenize(tokenizer, prompts, bos=bos) for key, prompts in corrupted.items()}
    for key, run in runs.items():
        _check_aligned(key, clean_set, run)

    def rebuild(rows: Sequence[int]) -> DataSet:
        return build(
            tokenizer,
            [clean[row] for row in rows],
            {key: [prompts[row] for row in rows] for key, prompts in corrupted.items()},
            reference,
            bos=bos,
            name=name,
            population=population,
            seed=seed,
        )

    return DataSet(
        name=name,
        clean=clean_set,
        corrupted=runs,
        reference=tokenize(tokenizer, reference, bos=bos) if reference else None,
        population=population,
        seed=seed,
        rebuild=rebuild,
    )


def tokenize(tokenizer: Any, prompts: Sequence[Prompt], *, bos: bool) -> PromptSet:
    """Prompts to groups of equal length; each named position is checked against its word.

    Raises:
        UsageError: no prompts, an answer that is not one token or equals the distractor, a mark that does
            not fall on the end of a token, a BOS that the tokenizer lacks.
    """
    import torch

    if not prompts:
        raise UsageError("a data set needs at least one prompt")
    start = [_bos_token(tokenizer)] if bos else []
    encoded = [start + encode(tokenizer, prompt.text) for prompt in prompts]
    answers = [single_token(tokenizer, prompt.answer) for prompt in prompts]
    distractors = [single_token(tokenizer, prompt.distractor) for prompt in prompts]
    marks = [_positions(tokenizer, prompt, len(start), ids) for prompt, ids in zip(prompts, encoded, strict=True)]
    for prompt, answer, distractor in zip(prompts, answers, distractors, strict=True):
        if answer == distractor:
            raise UsageError(f"the answer and the distractor of {prompt.text!r} are both {prompt.answer!r}")
    names = [key for key in marks[0] if all(key in row for row in marks)]
    groups = []
    for length in sorted({len(ids) for ids in encoded}):
        rows = [row for row, ids in enumerate(encoded) if len(ids) == length]
        groups.append(
            Group(
                rows=tuple(rows),
                tokens=torch.tensor([encoded[row] for row in rows]),
                positions={key: torch.tensor([marks[row][key] for row in rows]) for key in names},
                answers=torch.tensor([answers[row] for row in rows]),
                distractors=torch.tensor([distractors[row] for row in rows]),
            )
        )
    content = json.dumps(
        [bos, *([p.text, p.answer, p.distractor, p.template, ids] for p, ids in zip(prompts, encoded, strict=True))]
    )
    return PromptSet(tuple(prompts), tuple(groups), bos, hashlib.sha256(content.encode()).hexdigest()[:12])


def encode(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text, with nothing added before or after."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def single_token(tokenizer: Any, word: str) -> int:
    """The id of a word that must be one known token.

    Raises:
        UsageError: it is several tokens, or the tokenizer does not know it.
    """
    ids = encode(tokenizer, word)
    if len(ids) != 1:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise UsageError(f"{word!r} is {len(ids)} tokens here ({pieces}); use a word of one token")
    if ids[0] == tokenizer.unk_token_id:
        raise UsageError(f"{word!r} is not in the tokenizer's vocabulary; use a word that is")
    return ids[0]


def is_single_token(tokenizer: Any, word: str) -> bool:
    """Whether a word is one known token."""
    ids = encode(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def _bos_token(tokenizer: Any) -> int:
    if tokenizer.bos_token_id is None:
        raise UsageError("bos=True, but this tokenizer has no BOS token; pass bos=False")
    return int(tokenizer.bos_token_id)


def _positions(tokenizer: Any, prompt: Prompt, offset: int, ids: Sequence[int]) -> dict[str, int]:
    positions = {}
    for name, stop in prompt.marks.items():
        prefix = encode(tokenizer, prompt.text[:stop])
        index = offset + len(prefix) - 1
        # A mark inside a token would make the prefix tokenise differently from the prompt.
        if not prefix or list(ids[offset : index + 1]) != prefix:
            raise UsageError(
                f"position {name} of {prompt.text!r} does not fall on the end of a token "
                f"(after {prompt.text[:stop]!r}); mark the end of a word"
            )
        positions[name] = index
    if END in prompt.marks:
        raise UsageError(f"{END} is always the last token; do not mark it")
    positions[END] = len(ids) - 1
    return positions


def _check_aligned(name: str, clean: PromptSet, run: PromptSet) -> None:
    if len(run) != len(clean):
        raise UsageError(f"corruption {name!r} has {len(run)} prompts for {len(clean)} clean ones; pass one for each")
    lengths = [_lengths(clean), _lengths(run)]
    for row, (ours, theirs) in enumerate(zip(*lengths, strict=True)):
        if ours != theirs:
            raise UsageError(
                f"corruption {name!r}: {run.prompts[row].text!r} has {theirs} tokens, its clean prompt "
                f"{clean.prompts[row].text!r} has {ours}; patching needs the same length"
            )


def _lengths(run: PromptSet) -> Iterable[int]:
    length = {row: group.tokens.shape[1] for group in run.groups for row in group.rows}
    return [length[row] for row in range(len(run))]
