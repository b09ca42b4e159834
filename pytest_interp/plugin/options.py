"""Declares and reads the command-line options and their ini keys; the command line wins over the ini file."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from pytest_interp.common.arguments import MOST_PROMPTS

DTYPES = ("float64", "float32", "bfloat16", "float16")
_ALLOWED = {"dtype": DTYPES, "bos": ("yes", "no"), "falsify": ("first", "all")}


def _option(help_text: str, default: Any = None, metavar: str | None = None) -> Any:
    """Returns a field of :class:`Options` with the help of its option, and its metavar if it takes a value."""
    return field(default=default, metadata={"help": help_text, "metavar": metavar})


@dataclass(frozen=True)
class Options:
    """The options of a run. The field ``model`` is the option ``--interp-model`` and the ini key ``interp_model``."""

    model: tuple[str, ...] = _option(
        "checkpoint to judge: a registered name, owner/name of the hub, a directory, a folder of numbered checkpoints "
        "or a .gguf file; repeatable. "
        "Default: every checkpoint with a circuit file whose weights are here",
        (),
        "MODEL",
    )
    revision: str | None = _option(
        "revision of the hub models that are named, such as the label of a training step; a list a,b or a range "
        "FIRST:LAST:STEP, such as step0:step5000:1000, gives a checkpoint for each",
        metavar="REVISION",
    )
    circuit: str | None = _option("assert this circuit on every checkpoint that is judged", metavar="NAME")
    device: str = _option("auto, cuda, mps or cpu (default: auto)", "auto", "DEVICE")
    n_devices: int = _option(
        "spread the layers of a model that one GPU cannot hold over this many (default: 1)", 1, "N"
    )
    dtype: str = _option(f"one of {', '.join(DTYPES)} (default: float32)", "float32", "DTYPE")
    tf32: bool = _option(
        "on CUDA multiply float32 in TF32, which is faster and as coarse as float16; tolerances widen (default: off)",
        False,
    )
    seed: int = _option("seed of the prompts and of control heads (default: 0)", 0, "SEED")
    prompts: int = _option("prompts in each half, find and confirm (default: 96)", 96, "N")
    bos: str | None = _option(
        "yes or no: whether BOS stands before each prompt (default: as the circuit's heads were found)",
        metavar="YES_NO",
    )
    quick: bool = _option("run only the claims that are marked with quick=True", False)
    memory: str | None = _option(
        "memory for the activations of a batch of patched passes, such as 300M (default: a quarter of the free memory, "
        "on a CPU at most 256M; batches there take at most 96M)",
        metavar="SIZE",
    )
    cache: str | None = _option(
        "keep measurements in this folder, and reuse them if weights, prompts, libraries and code are the same "
        "(default: no cache)",
        metavar="FOLDER",
    )
    falsify: str | None = _option(
        "run each supported claim again on mutants (damaged weights, wrong protocols) until one refutes it; a claim "
        "that no mutant refutes fails (default: off)"
    )
    noise: bool = _option(
        "measure each supported claim again with other batches, threads and order of prompts, and with another seed "
        "and BOS choice; show how far its numbers move (default: off)",
        False,
    )
    ledger: str | None = _option(
        "write every verdict and its record to this JSON file; to a file for each checkpoint where it is a folder or "
        "ends in /: a later run measures only what is not there",
        metavar="FILE",
    )
    page: str | None = _option(
        "write the page of the run to this .html file: every claim with its evidence, heat maps, what was not checked",
        metavar="FILE",
    )
    no_prompts: bool = _option(
        "write the ledger and the page without the text of prompts, code and paths, so that it can be shown to others",
        False,
    )
    against: str | None = _option(
        "compare the run with this ledger of an earlier one, instead of with snapshots; the run fails where a verdict "
        "turned or a number moved",
        metavar="FILE",
    )
    baseline: str | None = _option(
        "also judge this checkpoint, or read a ledger of it, and say which of its findings hold on the others",
        metavar="MODEL_OR_LEDGER",
    )
    profile: bool = _option(
        "also write the profile of heads into the ledger, so that it can be a baseline of others: role scores and "
        "patching effects of all heads, on two draws of prompts (default: off; --interp-baseline measures it "
        "too, but not with --interp-quick)",
        False,
    )
    strict: bool = _option("fail where the weights of a checkpoint cannot be loaded (default: skip)", False)

    def flags(self) -> tuple[str, ...]:
        """The options that are not the default, as they stand on a command line, without those of files."""
        flags: list[str] = []
        for option in fields(self):
            value = getattr(self, option.name)
            if value == option.default or option.name in _OF_FILES:
                continue
            if isinstance(value, tuple):
                flags += [text for item in value for text in (_flag(option), item)]
            elif value is True:
                flags.append(_flag(option))
            else:
                flags += [_flag(option), str(value)] if option.metadata["metavar"] else [f"{_flag(option)}={value}"]
        return tuple(flags)


_OF_FILES = ("cache", "ledger", "page", "no_prompts", "against", "baseline", "profile")


def _kind(option: Field[Any]) -> str:
    """Returns the type of an option in the words of ``addini``."""
    return {"tuple[str, ...]": "linelist", "int": "int", "bool": "bool"}.get(str(option.type), "string")


def _flag(option: Field[Any]) -> str:
    """Returns the option as it stands on the command line."""
    return f"--interp-{option.name.replace('_', '-')}"


FLAGS = frozenset(_flag(option) for option in fields(Options) if option.metadata["metavar"])
"""The flags that take a value."""


def add_options(parser: pytest.Parser) -> None:
    """Declares every option and its ini key with the same help text.

    Args:
        parser: pytest's parser.
    """
    group = parser.getgroup("interp", "findings about language models (pytest-interp)")
    for option in fields(Options):
        name, kind, choices = f"interp_{option.name}", _kind(option), _ALLOWED.get(option.name, ())
        extra: dict[str, Any] = {"dest": name, "default": None, "help": option.metadata["help"]}
        if option.metadata["metavar"]:
            extra["metavar"] = option.metadata["metavar"]
            if kind == "linelist":
                extra["action"] = "append"
            elif kind == "int":
                extra["type"] = int
            group.addoption(_flag(option), **extra)
        elif kind == "bool":
            group.addoption(_flag(option), action="store_true", **extra)
        else:
            # An option whose value may be left out would take a path after it for the value. So each spelling is a
            # flag of its own.
            group.addoption(_flag(option), action="store_const", const=choices[0], **extra)
            for choice in choices:
                text = "the same as --interp-falsify" if choice == choices[0] else "the same, but on every mutant"
                group.addoption(
                    f"{_flag(option)}={choice}", action="store_const", const=choice, **{**extra, "help": text}
                )
        parser.addini(name, f"ini twin of {_flag(option)}: {option.metadata['help']}", type=kind, default=None)  # type: ignore[arg-type]
    parser.addini(
        "interp_circuits",
        "directories with circuit files, relative to the rootdir (default: the nearest folder `circuits` at or above a "
        "claim's file)",
        type="linelist",
        default=[],
    )


def read_options(config: pytest.Config) -> Options:
    """Reads every option: from the command line, else from the ini file, else its default.

    Args:
        config: of the run.

    Returns:
        The options, checked.

    Raises:
        pytest.UsageError: a value that is not allowed.
    """
    options = Options(**{option.name: _value_of(config, option) for option in fields(Options)})
    for name, allowed in _ALLOWED.items():
        value = getattr(options, name)
        if value is not None and value not in allowed:
            raise pytest.UsageError(f"--interp-{name} is {value!r}; allowed: {', '.join(allowed)}")
    if options.n_devices < 1:
        raise pytest.UsageError(f"--interp-n-devices is {options.n_devices}; pass at least 1")
    if options.prompts < 2:
        raise pytest.UsageError(f"--interp-prompts is {options.prompts}; pass at least 2")
    if options.prompts > MOST_PROMPTS:
        raise pytest.UsageError(f"--interp-prompts is {options.prompts}; pass at most {MOST_PROMPTS}")
    return options


def _value_of(config: pytest.Config, option: Field[Any]) -> Any:
    """Returns the value of an option from the command line, else from the ini file, else its default."""
    name, kind = f"interp_{option.name}", _kind(option)
    value = config.getoption(name)
    if value is None:
        try:
            value = config.getini(name)
        except (ValueError, TypeError, pytest.UsageError):
            wanted = {"int": "a whole number", "bool": "true or false", "linelist": "a list of texts"}
            raise pytest.UsageError(
                f"{name} is not {wanted.get(kind, 'a text')} in the ini file or in -o; it is the twin of "
                f"{_flag(option)}: {option.metadata['help']}"
            ) from None
    if value is None or value in ("", []):
        value = option.default
    if value is not None and option.metadata["metavar"] in ("FILE", "FOLDER"):
        slash = "/" * value.endswith("/")
        value = str(Path(value).expanduser()) + slash  # a shell does not expand ~ in --interp-cache=~/folder
    return tuple(value) if kind == "linelist" else value
