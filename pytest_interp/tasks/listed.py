"""Data sets of listed prompts: from strings, or from token ids, as published figures list them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_interp.common.arguments import TOKENIZER, check, kinds_of
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.measurement import Population, check_population
from pytest_interp.tasks.dataset import DataSet, build, check_aligned
from pytest_interp.tasks.positions import END
from pytest_interp.tasks.prompts import Prompt, PromptSet, encode, prompts_of_ids
from pytest_interp.tasks.reference import reference_prompts
from pytest_interp.tasks.vocabulary import check_ids, check_known, check_tokens, decode
from pytest_interp.text import shown

_WORD = r"\w+"


def from_strings(
    tokenizer: Any,
    *,
    clean: Sequence[str],
    answers: Sequence[str],
    distractors: Sequence[str],
    corrupted: Mapping[str, Sequence[str]] | None = None,
    positions: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] | None = None,
    reference: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    bos: bool,
    name: str = "task",
    population: Population,
) -> DataSet:
    """A data set from lists of strings.

    Args:
        tokenizer: a Hugging Face tokenizer.
        clean: prompts without their answers.
        answers: the right next token of each, with its leading space.
        distractors: the token that each answer is compared with, with its leading space.
        corrupted: corruption name -> prompts, aligned with ``clean``.
        positions: position name -> a word of each prompt; the position is the last token of the word's last occurrence
            in the clean text. END need not be listed.
        templates: the template of each prompt; by default each prompt of a fixed population has its own.
        reference: the prompts that mean and resample ablation take activations from: a list for each template, by its
            name; or one list, from which each template takes the prompts of its own token length. All prompts of a
            template must then have one token length. Without it the task has no mean ablation, and no faithfulness.
        bos: whether the tokenizer's BOS is put before each prompt.
        name: as records show it.
        population: ``fixed`` if verdicts are about these prompts only; ``sampled`` if the prompts represent a larger
            population, which needs at least 2 different ``templates``.

    Returns:
        The data set; its prompts are in the order of ``clean``.

    Raises:
        UsageError: lists of different length, another population, a sample of fewer than 2 templates, a corruption
            called ``clean``, an empty prompt, a prompt with a word that the tokenizer does not know, a position's word
            that is empty or no whole word of its prompt, an answer of several tokens or equal to the distractor, runs
            that do not align, a reference that lacks a template or has it in another token length.

    Example:
        >>> from pytest_interp import load
        >>> from_strings(
        ...     load("planted-ioi").tokenizer,
        ...     clean=["When Mary and John arrived at the market, John handed a book to"],
        ...     answers=[" Mary"],
        ...     distractors=[" John"],
        ...     corrupted={"s2": ["When Mary and John arrived at the market, Mary handed a book to"]},
        ...     positions={"S2": ["John"]},
        ...     reference=["When Emma and David arrived at the market, Sarah handed a book to"],
        ...     bos=True,
        ...     population="fixed",
        ... )
        <DataSet task: 1 prompt of 15 tokens (BOS), fixed; corrupted: s2; positions S2, END; reference of 1>
    """
    _check_kinds(tokenizer, name, corrupted, positions)
    check("reference", reference, kinds_of("Mapping[str, Sequence[str]] | Sequence[str] | None", {}))
    _check_reference(reference, str)
    corrupted, positions = corrupted or {}, positions or {}
    _check_population(population, templates)
    _check_lists(
        _count(clean),
        ("clean", clean),
        ("answers", answers),
        ("distractors", distractors),
        *((f"corrupted[{shown(key)}]", texts) for key, texts in corrupted.items()),
        *((f"positions[{shown(key)}]", words) for key, words in positions.items()),
        *_optional("templates", templates),
        entry=str,
    )
    prompts = []
    for row, text in enumerate(clean):
        marks = {key: _end_of(words[row], text, key, row) for key, words in positions.items()}
        prompts.append(Prompt(text, answers[row], distractors[row], marks, _template(templates, row)))
    runs = {
        key: [Prompt(text, p.answer, p.distractor, {}, p.template) for text, p in zip(texts, prompts, strict=True)]
        for key, texts in corrupted.items()
    }
    templates_and_texts = [(prompt.template, prompt.text) for prompt in prompts]
    stand_ins = reference_prompts(templates_and_texts, reference, lambda text: len(encode(tokenizer, text)))
    # Reference prompts are never scored, so any answer of one token will do.
    averaged = [Prompt(text, answers[0], distractors[0], {}, template) for template, text in stand_ins]
    remarks = _remarks(prompts, templates)
    return build(
        tokenizer, prompts, runs, averaged, bos=bos, name=name, population=population, seed=None, remarks=remarks
    )


def from_ids(
    tokenizer: Any,
    *,
    clean: Sequence[Sequence[int]],
    answers: Sequence[int],
    distractors: Sequence[int],
    texts: Sequence[str],
    corrupted: Mapping[str, Sequence[Sequence[int]]] | None = None,
    positions: Mapping[str, int | Sequence[int]] | None = None,
    templates: Sequence[str] | None = None,
    reference: Mapping[str, Sequence[Sequence[int]]] | Sequence[Sequence[int]] | None = None,
    bos: bool,
    name: str = "task",
    population: Population,
) -> DataSet:
    """A data set from token ids, for figures whose source lists its tokens.

    Token ids mean something in one vocabulary only, so each prompt comes with its text. If this tokenizer decodes the
    ids to another text, the data set is not applicable to the checkpoint.

    Args:
        tokenizer: a Hugging Face tokenizer.
        clean: the token ids of each prompt up to END, without BOS and without the answer.
        answers: the id of the right next token of each.
        distractors: the id of the token that each answer is compared with.
        texts: the text of each prompt's ids.
        corrupted: corruption name -> token ids of prompts, aligned with ``clean``.
        positions: position name -> its index in the ids, counted from 0: one index for all prompts, or a list with one
            for each. END, the last token, need not be listed.
        templates: the template of each prompt; by default each prompt of a fixed population has its own.
        reference: the token ids of the prompts that mean ablation takes activations from, as in ``from_strings``.
        bos: whether the tokenizer's BOS is put before each prompt.
        name: as records show it.
        population: ``fixed`` if verdicts are about these prompts only; ``sampled`` if the prompts represent a larger
            population, which needs at least 2 different ``templates``.

    Returns:
        The data set; its prompts are in the order of ``clean``.

    Raises:
        NotApplicable: the ids belong to another vocabulary: this tokenizer does not have them, or decodes them to
            another text.
        UsageError: lists of different length, another population, a sample of fewer than 2 templates, a corruption
            called ``clean``, an empty prompt, the unknown token, a position outside its prompt, an answer equal to the
            distractor, runs that do not align, a reference that lacks a template or has it in another token length.

    Example:
        >>> from pytest_interp import load
        >>> tokenizer = load("planted-ioi").tokenizer
        >>> text = "When Mary and John arrived at the market , John handed a book to"
        >>> from_ids(
        ...     tokenizer,
        ...     clean=[tokenizer.encode(text, add_special_tokens=False)],
        ...     answers=tokenizer.encode(" Mary", add_special_tokens=False),
        ...     distractors=tokenizer.encode(" John", add_special_tokens=False),
        ...     texts=[text],
        ...     positions={"S2": 9},
        ...     bos=True,
        ...     population="fixed",
        ... )
        <DataSet task: 1 prompt of 15 tokens (BOS), fixed; positions S2, END>
    """
    _check_kinds(tokenizer, name, corrupted, positions)
    kinds = kinds_of("Mapping[str, Sequence[Sequence[int]]] | Sequence[Sequence[int]] | None", {})
    check("reference", reference, kinds)
    _check_reference(reference, list)
    corrupted = corrupted or {}
    _check_population(population, templates)
    columns = {key: [at] * _count(clean) if isinstance(at, int) else at for key, at in (positions or {}).items()}
    _check_lists(
        _count(clean),
        ("answers", answers),
        ("distractors", distractors),
        *((f"positions[{shown(key)}]", at) for key, at in columns.items()),
        entry=int,
    )
    _check_lists(_count(clean), ("texts", texts), *_optional("templates", templates), entry=str)
    runs = [(f"corrupted[{shown(key)}]", run) for key, run in corrupted.items()]
    _check_lists(_count(clean), ("clean", clean), *runs, entry=list)
    for row, (ids, text) in enumerate(zip(clean, texts, strict=True)):
        _check_prompt(tokenizer, row, ids, text, {key: at[row] for key, at in columns.items()})
        check_tokens(tokenizer, [answers[row], distractors[row]], f"the answer or distractor of prompt {row}")
        if answers[row] == distractors[row]:
            raise UsageError(f"the answer and the distractor of {shown(text)} are both the token id {answers[row]}")
    for key, run in corrupted.items():
        for row, ids in enumerate(run):
            check_tokens(tokenizer, ids, f"prompt {row} of corruption {shown(key)}")

    stand_ins = reference_prompts([(_template(templates, row), ids) for row, ids in enumerate(clean)], reference, len)
    for template, ids in stand_ins:
        check_tokens(tokenizer, ids, f"a reference prompt of the template {shown(template)}")
    described = [
        (Prompt(decode(tokenizer, ids), "", "", template=template), ids, answers[0], distractors[0])
        for template, ids in stand_ins
    ]
    averaged = prompts_of_ids(tokenizer, described, [{}] * len(described), bos=bos) if described else None
    answer_texts, distractor_texts = ([decode(tokenizer, [token]) for token in ids] for ids in (answers, distractors))

    def prompts_of(run: Sequence[Sequence[int]], texts: Sequence[str], rows: Sequence[int]) -> PromptSet:
        prompts = [
            Prompt(texts[row], answer_texts[row], distractor_texts[row], template=_template(templates, row))
            for row in rows
        ]
        tokens = [(prompt, run[row], answers[row], distractors[row]) for prompt, row in zip(prompts, rows, strict=True)]
        marked = [{key: at[row] for key, at in columns.items()} for row in rows]
        return prompts_of_ids(tokenizer, tokens, marked, bos=bos)

    def of_rows(rows: Sequence[int]) -> DataSet:
        clean_run = prompts_of(clean, texts, rows)
        runs = {key: prompts_of(run, [decode(tokenizer, ids) for ids in run], rows) for key, run in corrupted.items()}
        for key, run in runs.items():
            check_aligned(key, clean_run, run)
        data = DataSet(
            name=name,
            clean=clean_run,
            corrupted=runs,
            reference=averaged,
            population=population,
            seed=None,
            remarks=_remarks(clean_run.prompts, templates),
            rebuild=lambda chosen: of_rows([rows[i] for i in chosen]),
        )
        return data.part_of(name, len(clean))

    return of_rows(range(len(clean)))


def _check_kinds(tokenizer: Any, name: str, corrupted: Any, positions: Any) -> None:
    check("tokenizer", tokenizer, [TOKENIZER])
    check("name", name, kinds_of("str", {}))
    for what, table in (("corrupted", corrupted), ("positions", positions)):
        check(what, table, kinds_of("Mapping[str, Sequence[str]] | None", {}))


def _count(clean: Any) -> int:
    """The number of prompts; 1 for a value that is no list, which the next check refuses."""
    return len(clean) if isinstance(clean, Sequence) and not isinstance(clean, str) else 1


def _check_population(population: Population, templates: Sequence[str] | None) -> None:
    """Refuses a sample of fewer than two templates: an interval is over templates."""
    check_population(population)
    check("templates", templates, kinds_of("Sequence[str] | None", {}))
    different = len(set(templates or ()))
    if population == "sampled" and different < 2:
        raise UsageError(
            f"population is 'sampled' and templates has {different} different ones: an interval is over templates; "
            "pass the template of each prompt, at least 2 different ones, or population='fixed'"
        )


def _check_lists(n: int, *columns: tuple[str, Any], entry: type) -> None:
    """Refuses a column that is no list with one entry of this type for each of ``n`` prompts."""
    if not n:
        raise UsageError("a data set needs at least one prompt")
    kind = {str: "strings", int: "whole numbers", list: "lists of token ids"}[entry]
    for what, column in columns:
        if isinstance(column, str) or not isinstance(column, Sequence):
            raise UsageError(f"{what} is {shown(column)}; pass a list of {kind}, one for each prompt")
        if len(column) != n:
            raise UsageError(f"{what} has {len(column)} entries for {n} prompts; pass one for each prompt")
        allowed = (list, tuple) if entry is list else entry
        if wrong := [value for value in column if not isinstance(value, allowed) or isinstance(value, bool)]:
            raise UsageError(f"{what} has the entry {shown(wrong[0])}; pass {kind} (of an array, its .tolist())")


def _check_reference(reference: Any, entry: type) -> None:
    """Refuses a list of reference prompts with entries of another type."""
    by_name = reference if isinstance(reference, Mapping) else {} if reference is None else {"": reference}
    for template, column in by_name.items():
        if count := _count(column):
            _check_lists(count, (f"reference[{shown(template)}]" if template else "reference", column), entry=entry)


def _optional(what: str, column: Any) -> list[tuple[str, Any]]:
    return [] if column is None else [(what, column)]


def _check_prompt(tokenizer: Any, row: int, ids: Sequence[int], text: str, positions: Mapping[str, int]) -> None:
    """Refuses a prompt whose ids are of another vocabulary or text, or that a position lies outside of."""
    if not ids or not text.strip():
        raise UsageError(f"prompt {row} is empty ({shown(text)}, {len(ids)} tokens); pass what the model reads")
    check_ids(tokenizer, ids, f"prompt {row}, {shown(text)},")
    if (decoded := decode(tokenizer, ids)) != text:
        raise NotApplicable(
            f"the token ids of prompt {row} stand for {shown(text)}, and this tokenizer decodes them to "
            f"{shown(decoded)}: the "
            "ids belong to another vocabulary"
        )
    check_known(tokenizer, ids, f"prompt {row}, {shown(text)},")
    if END in positions:
        raise UsageError(f"{END} is always the last token; do not mark it")
    for key, at in positions.items():
        if not 0 <= at < len(ids):
            raise UsageError(f"position {key} of prompt {row}, {shown(text)}, is {at}; allowed: 0 to {len(ids) - 1}")


def _end_of(word: str, text: str, position: str, row: int) -> int:
    """The number of characters up to the end of a word's last occurrence in a text."""
    if not word.strip():
        raise UsageError(
            f"position {position} of prompt {row}, {shown(text)}: the word {shown(word)} is empty; pass a word of it"
        )
    ends = [match.end() for match in re.finditer(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text)]
    if not ends:
        part = ", but as a part of another word" if word.strip() in text else ""
        raise UsageError(
            f"position {position}: {shown(word)} is not in the prompt {shown(text)}{part}; pass a whole word of it"
            f"{nearest(word.strip(), re.findall(_WORD, text))}"
        )
    return ends[-1]


def _remarks(prompts: Sequence[Prompt], templates: Sequence[str] | None) -> tuple[str, ...]:
    """What a reader of verdicts on these prompts must know, a sentence each."""
    remarks = []
    answered = all(prompt.answer.strip() in prompt.text for prompt in prompts)
    if answered and not any(prompt.distractor.strip() in prompt.text for prompt in prompts):
        remarks.append(
            "no distractor stands in its prompt, while every answer does: the answer has only to be repeated"
        )
    wordings = {
        prompt.text.replace(prompt.answer.strip(), "{answer}").replace(prompt.distractor.strip(), "{distractor}")
        for prompt in prompts
    }
    if templates and len(wordings) < len(set(templates)):
        count = "one wording" if len(wordings) == 1 else f"{len(wordings)} wordings"
        remarks.append(f"{len(set(templates))} templates are {count} but for answers and distractors")
    return tuple(remarks)


def _template(templates: Sequence[str] | None, row: int) -> str:
    return templates[row] if templates else f"prompt {row}"
