"""A valid call of every public function on the planted checkpoint, and the same calls with one argument exchanged."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pytest_interp
from pytest_interp import Head, InterpError, measure, strategies, tasks
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.ioi import single_token_names

LIMIT = 2.0
"""Seconds of computing that a call with a bad argument may take; a busy machine does not count."""


class Unprintable:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def _generator() -> Iterator[int]:
    yield from range(3)


POOL: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an empty text": lambda: "",
    "a letter": lambda: "a",
    "a word of several tokens": lambda: "nobody knows",
    "an escape sequence": lambda: "\x1b[31m",
    "a direction override": lambda: "\u202eabc",
    "a long text": lambda: "x" * 100_000,
    "bytes": lambda: b"x",
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "a thousand million": lambda: 10**9,
    "a number of 5000 digits": lambda: 10**5000,
    "two and a half": lambda: 2.5,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a complex number": lambda: 1j,
    "True": lambda: True,
    "an empty list": list,
    "an empty dictionary": dict,
    "an empty set": set,
    "an object": object,
    "an object without text": Unprintable,
    "a pair": lambda: (1, 2),
    "a pair of texts": lambda: ("a", "b"),
    "a list with None": lambda: ["a", None],
    "a nested list": lambda: [[1, [2]], []],
    "a deep list": lambda: _deep(200),
    "a list of numbers": lambda: [1.5, 2.5],
    "a function": lambda: lambda: None,
    "a class": lambda: int,
    "a generator": _generator,
    "a range": lambda: range(3),
    "a number of numpy": lambda: np.int64(3),
    "a float of numpy": lambda: np.float32(0.5),
    "an array": lambda: np.zeros(3),
    "an array of texts": lambda: np.array(["a", "b"]),
    "a scalar tensor": lambda: torch.tensor(1),
    "a tensor": lambda: torch.zeros(2, 2),
    "half a head": lambda: "9",
    "a head too many": lambda: "9.9.9",
    "a negative head": lambda: "-1.0",
    "a head as a float": lambda: 9.9,
    "a head out of range": lambda: "99.99",
    "a head twice": lambda: ["0.0", "0.0"],
    "a dictionary": lambda: {"a": 1},
    "a dictionary of dictionaries": lambda: {"same_layer": {"a": 1}},
}
"""Values that mean nothing in most places, made anew for each use."""


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@dataclass(frozen=True)
class Call:
    """A call of a public function; ``bad`` says which argument was exchanged for what."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    bad: str = ""

    def run(self) -> Any:
        return self.function(**self.arguments)


def valid_calls(experiment: Any, found_on: Any, repeated: Any, tokenizer: Any) -> list[Call]:
    """A valid call of each public function, on the planted checkpoint.

    Args:
        experiment: a few IOI prompts of the confirming half.
        found_on: of the finding half.
        repeated: random tokens repeated once.
        tokenizer: one that knows the words of the tasks.
    """
    calls = {
        **_assertions(experiment, found_on, repeated),
        **_measurements(experiment, repeated),
        **_tasks(tokenizer),
        **_plain(experiment),
        **_strategies(experiment),
    }
    homes = {"assert": pytest_interp, "plain": pytest_interp}
    homes |= {"measure": measure, "tasks": tasks, "strategies": strategies}
    return [Call(name, _function(homes, name), arguments) for name, arguments in calls.items()]


def _function(homes: Mapping[str, Any], name: str) -> Callable[..., Any]:
    home, _, path = name.partition(" ")
    function = homes[home]
    for part in path.split("."):
        function = getattr(function, part)
    return function


def _assertions(on: Any, found_on: Any, repeated: Any) -> dict[str, dict[str, Any]]:
    names = single_token_names(on.checkpoint.tokenizer, "confirm")
    heads = ["3.0", "3.1"]
    table = measure.direct_logit_attribution_sweep(on)
    none = {"controls": 0}
    of_set = {"members_at_least": -99, "members": "alone"}
    causal = {"corruption": "s2-exchanged", "metric": "recovered", "direction": "denoise"}
    rows = [[0.0] * len(table.columns) for _ in table.rows]
    calls = {
        "logit_diff": {"experiment": on, "run": "clean", "knocked_out": heads, "ablation": "zero", "value_bias": "kept",
                       "controls": 0, "at_least": -99, **of_set},
        "accuracy": {"experiment": on, "run": "clean", **none, "at_least": 0.1},
        "measurement": {"values": [0.1, 0.2, 0.3], "unit": "logits", "name": "probe", "clusters": ["a", "b", "c"],
                        "labels": ["a", "b", "c"], "population": "sampled", "control": [0.3, 0.3],
                        "tolerance": 1e-6, "between": (-99, 99)},
        "head_patch_effect": {"experiment": on, "heads": heads, "site": "z", "at": "END", **causal, **none,
                              "at_least": -99, **of_set},
        "attention": {"experiment": on, "head": "2.0", "at": "END", "to": "IO", "minus": ("S1",),
                      "weighted": True, "run": "clean", "value_bias": "removed", "controls": 1, "at_least": -1,
                      "controls_at_least": -9},
        "direct_logit_attribution": {"experiment": on, "heads": heads, "run": "clean", "value_bias": "removed", **none,
                                     "at_least": -99, **of_set},
        "attention_entropy": {"experiment": on, "head": "2.0", "at": "END", "run": "clean", **none, "at_most": 99},
        "attention_write_correlation": {"experiment": on, "head": "4.0", "to": ("IO", "S1", "S2"), "run": "clean",
                                        "value_bias": "removed", **none, "at_most": 2},
        "detector_score": {"experiment": repeated, "head": "0.0", "kind": "induction", **none, "at_most": 0.99},
        "patch_effect": {"experiment": on, "site": "resid_pre", "layer": 3, "at": "END", **causal, **none,
                         "near": (0, 99)},
        "path_patch_effect": {"experiment": on, "senders": heads, "receivers": ["4.0"], "into": "q", "at": "END",
                              "corruption": "abc", "mlps": "recompute", "metric": "logit_diff", **none,
                              "between": (-99, 99), **of_set},
        "ablation_effect": {"experiment": on, "heads": heads, "ablation": "zero", "at": "END", "metric": "logit_diff",
                            "run": "clean", "value_bias": "kept", **none, "at_most": 99, **of_set},
        "flips": {"experiment": on, "corruption": "s2-exchanged", **none, "at_least": 0.1},
        "next_token": {"experiment": on, "metric": "log_prob", "run": "clean", **none, "at_most": 99},
        "top_k": {"experiment": on, "k": 1, "run": "clean", **none, "at_least": 0.1},
        "loss": {"experiment": on, "run": "clean", **none, "at_most": 99},
        "logit_lens": {"experiment": on, "layer": 1, "site": "resid_post", "metric": "logit_diff", "norm": "live",
                       "run": "clean", **none, "at_least": -99},
        "component_attribution": {"experiment": on, "site": "attn_out", "layer": 1, "run": "clean", **none,
                                  "at_least": -99},
        "copy_score": {"checkpoint": on.checkpoint, "head": "3.0", "names": names, "k": 5, "negative": False, **none,
                       "at_least": 0.1},
        "prompt_copy_score": {"experiment": on, "head": "3.0", "at": ("IO", "S1"), "k": 5, "negative": False,
                              "ln1": False, **none, "at_least": 0.1},
        "ov_eigenvalue_score": {"checkpoint": on.checkpoint, "head": "3.0", "through": "tokens", **none,
                                "at_least": -1},
        "backup_heads": {"experiment": on, "heads": ["4.1"], "knocked_out": heads, "ablation": "zero",
                         "value_bias": "kept", **none, "between": (-99, 99)},
        "self_repair": {"experiment": on, "knocked_out": heads, "ablation": "zero", "value_bias": "kept", **none,
                        "between": (-99, 99)},
        "some_head": {"experiment": on, "found_on": found_on, "to": "IO", "minus": ("S1", "S2"), "at": "END",
                      "names": names, "k": 5, "negative": False, "copy_at_least": 0.8},
        "faithfulness": {"experiment": on, "circuit": heads, "metric": "logit_diff", **none, "between": (-99, 99)},
        "completeness": {"experiment": on, "circuit": [*heads, "2.0"], "knocked_out": ["3.0"], **none,
                         "between": (-99, 99)},
        "minimality": {"experiment": on, "head": "3.0", "circuit": heads, "knocked_out": ["3.1"],
                       "metric": "logit_diff", **none, "between": (-99, 99)},
        "cell": {"table": table, "cell": "3.0", "at_least": -99},
        "top": {"table": table, "cells": ["3.0"], "among": 3, "most": "positive"},
        "every": {"table": table, "between": (-99, 99)},
        "only": {"table": table, "cells": ["3.0"], "at_least": 5.5},
        "matrix": {"table": table, "expected": rows, "within": 99.0},
    }  # fmt: skip
    return {f"assert assert_{name}": arguments for name, arguments in calls.items()}


def _measurements(on: Any, repeated: Any) -> dict[str, dict[str, Any]]:
    names = single_token_names(on.checkpoint.tokenizer, "confirm")
    heads, clean = ["3.0", "3.1"], {"run": "clean"}
    removed, bias_kept = {"value_bias": "removed"}, {"value_bias": "kept"}
    causal = {"corruption": "s2-exchanged", "metric": "recovered", "direction": "denoise"}
    out = {"knocked_out": heads, "ablation": "zero", **bias_kept}
    paths = {"receivers": "4.0", "into": "q", "at": "END", "corruption": "abc", "mlps": "freeze", "metric": "of_clean"}
    reading = {"at": "END", "to": "IO", "minus": ("S1",), "weighted": True, **clean, **removed}
    calls = {
        "ablation_effect": {"experiment": on, "heads": heads, "ablation": "resample", "at": None,
                            "metric": "probability", **clean, **bias_kept},
        "ablation_effect_sweep": {"experiment": on, "ablation": "mean",
                                  "at": "END", "metric": "kl", "layers": [3], **bias_kept},
        "accuracy": {"experiment": on, **clean},
        "activation_statistics": {"experiment": on, "site": "v", **clean, **removed},
        "activation_values": {"experiment": on, "site": "z", "layer": 1, **clean, **removed},
        "attention": {"experiment": on, "head": "2.0", **reading},
        "attention_and_write": {"experiment": on, "head": "4.0", "to": ("IO", "S1"), **clean, **removed},
        "attention_write_correlation": {"experiment": on, "head": "4.0", "to": ("IO", "S1"), **clean, **removed},
        "attribution_screen": {"experiment": _few(on, 2), "site": "z", "positions": ["END"],
                               "corruption": "s2-exchanged"},
        "knocked_out_attribution_sweep": {"experiment": on, **out},
        "backup_effect": {"experiment": on, "heads": ["4.0"], **out},
        "by_part": {"experiment": on, "measurement": measure.logit_diff(on), "part": "order"},
        "completeness": {"experiment": on, "circuit": heads, "knocked_out": ["3.0"]},
        "component_attribution_sweep": {"experiment": on, **clean},
        "copy_score": {"checkpoint": on.checkpoint, "head": "3.0", "names": names, "k": 5, "negative": False},
        "copy_score_sweep": {"checkpoint": on.checkpoint, "names": names, "k": 5, "negative": True, "reach": 0.5},
        "correlation": {"first": measure.direct_logit_attribution_sweep(on), "other": measure.head_norms(on)},
        "detector_score": {"experiment": repeated, "head": "0.0", "kind": "previous_token"},
        "detector_score_sweep": {"experiment": repeated, "kind": "duplicate_token"},
        "direct_logit_attribution": {"experiment": on, "heads": heads, **clean, **removed},
        "faithfulness": {"experiment": on, "circuit": {Head(3, 0): "END"}, "metric": "of_model"},
        "flips": {"experiment": on, "corruption": "abc"},
        "attention_entropy": {"experiment": on, "head": "2.0", "at": "END", **clean},
        "attention_entropy_sweep": {"experiment": on, "at": "END", **clean},
        "attention_sweep": {"experiment": on, **reading},
        "direct_logit_attribution_sweep": {"experiment": on, **clean, **removed},
        "head_norms": {"experiment": on, "at": "END", **clean, **removed},
        "head_patch_effect": {"experiment": on, "heads": heads, "site": "q", "at": "END", **causal},
        "exchange_cost": {"experiment": on, "heads": "3.0", "site": "z", "at": "END", "corruption": "abc"},
        "knockout_cost": {"experiment": on, "heads": "3.0", "ablation": "mean", "at": "END", "value_bias": "kept"},
        "logit_diff": {"experiment": on, **clean, "knocked_out": heads, "ablation": "zero", **bias_kept},
        "logit_lens_sweep": {"experiment": on, "sites": ("resid_pre",), "metric": "rank", "norm": "frozen", **clean},
        "loss": {"experiment": on, **clean},
        "minimality": {"experiment": on, "head": "3.0", "circuit": heads, "knocked_out": ["3.1"],
                       "metric": "logit_diff"},
        "next_token": {"experiment": on, "metric": "rank", **clean},
        "next_tokens": {"checkpoint": on.checkpoint, "text": on.data.clean.prompts[0].text, "k": 3, "also": (),
                        "bos": True},
        "occurrence_difference": {"experiment": on, "first": "S1", "second": "S2", **clean},
        "ov_eigenvalue_score": {"checkpoint": on.checkpoint, "head": "0.0", "through": "residual"},
        "patch_effect": {"experiment": on, "site": "attn_out", "layer": 3, "at": "END", **causal},
        "patch_effect_sweep": {"experiment": on, "site": "resid_pre", "positions": ["END"], "at": None, "layers": [3],
                        **causal},
        "path_patch_effect": {"experiment": on, "senders": heads, **paths},
        "path_patch_effect_sweep": {"experiment": on, **paths, "layers": [3]},
        "position_norms": {"experiment": on, "positions": ["END"], **clean, **removed},
        "prompt_copy_score": {"experiment": on, "head": "3.0", "at": ("IO",), "k": 5, "negative": False, "ln1": True,
                              **clean},
        "score_statistics": {"experiment": on, "kind": "scores", "variant": "per_head", **clean},
        "selectivity": {"experiment": on, "first": "S1", "second": "S2", **clean},
        "self_repair": {"experiment": on, **out},
        "source_attribution_sweep": {"experiment": on, "source": "IO", "of": "answer", **clean, **removed},
        "top_k": {"experiment": on, "k": 1, **clean},
    }  # fmt: skip
    return {f"measure {name}": arguments for name, arguments in calls.items()}


def _tasks(tokenizer: Any) -> dict[str, dict[str, Any]]:
    drawn = {"tokenizer": tokenizer, "half": "confirm", "n": 4, "seed": 1, "bos": True}
    random_tokens = {"tokenizer": tokenizer, "length": 5, "n": 2, "seed": 1, "bos": True, "complete": True}
    pair = {"tokenizer": tokenizer, "half": "confirm", "bos": True}
    texts = tasks.ioi(**drawn).clean.prompts[:2]
    answers, distractors = [p.answer for p in texts], [p.distractor for p in texts]
    ids = [tokenizer(p.text, add_special_tokens=False)["input_ids"] for p in texts]
    token = {word: tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (*answers, *distractors)}
    names = single_token_names(tokenizer, "confirm")
    listed = {"templates": ["a", "b"], "bos": True, "name": "mine", "population": "sampled"}
    calls = {
        "alex_hart": {"tokenizer": tokenizer, "bos": True},
        "analogies": drawn,
        "capitals": drawn,
        "repeated_tokens": random_tokens,
        "copied_tokens": drawn,
        "repeated_ids": {"tokenizer": tokenizer, "sequences": [[5, 6, 7], [8, 9, 10]], "bos": True},
        "from_ids": {"tokenizer": tokenizer, "clean": ids, "answers": [token[a] for a in answers],
                     "distractors": [token[d] for d in distractors], "texts": [tokenizer.decode(i) for i in ids],
                     "corrupted": {"same": ids}, "positions": {"FIRST": 1},
                     "reference": {"a": ids[:1], "b": ids[1:2]}, **listed},
        "from_strings": {"tokenizer": tokenizer, "clean": [p.text for p in texts], "answers": answers,
                         "distractors": distractors, "corrupted": {"same": [p.text for p in texts]},
                         "positions": {"IO": [a.strip() for a in answers]},
                         "reference": {"a": [texts[0].text], "b": [texts[1].text]}, **listed},
        "ioi": drawn,
        "ioi_wordings": drawn,
        "ioi_grid": {**pair, "pairs": [(names[0], names[1])]},
        "ioi_prompt": {**pair, "io": names[0], "s": names[1], "wording": 0, "order": "ABBA", "place": 0, "thing": 0},
        "ioi_extra_mention": drawn,
        "p8": {"tokenizer": tokenizer, "bos": True},
        "sequences": {**drawn, "kinds": ("days",)},
        "single_token_names": {"tokenizer": tokenizer, "half": "find"},
        "surnames": drawn,
    }  # fmt: skip
    return {f"tasks {name}": arguments for name, arguments in calls.items()}


def _plain(on: Any) -> dict[str, dict[str, Any]]:
    measurement = measure.logit_diff(on)
    circuit_path = Path(__file__).parents[1] / "claims" / "circuits" / "planted-ioi.toml"
    calls: dict[str, dict[str, Any]] = {
        "Bound.of": {"between": (0, 1)},
        "Experiment": {"checkpoint": on.checkpoint, "data": on.data, "seed": 0},
        "Head": {"layer": 1, "head": 1},
        "Head.parse": {"text": "1.1"},
        "KVHead": {"layer": 1, "head": 1},
        "Measurement": {name: getattr(measurement, name) for name in Measurement.__dataclass_fields__},
        "Metric": {"score": "log_prob", "at": "END", "token": None},
        "Table.of": {"effects": {("a", "b"): measurement}, "axes": ("row", "column")},
        "judge": {"measurement": measurement, "bound": pytest_interp.Bound.of(at_least=0), "level": 0.95},
        "load_circuit": {"path": circuit_path},
    }
    return {f"plain {name}": arguments for name, arguments in calls.items()}


def _strategies(on: Any) -> dict[str, dict[str, Any]]:
    names = single_token_names(on.checkpoint.tokenizer, "confirm")
    calls = {
        "names": {"pool": names},
        "name_pairs": {"pool": names},
        "name_sets": {"pool": names, "min_size": 5},
        "ioi_choices": {"pool": names},
    }
    return {f"strategies {name}": arguments for name, arguments in calls.items()}


def _few(on: Any, count: int) -> Any:
    return replace(on, data=on.data.rebuild(range(count)))


def bad_arguments(calls: list[Call], seed: int, count: int) -> Iterator[Call]:
    """Calls of which one argument is nonsense; every argument of every function once before any comes twice."""
    rng = random.Random(seed)
    slots = [(call, name) for call in calls for name in call.arguments]
    turn: list[tuple[Call, str]] = []
    for _ in range(count):
        turn = turn or rng.sample(slots, len(slots))
        call, name = turn.pop()
        label = rng.choice(list(POOL))
        yield exchanged(call, name, label)


def exchanged(call: Call, name: str, label: str) -> Call:
    """A call with one argument exchanged for a value of the pool."""
    return replace(call, arguments={**call.arguments, name: POOL[label]()}, bad=f"{name} is {label}")


def outcome(call: Call) -> tuple[str, str]:
    """What came of a call, and the message or the result: ``result``, ``refused``, ``raw`` or ``slow``."""
    began = time.thread_time()
    try:
        with _alarm():
            result: Any = call.run()
    except InterpError as error:
        kind, text = "refused", str(error)
    except Exception as error:
        kind, text = "raw", type(error).__name__
        with suppress(ValueError):  # an error that holds a number of 5000 digits has no text
            text += f": {error}"
    else:
        kind, text = "result", type(result).__name__
    return ("slow" if time.thread_time() - began > LIMIT else kind), text


@contextmanager
def _alarm() -> Iterator[None]:
    """Ends a call that takes much too long."""

    def ring(*_: Any) -> None:
        raise TimeoutError("took too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 10 * LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
