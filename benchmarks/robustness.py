"""Tries kills, interrupts, damaged files, bad arguments and changes of the model; counts the outcomes, prints faults.

``python benchmarks/robustness.py [PART ...] [--seed N] [--count N]``; the parts are kills, interrupts, updates, files,
options, weights, arguments and pairs, by default all. Everything is drawn from the seed; a fault is printed with what
made it. A short form of each part is in tests/test_robustness.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

CIRCUIT = HERE.parent / "claims" / "circuits" / "planted-ioi.toml"
CLAIMS = """
import pytest
from pytest_interp import assert_copy_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_task(ioi):
    assert_logit_diff(ioi, at_least=1)

def test_corrupted(ioi):
    assert_logit_diff(ioi, run="abc", between=(-99, 99))

@pytest.mark.claim(role="name_mover")
def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.9)
"""
FILES = {
    "test_it.py": CLAIMS,
    ".gitignore": "kept/\n",
    "pytest.ini": "[pytest]\naddopts = -q -p no:cacheprovider --interp-prompts 24\n",
}
SNAPSHOTS = Path("__snapshots__/test_it.json")
RUN = ("--snapshot-update", "--interp-ledger", "records.json", "--interp-cache", "kept")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


# ---- runs in a child process, which has torch already


def run(project: Path, arguments: Sequence[str], *, dies_at: int | None = None, events: Any = None) -> Any:
    """Starts pytest in a project, in a process of its own.

    Args:
        project: the folder.
        arguments: of pytest.
        dies_at: before which event on the project's files the process is killed; None for none.
        events: a shared counter of those events.
    """
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_pytest, args=(project, list(arguments), dies_at, events))
    process.start()
    return process


def _pytest(project: Path, arguments: list[str], dies_at: int | None, events: Any) -> None:
    import pytest

    os.chdir(project)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if dies_at is not None or events is not None:
        sys.addaudithook(_Counter(str(project), dies_at, events))
    with (project.parent / f"{project.name}.log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        code = pytest.main(arguments)
        log.flush()
    os._exit(int(code))


class _Counter:
    """An audit hook that counts what happens to a project's files, and kills the process at one of these events."""

    def __init__(self, folder: str, dies_at: int | None, events: Any) -> None:
        self.folder, self.dies_at, self.events, self.seen = folder, dies_at, events, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        moves = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "fcntl.flock")
        if not (writes or moves):
            return
        if event != "fcntl.flock" and not any(self.folder in os.fsdecode(path) for path in arguments if _is_path(path)):
            return
        self.seen += 1
        if self.events is not None:
            self.events.value = self.seen
        if self.seen == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


@contextmanager
def project(files: dict[str, str] = FILES) -> Iterator[Path]:
    """A folder with claims on the planted model."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "project"
        (folder / "circuits").mkdir(parents=True)
        # A project of one's own has no snapshots yet, so its circuit file does not vouch for the weights.
        lines = [line for line in CIRCUIT.read_text().splitlines() if not line.startswith("fingerprint")]
        (folder / "circuits" / CIRCUIT.name).write_text("\n".join(lines))
        for name, text in files.items():
            (folder / name).write_text(text)
        yield folder


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, files: dict[Path, bytes]) -> None:
    """Makes a folder hold these files and no others."""
    for path in list(folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# ---- kills and interrupts


def lost(folder: Path, before: dict[Path, bytes]) -> list[str]:
    """What a run that did not end has lost or half written."""
    from pytest_interp.cache.store import Cache

    now = contents(folder)
    faults = [f"{name} is gone" for name in before if name not in now and name.parts[0] != "kept"]
    ours = {SNAPSHOTS, Path("records.json")}
    faults += [
        f"{name} was changed" for name in before
        if name in now and now[name] != before[name] and name not in ours and name.parts[0] != "kept"
    ]  # fmt: skip
    if SNAPSHOTS in now:
        faults += _lost_entries(before.get(SNAPSHOTS), now[SNAPSHOTS])
    faults += _lost_records(before.get(Path("records.json")), now.get(Path("records.json")))
    cache = Cache(folder / "kept")
    for path in (folder / "kept").glob("*/*.json"):
        key = json.loads(path.read_text().partition("\n")[0])["key"]
        faults += [] if cache.find(key) is not None else [f"{path.name} in the cache is not whole"]
    return faults


def _lost_entries(before: bytes | None, now: bytes) -> list[str]:
    try:
        entries = json.loads(now)
    except ValueError:
        return ["the snapshot file is half written"]
    missing = sorted(set(json.loads(before or b"{}")) - set(entries))
    return [f"the snapshot file lost {', '.join(missing)}"] if missing else []


def _lost_records(before: bytes | None, now: bytes | None) -> list[str]:
    if now is None:
        return ["the records are gone"] if before else []
    try:
        content = json.loads(now)
    except ValueError:
        return ["the records are half written"]
    was_complete = before is not None and json.loads(before)["run"]["complete"]
    replaced = was_complete and not content["run"]["complete"]
    return ["records of a part took the place of complete ones"] if replaced else []


def kills(count: int, seed: int) -> Counter[str]:
    """Kills a run before each event on files, then at random times; in a new project and in one that has run."""
    random, counts = Random(seed), Counter[str]()
    context = multiprocessing.get_context("fork")
    with project() as folder:
        new = contents(folder)
        events = context.Value("i", 0)
        started = time.monotonic()
        run(folder, RUN, events=events).join()
        seconds, last = time.monotonic() - started, int(events.value)
        later = contents(folder)
        places: list[int | None] = [*range(1, last + 1)]
        random.shuffle(places)
        for number in range(count):
            before = (new, later)[number % 2]
            restore(folder, before)
            at = places[number // 2] if number // 2 < len(places) and number < 0.7 * count else None
            process = run(folder, RUN, dies_at=at)
            if at is None:
                process.join(random.uniform(0.1, 0.7) * seconds)
                process.kill()
            process.join()
            counts["killed" if process.exitcode == -signal.SIGKILL else "ended before"] += 1
            _note(counts, lost(folder, before), f"kill {number} {f'at event {at}' if at else 'at a random time'}")
            if number % 5 == 0:
                _note(counts, _as_if_nothing(folder, later), f"run after kill {number}")
    counts["events on files in a run"] = last
    return counts


def _as_if_nothing(folder: Path, expected: dict[Path, bytes]) -> list[str]:
    """What a whole run after a kill does not make good."""
    process = run(folder, RUN)
    process.join()
    now = contents(folder)
    faults = [] if process.exitcode == 0 else [f"exit status {process.exitcode}"]
    faults += [f"left over: {name}" for name in now if name.suffix == ".part"]
    if json.loads(now[SNAPSHOTS]) != json.loads(expected[SNAPSHOTS]):
        faults.append("other snapshots than of a run alone")
    return faults


def interrupts(count: int, seed: int) -> Counter[str]:
    """Ctrl-C at random times: what is written is whole, and says that it is a part."""
    random, counts = Random(seed), Counter[str]()
    with project() as folder:
        new = contents(folder)
        started = time.monotonic()
        run(folder, RUN).join()
        seconds = time.monotonic() - started
        later = contents(folder)
        for number in range(count):
            before = (new, later)[number % 2]
            restore(folder, before)
            process = run(folder, RUN)
            process.join(random.uniform(0.3, 1.0) * seconds)
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGINT)
            process.join()
            kinds = {0: "ended before", 2: "interrupted"}
            counts[kinds.get(process.exitcode, f"exit status {process.exitcode}")] += 1
            _note(counts, lost(folder, before), f"interrupt {number}")
    return counts


def updates(count: int, seed: int) -> Counter[str]:  # noqa: ARG001
    """Two processes that update one snapshot file at once."""
    counts, halves = Counter[str](), ("task or copies", "corrupted or copies")
    with project() as folder:
        new = contents(folder)
        run(folder, ("--snapshot-update",)).join()
        expected = json.loads((folder / SNAPSHOTS).read_text())
        for number in range(count):
            restore(folder, new)
            processes = [run(folder, ("--snapshot-update", "-k", half)) for half in halves]
            for process in processes:
                process.join()
            counts["rounds"] += 1
            entries = json.loads((folder / SNAPSHOTS).read_text())
            missing = sorted(set(expected) - set(entries))
            _note(counts, [f"lost {name}" for name in missing], f"round {number}")
    return counts


# ---- damaged files, bad options and arguments


def damaged_text(text: str, random: Random) -> str:
    """A text with a cut, a byte changed, a piece doubled, or a number or a word replaced."""
    place, other = sorted(random.randrange(len(text) + 1) for _ in range(2))
    words = ("nan", "1e999", "-1", "null", "[]", "{}", '"', "\x00", "\x1b[31m", "9" * 400, "[" * 5000, "\ud800", "true")
    return random.choice((
        text[:place],
        text[:place] + chr(random.randrange(1, 256)) + text[place + 1 :],
        text[:other] + text[place:other] + text[other:],
        text[:place] + random.choice(words) + text[other:][:400] + text[other:],
        text[:place] + random.choice(words) + text[place:],
    ))  # fmt: skip


def files(count: int, seed: int) -> Counter[str]:
    """Damaged snapshot files, circuit files, measurements on disk, and records that a run finds in its place."""
    random, counts = Random(seed), Counter[str]()
    with project() as folder:
        run(folder, RUN).join()
        good = {
            "snapshots": (folder / SNAPSHOTS).read_text(),
            "circuit": CIRCUIT.read_text(),
            "cache": next((folder / "kept").glob("*/*.json")).read_text(),
            "records": (folder / "records.json").read_text(),
        }
        for number in range(count):
            kind = list(good)[number % len(good)]
            text = damaged_text(good[kind], random)
            path = folder / f"damaged.{'toml' if kind == 'circuit' else 'json'}"
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            _judge(counts, lambda: _read(kind, path), f"{kind} {number}: {text[:60]!r}")  # noqa: B023
    return counts


def _read(kind: str, path: Path) -> None:
    from pytest_interp.cache.store import Cache
    from pytest_interp.circuit_file import load_circuit
    from pytest_interp.ledger.json_file import check_path
    from pytest_interp.snapshots.snapshot_file import read_file

    if kind == "cache":
        cache = Cache(path.parent)
        cache._path = lambda _: path
        cache.find("a key")
        return
    {"snapshots": read_file, "circuit": load_circuit, "records": check_path}[kind](path)


OPTIONS = (
    "--interp-model", "--interp-revision", "--interp-circuit", "--interp-device", "--interp-dtype", "--interp-seed",
    "--interp-prompts", "--interp-bos", "--interp-memory", "--interp-cache", "--interp-ledger",
)  # fmt: skip
VALUES = (
    "", " ", "0", "-1", "1e9", "1000000000", "9" * 5000, "x" * 5000, "nan", "None", "True", "/", ".", "..", "/dev/null",
    "/dev/full", "/proc/self/mem", "test_it.py", "circuits", "a/b", "a/b/c", "~", "~nobody/x", "\x1b[31m", "é", "名",
    "meta", "cuda", "cuda:99", "float8", "gpt2", "gpt", "planted-ioi", "all", "suite", "no", "yes", "1K", "1X", "-",
)  # fmt: skip


def options(count: int, seed: int) -> Counter[str]:
    """Values of options: pytest ends with a sentence and status 4, or runs."""
    random, counts = Random(seed), Counter[str]()
    with project() as folder:
        new = contents(folder)
        for _ in range(count):
            option, value = random.choice(OPTIONS), random.choice(VALUES)
            restore(folder, new)
            process = run(folder, (f"{option}={value}", "-k", "task"))
            process.join(120)
            hangs = process.exitcode is None
            process.kill()
            said = (folder.parent / f"{folder.name}.log").read_text(errors="replace")
            raw = "INTERNALERROR" in said or "Traceback (most" in said
            known = process.exitcode in (0, 1, 4, 5)
            counts[f"exit status {process.exitcode}"] += 1
            problem = "hangs" if hangs else "raw error" if raw or not known else ""
            _note(counts, [problem] if problem else [], f"{option}={value[:30]!r}")
            changed = [name for name, content in new.items() if contents(folder).get(name) != content]
            _note(counts, [f"changed {name}" for name in changed], f"{option}={value[:30]!r}")
    return counts


def weights(count: int, seed: int) -> Counter[str]:
    """Damaged files of weights, configurations and tokenizers."""
    import damaged_files
    from models import random_gpt2, word_tokenizer

    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = word_tokenizer()
        random_gpt2(tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for number, what, outcome in damaged_files.outcomes(Path(folder), seed, count):
            counts[outcome.kind] += 1
            _note(counts, [outcome.said] if outcome.kind not in ("loaded", "refused") else [], f"{number}: {what}")
    return counts


def arguments(count: int, seed: int) -> Counter[str]:
    """Bad arguments of every public function."""
    import bad_arguments
    from models import experiment_on

    counts = Counter[str]()
    checkpoint = _planted()
    calls = bad_arguments.valid_calls(
        experiment_on(checkpoint), experiment_on(checkpoint, half="find"), _doubled(checkpoint), checkpoint.tokenizer
    )
    for call in bad_arguments.bad_arguments(calls, seed, count):
        kind, text = bad_arguments.outcome(call)
        counts[kind] += 1
        _note(counts, [text] if kind not in ("result", "refused") else [], f"{call.name}: {call.bad}")
    return counts


def _judge(counts: Counter[str], read: Callable[[], object], what: str) -> None:
    from pytest_interp.errors import InterpError

    try:
        read()
        counts["read"] += 1
    except InterpError as error:
        counts["refused"] += 1
        _note(counts, [] if str(error).isprintable() else ["a sentence that cannot be printed"], what)
    except Exception as error:
        _note(counts, [f"raw {type(error).__name__}: {error}"[:200]], what)


# ---- changes of the model


def pairs(count: int, seed: int) -> Counter[str]:  # noqa: ARG001
    """Changes that are undone, on each kind of model, in memory and on disk: how many numbers are another state's.

    Args:
        count: how many changes, on small models; 0 for all, on SmolLM2 too.
        seed: nothing is drawn.
    """
    from model_changes import CHANGES, Unsuitable

    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for kind, checkpoint in _models(Path(folder), small=bool(count)):
            for cached in (False, True):
                for change in CHANGES[:count] if count else CHANGES:
                    place = Path(folder) / f"cache {sum(counts.values())}" if cached else None
                    name = f"{kind}, {'on disk' if cached else 'in memory'}, {change.__name__}"
                    try:
                        faults = wrong_numbers(checkpoint, change, place)
                    except Unsuitable:
                        counts["not possible"] += 1
                        continue
                    counts["pairs"] += 1
                    _note(counts, faults, name)
    return counts


def wrong_numbers(checkpoint: Any, change: Callable[[Any], Any], cache: Path | None) -> list[str]:
    """Which numbers are not those of the state that the model was in: before, under and after a change."""
    from model_changes import numbers

    from pytest_interp.cache.store import Cache

    checkpoint.memo.clear()
    checkpoint.cache = None
    whole = numbers(checkpoint)
    checkpoint.memo.clear()
    checkpoint.cache = Cache.at(cache) if cache else None
    with change(checkpoint.bridge):
        changed = numbers(checkpoint)
    after = numbers(checkpoint)
    with change(checkpoint.bridge):
        again = numbers(checkpoint)
    faults = [] if after == whole else ["numbers of the change after it was undone"]
    faults += [] if again == changed != whole else ["numbers of the whole model under the change"]
    return [*faults, *checkpoint.changes_since_load()]


def _models(folder: Path, *, small: bool) -> Iterator[tuple[str, Any]]:
    """A model of each kind of source; SmolLM2 where it is installed."""
    from models import build, word_tokenizer

    from pytest_interp import Checkpoint
    from pytest_interp.checkpoints import known_specs

    for kind in ("planted", "directory", "loader", "bridge"):
        place = folder / kind
        place.mkdir()
        yield kind, build(kind, word_tokenizer(), place)
    spec = known_specs()["smollm2-135m-instruct"]
    if not small and not spec.missing():
        yield spec.name, Checkpoint(spec)


def _planted() -> Any:
    from pytest_interp import Checkpoint
    from pytest_interp.checkpoints import known_specs

    return Checkpoint(known_specs()["planted-ioi"])


def _doubled(checkpoint: Any) -> Any:
    from pytest_interp import Experiment
    from pytest_interp.tasks import repeated_tokens

    return Experiment(
        checkpoint, repeated_tokens(checkpoint.tokenizer, length=10, n=4, seed=1, bos=True, complete=True)
    )


# ---- all together


def _note(counts: Counter[str], faults: Sequence[str], what: str) -> None:
    for fault in faults:
        counts["faults"] += 1
        print(f"FAULT {what}: {fault}", flush=True)


def warm_up() -> None:
    """Imports and hashes here what every forked run would have to."""
    import torch

    import pytest_interp.assertions.answer  # noqa: F401
    from pytest_interp.cache import provenance

    torch.set_num_threads(1)  # a forked run would wait forever for the threads of this process
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    provenance.changed()
    provenance.own_code()
    _planted()


@dataclass(frozen=True)
class Part:
    """A part of the battery, how often it is tried, and how often in its short form."""

    tried: Callable[[int, int], Counter[str]]
    usual: int
    short: int


PARTS = {
    "kills": Part(kills, 190, 6),
    "interrupts": Part(interrupts, 20, 2),
    "updates": Part(updates, 20, 2),
    "files": Part(files, 400, 80),
    "options": Part(options, 100, 6),
    "weights": Part(weights, 700, 20),
    "arguments": Part(arguments, 1000, 200),
    "pairs": Part(pairs, 0, 2),
}


def main() -> int:
    """Runs the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--count", type=int, help="how often each part is tried, instead of its own number")
    parser.add_argument("--short", action="store_true", help="the short form, for a test")
    chosen = parser.parse_args()
    warm_up()
    faults = 0
    for name in chosen.part or PARTS:
        part, started = PARTS[name], time.monotonic()
        own = part.short if chosen.short else part.usual
        counts = part.tried(own if chosen.count is None else chosen.count, chosen.seed)
        faults += counts["faults"]
        said = ", ".join(f"{key} {value}" for key, value in sorted(counts.items()) if key != "faults")
        print(f"{name}: {said}; faults {counts['faults']} ({time.monotonic() - started:.0f} s)", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
