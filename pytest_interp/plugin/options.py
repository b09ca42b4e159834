"""Command-line options and their ini twins: the command line wins, then the ini file, then the default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.common.arguments import MOST_PROMPTS

DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class _Option:
    name: str
    help: str
    default: Any = None
    kind: str = "string"  # string, int, bool, list
    metavar: str | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


_OPTIONS = (
    _Option(
        "interp_model",
        "checkpoint to judge: a registered name, owner/name of the hub, a directory or a .gguf file; repeatable. "
        "Default: every checkpoint with a circuit file whose weights are here",
        kind="list",
        metavar="MODEL",
    ),
    _Option("interp_revision", "revision or training-step label of the hub models that are named", metavar="REVISION"),
    _Option("interp_circuit", "assert this circuit on every checkpoint that is judged", metavar="NAME"),
    _Option("interp_device", "auto, cuda, mps or cpu (default: auto)", "auto", metavar="DEVICE"),
    _Option("interp_dtype", f"one of {', '.join(DTYPES)} (default: float32)", "float32", metavar="DTYPE"),
    _Option(
        "interp_tf32",
        "on CUDA multiply float32 in TF32, which is faster and as coarse as float16; tolerances widen (default: off)",
        False,
        "bool",
    ),
    _Option("interp_seed", "seed of the IOI prompts and of control heads (default: 0)", 0, "int", "SEED"),
    _Option("interp_prompts", "IOI prompts in each half, find and confirm (default: 96)", 96, "int", "N"),
    _Option(
        "interp_bos",
        "yes or no: whether BOS stands before each prompt (default: as the circuit's heads were found)",
        metavar="YES_NO",
    ),
    _Option(
        "interp_claims",
        "run installed claims from anywhere: suite (this project's), the name under which another package brings some, "
        "or all; repeatable",
        kind="list",
        metavar="NAME",
    ),
    _Option("interp_quick", "only the claims that are marked as quick", False, "bool"),
    _Option(
        "interp_memory",
        "how much the activations of a batch of patched passes may take, such as 300M (default: a quarter of what is "
        "free, at most 256M)",
        metavar="SIZE",
    ),
    _Option(
        "interp_cache",
        "keep measurements in this folder, and read them back where weights, prompts, libraries and code are the same "
        "(default: no cache)",
        metavar="FOLDER",
    ),
    _Option(
        "interp_falsify",
        "run each supported claim again on damaged weights and by wrong protocols, until one refutes it; a claim that "
        "none refutes fails",
        False,
        "bool",
    ),
    _Option("interp_falsify_all", "the same on every mutant, not only until the first that kills", False, "bool"),
    _Option(
        "interp_noise",
        "measure each supported claim again in other batches, threads and order, and with another seed and BOS choice: "
        "how far its numbers move",
        False,
        "bool",
    ),
    _Option("interp_records", "write every verdict, with all it rests on, to this JSON file", metavar="FILE"),
    _Option("interp_strict", "weights that cannot be had are an error, not a skip", False, "bool"),
)

FLAGS = frozenset(option.flag for option in _OPTIONS if option.kind != "bool")
"""The flags that take a value."""


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    interp_model: tuple[str, ...]
    interp_revision: str | None
    interp_circuit: str | None
    interp_device: str
    interp_dtype: str
    interp_tf32: bool
    interp_seed: int
    interp_prompts: int
    interp_bos: str | None
    interp_claims: tuple[str, ...]
    interp_quick: bool
    interp_memory: str | None
    interp_cache: str | None
    interp_falsify: bool
    interp_falsify_all: bool
    interp_noise: bool
    interp_records: str | None
    interp_strict: bool


def add_options(parser: pytest.Parser) -> None:
    """Declares every option and its ini twin with one help text."""
    group = parser.getgroup("interp", "findings about language models (pytest-interp)")
    for option in _OPTIONS:
        extra: dict[str, Any] = {"dest": option.name, "default": None, "help": option.help}
        if option.kind == "bool":
            extra["action"] = "store_true"
        else:
            extra["metavar"] = option.metavar
            if option.kind == "list":
                extra["action"] = "append"
            elif option.kind == "int":
                extra["type"] = int
        group.addoption(option.flag, **extra)
        kind: Any = {"list": "linelist"}.get(option.kind, option.kind)
        parser.addini(option.name, f"ini twin of {option.flag}: {option.help}", type=kind, default=None)
    parser.addini(
        "interp_circuits",
        "directories with circuit files, relative to the rootdir (default: the nearest folder `circuits` at or above a "
        "claim's file)",
        type="linelist",
        default=[],
    )


def read_options(config: pytest.Config) -> Options:
    """The chosen value of every option.

    Raises:
        pytest.UsageError: a value that is not allowed.
    """
    options = Options(**{option.name: _value_of(config, option) for option in _OPTIONS})
    if options.interp_dtype not in DTYPES:
        raise pytest.UsageError(f"--interp-dtype is {options.interp_dtype!r}; allowed: {', '.join(DTYPES)}")
    if options.interp_bos not in (None, "yes", "no"):
        raise pytest.UsageError(f"--interp-bos is {options.interp_bos!r}; allowed: yes, no")
    if options.interp_prompts < 2:
        raise pytest.UsageError(f"--interp-prompts is {options.interp_prompts}; pass at least 2")
    if options.interp_prompts > MOST_PROMPTS:
        raise pytest.UsageError(f"--interp-prompts is {options.interp_prompts}; pass at most {MOST_PROMPTS}")
    return options


def _value_of(config: pytest.Config, option: _Option) -> Any:
    """What the command line, else the ini file, else the default says."""
    value = config.getoption(option.name)
    if value is None:
        try:
            value = config.getini(option.name)
        except (ValueError, TypeError, pytest.UsageError):
            wanted = {"int": "a whole number", "bool": "true or false", "list": "a list of texts"}
            raise pytest.UsageError(
                f"{option.name} is not {wanted.get(option.kind, 'a text')} in the ini file or in -o; it is the twin of "
                f"{option.flag}: {option.help}"
            ) from None
    if value is None or value in ("", []):
        value = option.default
    if value is not None and option.metavar in ("FILE", "FOLDER"):
        value = str(Path(value).expanduser())  # which a shell does not do in --interp-cache=~/folder
    return tuple(value or ()) if option.kind == "list" else value
