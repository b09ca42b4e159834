"""Measurements on disk: read back bit for bit, and never where they could hide that something has changed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, assert_logit_diff
from pytest_interp.cache import provenance
from pytest_interp.cache.store import Cache
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.heads import Head
from pytest_interp.measure import (
    backup_effect,
    copy_score,
    direct_logit_attribution_sweep,
    faithfulness,
    head_patch_effect,
    logit_diff,
    next_tokens,
    patch_effect_sweep,
)
from pytest_interp.tasks import ioi

CLAIM = """
import pytest
from pytest_interp import assert_copy_score, assert_logit_diff

@pytest.mark.claim(source="test", checkpoints=("planted-ioi",))
def test_it(ioi):
    assert_logit_diff(ioi, at_least=1)

@pytest.mark.claim(source="test", role="name_mover", checkpoints=("planted-ioi",))
def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.9)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def checkpoint(folder):
    planted = Checkpoint(known_specs()["planted-ioi"])
    folder.mkdir()
    planted.cache = Cache(folder)
    return planted


@pytest.fixture
def experiment(checkpoint):
    return experiment_of(checkpoint)


def experiment_of(checkpoint, **choices):
    return Experiment(
        checkpoint, ioi(checkpoint.tokenizer, **({"half": "find", "n": 12, "seed": 0, "bos": True} | choices))
    )


def entries(folder):
    return sorted(folder.glob("*/*.json"))


def passes(checkpoint, monkeypatch):
    """Counts how often the model runs from now on."""
    count, run = [], type(checkpoint.forward).run
    monkeypatch.setattr(type(checkpoint.forward), "run", lambda self, *a, **k: count.append(1) or run(self, *a, **k))
    return count


@pytest.mark.parametrize(
    "measure",
    [
        logit_diff,
        direct_logit_attribution_sweep,
        lambda e: patch_effect_sweep(e, "resid_pre", positions=["S2", "END"], layers=[0, 1]),
        lambda e: patch_effect_sweep(e, "v", layers=[1]),
        lambda e: backup_effect(e, [Head(3, 1)], knocked_out=[Head(2, 0)]),
        lambda e: head_patch_effect(e, ["3.0", (3, 1)], at="END"),
        lambda e: copy_score(e.checkpoint, "3.0", names=["Mary", "John"]),
        lambda e: next_tokens(e.checkpoint, "Last week", k=3),
        lambda e: faithfulness(e, {Head(3, 0): "END", Head(3, 1): None}),
    ],
)
def test_what_is_read_is_what_was_measured_bit_for_bit(experiment, monkeypatch, measure):
    first = measure(experiment)
    experiment.checkpoint.memo.clear()
    count = passes(experiment.checkpoint, monkeypatch)
    again = measure(experiment)
    assert count == []
    assert experiment.checkpoint.cache.read == 1
    assert plain(again) == plain(first)


def plain(value):
    """A result as text, without the remark that it was read."""
    return repr(value if not hasattr(value, "cells") else dict(value.cells)).replace("cached=True", "cached=False")


def test_the_control_on_random_weights_is_read_too(experiment, monkeypatch):
    from pytest_interp.checkpoints import damage

    def controls():
        verdict = assert_logit_diff(experiment, at_least=1, controls={"random_model": 2})
        return [(control.label, control.value) for control in verdict.controls]

    draws, draw = [], damage._randomise
    monkeypatch.setattr(damage, "_randomise", lambda *a: draws.append(1) or draw(*a))
    first = controls()
    assert len(draws) == 2
    assert experiment.checkpoint.changes_since_load() == []
    experiment.checkpoint.memo.clear()
    count = passes(experiment.checkpoint, monkeypatch)
    assert controls() == first
    assert count == []
    assert abs(first[0][1]) < 1 < logit_diff(experiment).value
    assert first[0][1] != first[1][1]


def test_no_number_of_a_damaged_model_gets_among_those_of_the_whole_one(experiment):
    checkpoint, seed = experiment.checkpoint, Damage("random", seed=0)
    with damaged(checkpoint, seed, on_disk=True):
        broken = logit_diff(experiment).value
    own = logit_diff(experiment).value
    assert (checkpoint.cache.read, checkpoint.cache.measured) == (0, 2)
    with damaged(checkpoint, seed, on_disk=True):
        assert logit_diff(experiment).value == broken
    assert logit_diff(experiment).value == own
    assert checkpoint.cache.read == 2
    with damaged(checkpoint, seed):
        assert not uses_cache(checkpoint)
    assert checkpoint.guard.damage == ""


def uses_cache(checkpoint):
    with checkpoint.guard.measuring() as look:
        return look.cache is not None


def test_it_says_that_it_was_read(experiment):
    assert not logit_diff(experiment).context.cached
    assert logit_diff(experiment).context.cached


@pytest.mark.parametrize(
    "other",
    [
        lambda e: logit_diff(e, run="s2-exchanged"),
        lambda e: logit_diff(experiment_of(e.checkpoint, seed=1)),
        lambda e: logit_diff(experiment_of(e.checkpoint, n=24)),
        lambda e: logit_diff(experiment_of(e.checkpoint, bos=False)),
        lambda e: logit_diff(Experiment(e.checkpoint, e.data, seed=4)),
    ],
)
def test_another_question_has_another_key(experiment, other):
    logit_diff(experiment)
    other(experiment)
    assert experiment.checkpoint.cache.read == 0


def test_another_precision_has_another_key(checkpoint, folder):
    logit_diff(experiment_of(checkpoint))
    exact = Checkpoint(known_specs()["planted-ioi"], dtype="float64")
    exact.cache = Cache(folder)
    logit_diff(experiment_of(exact))
    assert exact.cache.read == 0


# ---- it hides no refactor


def measured_again(experiment):
    before = experiment.checkpoint.cache.read
    logit_diff(experiment)
    return experiment.checkpoint.cache.read == before


def test_the_same_is_not_measured_again(experiment):
    logit_diff(experiment)
    assert not measured_again(experiment)


def test_a_change_of_our_own_code_has_another_key(experiment, monkeypatch):
    logit_diff(experiment)
    monkeypatch.setattr(provenance, "own_code", lambda: "changed")
    assert measured_again(experiment)


def test_our_own_code_is_every_module(tmp_path, monkeypatch):
    import shutil

    package = tmp_path / "pytest_interp"
    shutil.copytree(Path(provenance.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "__file__", str(package / "cache" / "provenance.py"))
    seen = [provenance.own_code.__wrapped__()]
    for part in ("measure/logit_diff.py", "engine/passes.py", "checkpoints/blocks.py", "tasks/ioi.py", "judge.py"):
        with (package / part).open("a") as file:
            file.write("# changed\n")
        seen.append(provenance.own_code.__wrapped__())
    assert len(set(seen)) == len(seen)


def test_another_version_of_a_library_has_another_key(experiment, monkeypatch):
    logit_diff(experiment)
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "9.9"})
    assert measured_again(experiment)


def test_a_cache_of_another_format_is_not_read(experiment, monkeypatch):
    logit_diff(experiment)
    monkeypatch.setattr("pytest_interp.cache.store.FORMAT", 99)
    assert measured_again(experiment)


def test_hooks_and_changed_weights_bypass_it(experiment):
    checkpoint = experiment.checkpoint
    logit_diff(experiment)
    bridge = checkpoint.bridge
    bridge.blocks[1].hook_resid_pre.add_hook(lambda value, hook: value * 0)
    assert not uses_cache(checkpoint)
    bridge.reset_hooks()
    with checkpoint.edited_weight(3, "o") as weight:
        weight.zero_()
        assert not uses_cache(checkpoint)
    with damaged(checkpoint, Damage("zeroed", (Head(3, 0),))):
        assert not uses_cache(checkpoint)
        broken = logit_diff(experiment).value
    assert uses_cache(checkpoint)
    assert logit_diff(experiment).value != broken
    with torch.no_grad():
        next(iter(bridge.parameters())).mul_(1.01)
    assert not uses_cache(checkpoint)


def test_a_bridge_of_the_user_is_measured_each_time(tokenizer, folder):
    from models import random_gpt2

    folder.mkdir()
    own = Checkpoint(CheckpointSpec("mine", loader=lambda: (random_gpt2(tokenizer), tokenizer)))
    own.cache = Cache(folder)
    for _ in range(2):
        logit_diff(experiment_of(own))
    assert entries(folder) == []
    assert own.cache.read == 0


def test_arguments_without_a_text_are_measured(experiment, folder):
    head_patch_effect(experiment, (head for head in ["3.0"]))
    assert entries(folder) == []


def test_what_a_claim_that_changes_weights_measures_is_forgotten(claims_project, folder):
    claims_project.makepyfile(
        test_it=CLAIM
        + """
@pytest.mark.claim(source="test", checkpoints=("planted-ioi",))
def test_breaks(ioi):
    with __import__("torch").no_grad():
        next(iter(ioi.checkpoint.bridge.parameters())).data.zero_()
    assert_logit_diff(ioi.select(order="ABBA"), at_most=0)
"""
    )
    arguments = ("--interp-cache", str(folder), "--interp-prompts", "24")
    claims_project.runpytest(*arguments, "-k", "breaks").assert_outcomes(failed=1)
    assert entries(folder) == []
    claims_project.runpytest(*arguments, "-k", "not breaks").assert_outcomes(passed=4)
    assert entries(folder)


# ---- distributions


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution of one module, as pip installs it."""
    import base64
    import hashlib

    def record(path):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        return f"{path.relative_to(site)},sha256={digest},{path.stat().st_size}"

    site = tmp_path / "site"
    info = site / "made_up-1.0.dist-info"
    (site / "made_up").mkdir(parents=True)
    info.mkdir()
    (site / "made_up" / "__init__.py").write_text("VALUE = 1\n")
    (site / "made_up" / "kernel.so").write_bytes(b"1234")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join(map(record, sorted((site / "made_up").iterdir()))))
    monkeypatch.syspath_prepend(site)
    provenance.changed.cache_clear()
    yield site
    provenance.changed.cache_clear()


def why(name="made-up"):
    return provenance.changed.__wrapped__((name,))


def test_a_distribution_as_it_was_installed(installed):
    assert why() == ""


def test_the_libraries_here_are_as_they_were_installed():
    assert provenance.changed() == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda site: (site / "made_up/__init__.py").write_text("VALUE = 2\n"), "was changed after it was installed"),
        (lambda site: (site / "made_up/kernel.so").write_bytes(b"12345"), "was changed after it was installed"),
        (lambda site: (site / "made_up/kernel.so").unlink(), "lacks made_up/kernel.so"),
        (lambda site: (site / "made_up-1.0.dist-info/RECORD").unlink(), "has no record of its files"),
        (
            lambda site: (site / "made_up-1.0.dist-info/direct_url.json").write_text(
                json.dumps({"url": "file:///made-up", "dir_info": {"editable": True}})
            ),
            "is installed in editable mode",
        ),
    ],
)
def test_a_distribution_that_was_changed(installed, change, reason):
    change(installed)
    assert why().startswith(f"made-up {reason}")


def test_a_distribution_that_is_shadowed(installed, tmp_path, monkeypatch):
    (tmp_path / "other" / "made_up").mkdir(parents=True)
    (tmp_path / "other" / "made_up" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "other")
    assert why().startswith("made-up is imported from ")


def test_a_distribution_that_is_not_there():
    assert why("never-heard-of") == "never-heard-of is not installed as a distribution"


def test_a_changed_library_turns_the_cache_off_and_says_so(claims_project, folder, monkeypatch):
    monkeypatch.setattr(provenance, "changed", lambda: "torch is installed in editable mode")
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("--interp-cache", str(folder), "--interp-prompts", "24")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["interp: cache not used: torch is installed in editable mode"])
    assert not folder.exists()


# ---- what can go wrong on disk


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("logit_diff", "logit_dixx"),
        lambda text: json.dumps({**json.loads(text.partition("\n")[0]), "key": "another"}) + text[text.index("\n") :],
    ],
)
def test_a_damaged_entry_is_measured_again_and_replaced(experiment, folder, damage):
    first = logit_diff(experiment)
    (path,) = entries(folder)
    whole = path.read_text()
    path.write_text(damage(whole))
    assert logit_diff(experiment).values == first.values
    assert path.read_text() == whole
    assert not list(folder.rglob("*.part"))


def test_a_folder_that_cannot_be_written_is_said_once(claims_project, tmp_path):
    (tmp_path / "file").write_text("")
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("--interp-cache", str(tmp_path / "file" / "cache"), "--interp-prompts", "24")
    result.assert_outcomes(passed=4)
    said = [line for line in result.outlines if "cache not used" in line]
    assert len(said) == 1
    assert said[0].endswith("cannot be written: Not a directory")


def test_a_folder_that_goes_away_ends_the_cache_not_the_run(experiment, folder):
    import shutil

    shutil.rmtree(folder)
    folder.write_text("")
    assert logit_diff(experiment).values
    assert "cannot be written" in experiment.checkpoint.cache.summary
    assert logit_diff(experiment).values


def test_a_run_says_what_it_read(claims_project, folder):
    claims_project.makepyfile(test_it=CLAIM)
    arguments = ("--interp-cache", str(folder), "--interp-prompts", "24")
    result = claims_project.runpytest(*arguments)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["interp: cache *: * measurements read from disk, ?* measured and kept"])
    result = claims_project.runpytest(*arguments)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["interp: cache *: * measurements read from disk, 0 measured and kept"])
    assert (folder / "CACHEDIR.TAG").is_file()


def test_workers_of_xdist_are_counted_together(claims_project, folder):
    claims_project.makepyfile(test_it=CLAIM)
    arguments = ("--interp-cache", str(folder), "--interp-prompts", "24")
    alone = claims_project.runpytest(*arguments)
    result = claims_project.runpytest(*arguments, "-n", "2")
    result.assert_outcomes(passed=4)
    (said,) = [line for line in alone.outlines if "measured and kept" in line]
    read, measured = (int(said.split()[word]) for word in (3, 8))
    assert (read, measured) != (0, 0)
    result.stdout.fnmatch_lines(
        [f"interp: cache *: {read + measured} measurements read from disk, 0 measured and kept"]
    )


def test_several_workers_write_at_once(tmp_path, folder):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pytest_interp.cache.store import Cache\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "for i in range(300):\n"
        "    cache.keep(f'key {i % 20}', tuple(float(j) for j in range(500)))\n"
    )
    folder.mkdir()
    workers = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(3)]
    cache, seen = Cache(folder), 0
    while any(worker.poll() is None for worker in workers):
        for i in range(20):
            value = cache.find(f"key {i}")
            assert value is None or value == tuple(float(j) for j in range(500))
            seen += value is not None
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert seen
    assert len(entries(folder)) == 20
    assert not list(folder.rglob("*.part"))
