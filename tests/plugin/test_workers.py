"""Workers of pytest-xdist: which claims each of them gets, and the results are those of one process."""

import re
from types import SimpleNamespace

import pytest
from models import TASK_AND_COPIES, random_gpt2

from pytest_interp.compare.comparison import compare
from pytest_interp.ledger.ledger import read
from pytest_interp.machines.visible_devices import devices_of, share_of
from pytest_interp.plugin.session import Plan, session_of

pytest.importorskip("xdist")


class Worker:
    """A worker that notes the tests that it is sent, as pytest-xdist's controller sees it."""

    def __init__(self, name):
        self.gateway, self.sent, self.shutting_down = SimpleNamespace(id=name), [], False

    def send_runtest_some(self, indices):
        self.sent += indices

    def shutdown(self):
        self.shutting_down = True


def run_of(pytester, counts, workers, *, crash=None, files=1, per_checkpoint=False):
    """The checkpoints that each worker had to load and the tests that it ran, in order, and the tests that nobody ran.

    Args:
        counts: number of claims by checkpoint; "" for tests that are no claims.
        crash: the worker that crashes after its first test.
        files: in so many files the tests stand, the same number in each.
        per_checkpoint: whether each file has tests of every checkpoint.
    """
    from xdist.scheduler import LoadScheduling

    from pytest_interp.plugin.workers import ByCheckpoint

    names = [name for name, count in counts.items() for _ in range(count)]
    first = [names.index(name) if per_checkpoint else 0 for name in names]
    in_file = [-(-(counts[name] if per_checkpoint else len(names)) // files) for name in names]
    ids = [f"test_{(i - first[i]) // in_file[i]}.py::test_{i}" for i in range(len(names))]
    config = pytester.parseconfig("-n", str(workers))
    config.option.tx = ["popen"] * workers
    session_of(config).plan = Plan({test: name for test, name in zip(ids, names, strict=True) if name})
    schedule = ByCheckpoint(config, None)
    assert isinstance(schedule, LoadScheduling)
    alive = [Worker(f"gw{i}") for i in range(workers)]
    everyone = list(alive)
    for worker in alive:
        schedule.add_node(worker)
        schedule.add_node_collection(worker, ids)
    schedule.schedule()
    done = {worker.gateway.id: [] for worker in alive}
    while True:
        # A worker runs a test only when it knows the next one, or that there is none.
        ready = [
            worker for worker in alive if len(worker.sent) > len(done[worker.gateway.id]) + (not worker.shutting_down)
        ]
        if not ready:
            break
        for worker in ready:
            index = worker.sent[len(done[worker.gateway.id])]
            done[worker.gateway.id].append(index)
            if worker.gateway.id == crash and len(done[crash]) == 1:
                alive.remove(worker)
                schedule.remove_node(worker)
                replacement = Worker(f"gw{len(everyone)}")
                everyone.append(replacement)
                done[replacement.gateway.id] = []
                alive.append(replacement)
                schedule.add_node(replacement)
                schedule.add_node_collection(replacement, ids)
                schedule.schedule()
            else:
                schedule.mark_test_complete(worker, index, duration=1.0)
    loaded = [list(dict.fromkeys(names[i] for i in done[worker.gateway.id] if names[i])) for worker in everyone]
    ran = sorted(index for indices in done.values() for index in indices)
    assert len(ran) == len(set(ran))
    return loaded, list(done.values()), set(range(len(ids))) - set(ran)


@pytest.mark.parametrize(
    ("counts", "workers", "loaded"),
    [
        ({"a": 40, "b": 40}, 2, [["a"], ["b"]]),
        ({"a": 4, "b": 76}, 2, [["a", "b"], ["b"]]),
        ({"a": 4, "b": 14}, 2, [["a"], ["b"]]),
        ({"a": 1, "b": 2}, 2, [["a"], ["b"]]),
        ({"a": 1, "b": 1, "c": 1}, 3, [["a"], ["b"], ["c"]]),
        ({"": 9, "a": 5, "b": 30}, 2, [["a", "b"], ["b"]]),
        ({"a": 20, "b": 60}, 3, [["a"], ["b"], ["b"]]),
        ({"a": 20, "b": 20, "c": 20}, 2, [["a", "c"], ["b", "c"]]),
        ({"a": 20, "b": 20, "c": 8}, 2, [["a", "c"], ["b"]]),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, 2, [["a", "c"], ["b", "d"]]),
        ({"a": 80}, 2, [["a"], ["a"]]),
        ({"a": 3, "": 1}, 2, [["a"], ["a"]]),
        ({"": 30}, 3, [[], [], []]),
    ],
)
def test_a_worker_loads_a_second_checkpoint_only_for_many_claims(pytester, counts, workers, loaded):
    loads, _, left_over = run_of(pytester, counts, workers)
    assert (loads, left_over) == (loaded, set())


def test_workers_that_share_a_checkpoint_take_one_file_each(pytester):
    _, ran, _ = run_of(pytester, {"a": 40}, 2, files=8)
    files = [[index // 5 for index in indices] for indices in ran]
    assert [list(dict.fromkeys(of_worker)) for of_worker in files] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert all(indices == sorted(indices) for indices in ran)


def test_a_worker_that_helps_begins_a_file_that_nobody_has(pytester):
    _, ran, _ = run_of(pytester, {"a": 4, "b": 80}, 2, files=4, per_checkpoint=True)
    first, second = ([(index - 4) // 20 for index in indices if index >= 4] for indices in ran)
    assert first[0] == 1
    assert second[0] == 0


def test_workers_share_the_last_file(pytester):
    _, ran, _ = run_of(pytester, {"a": 40}, 2, files=1)
    assert abs(len(ran[0]) - len(ran[1])) <= 2


def test_the_last_claims_are_not_all_with_one_worker(pytester):
    _, ran, _ = run_of(pytester, {"a": 40, "b": 5}, 2)
    assert abs(len(ran[0]) - len(ran[1])) <= 3


def test_the_checkpoint_of_a_worker_that_crashed_goes_to_the_one_that_replaces_it(pytester):
    loaded, _, left_over = run_of(pytester, {"a": 20, "b": 20}, 2, crash="gw0")
    assert loaded == [["a"], ["b"], ["a"]]
    assert left_over == set()


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [(("-n2",), True), (("-n2", "--dist=load"), False), (("-n2", "-d"), False), (("-n2", "--dist=worksteal"), False)],
)
def test_a_way_to_distribute_that_the_user_chose_stays(pytester, arguments, chosen):
    from xdist.plugin import pytest_cmdline_main

    from pytest_interp.plugin import pytest_xdist_make_scheduler

    config = pytester.parseconfig(*arguments)
    pytest_cmdline_main(config)
    assert (pytest_xdist_make_scheduler(config, None) is not None) == chosen


CLAIMS = (
    TASK_AND_COPIES
    + """
from pytest_interp import assert_attention, assert_head_patch_effect

@pytest.mark.parametrize("at", ["END", "S2"])
def test_reads(ioi, at):
    assert_attention(ioi, "0.0", at=at, to="IO", at_most=0.99)

def test_effect(ioi):
    assert_head_patch_effect(ioi, "1.0", at_least=-100)
"""
)


def test_two_workers_have_the_results_of_one_process_and_load_one_checkpoint_each(claims_project, tokenizer):
    claims_project.makepyfile(test_it=CLAIMS)
    model = random_gpt2(tokenizer)
    model.save_pretrained(claims_project.path / "random")
    tokenizer.save_pretrained(claims_project.path / "random")
    arguments = ("-v", "-p", "no:cacheprovider", "--interp-model", "planted-ioi", "--interp-model", "random",
                 "--interp-prompts", "24")  # fmt: skip
    alone = claims_project.runpytest_subprocess(*arguments, "--interp-ledger", "alone.json")
    shared = claims_project.runpytest_subprocess(*arguments, "-n2", "--interp-ledger", "shared.json")
    assert alone.parseoutcomes() == shared.parseoutcomes()
    before, after = (read(claims_project.path / name) for name in ("alone.json", "shared.json"))
    comparison = compare(before, after)
    assert set(comparison.counts) == {"unchanged"}
    assert len(comparison.pairs) == len(before.claims) == len(after.claims) > 10
    assert not comparison.only_before + comparison.only_after
    # A claim without heads loads no checkpoint: any worker may skip it.
    ran = {
        match.groups()
        for line in shared.outlines
        if "no-heads" not in line and (match := re.match(r"\[(gw\d)\].*\[(planted-ioi|random)[-\]]", line))
    }
    assert len({worker for worker, _ in ran}) == len({name for _, name in ran}) == len(ran) == 2


# ---- GPUs

UUIDS = "GPU-8932f937-d72c,GPU-1a2b, GPU-77"


@pytest.mark.parametrize(
    ("visible", "cards", "devices"),
    [
        ("3,1", 8, ["3", "1"]),
        (" 3 , 1 ", 8, ["3", "1"]),
        (UUIDS, 8, ["GPU-8932f937-d72c", "GPU-1a2b", "GPU-77"]),
        ("MIG-GPU-5c89/1/0,MIG-77ab", 1, ["MIG-GPU-5c89/1/0", "MIG-77ab"]),
        ("", 8, []),
        ("-1", 8, []),
        ("0,1,-1,2", 8, ["0", "1"]),
        ("0,,2", 8, ["0"]),
        (None, 2, ["0", "1"]),
        (None, 0, []),
    ],
)
def test_the_list_of_visible_devices_is_read_as_cuda_reads_it(visible, cards, devices):
    assert devices_of(visible, cards) == devices


@pytest.mark.parametrize(
    ("devices", "count", "shares"),
    [
        (["3", "1"], 1, [["3"], ["1"], ["3"]]),
        (["7"], 1, [["7"]] * 3),
        (["4", "5", "6"], 2, [["4", "5"]] * 3),
        (["4"], 2, [["4"]] * 3),
    ],
)
def test_the_share_of_a_worker_is_in_the_list(devices, count, shares):
    assert [share_of(devices, worker, count) for worker in range(3)] == shares


SEES = """
import os, sys
import pytest

pytestmark = pytest.mark.claim(source="a paper")
before = "torch" in sys.modules

@pytest.fixture(autouse=True)
def what_is_visible(worker_id):
    print("SEES", worker_id, os.environ.get("CUDA_VISIBLE_DEVICES"), before)

@pytest.mark.parametrize("number", range(4))
def test_it(checkpoint, number):
    pass
"""


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [
        (UUIDS, "auto", {"gw0": "GPU-8932f937-d72c", "gw1": "GPU-1a2b"}),
        ("5", "cuda", {"gw0": "5", "gw1": "5"}),
        ("-1", "auto", {"gw0": "-1", "gw1": "-1"}),
        ("", "auto", {"gw0": "", "gw1": ""}),
        ("3,1", "cpu", {"gw0": "3,1", "gw1": "3,1"}),
        ("3,1", "cuda:1", {"gw0": "3,1", "gw1": "3,1"}),
    ],
)
def test_each_worker_sees_its_own_device_before_torch_is_imported(claims_project, monkeypatch, visible, device, seen):
    """Claims that load no model, since there are no such GPUs; in workers of pytest-xdist."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    claims_project.makepyfile(test_it=SEES)
    claims_project.makeconftest(
        "import pytest\n@pytest.fixture(scope='session')\ndef checkpoint(request):\n    return request.param\n"
    )
    result = claims_project.runpytest_subprocess("-n2", "-rP", "--interp-device", device, "-p", "no:cacheprovider")
    lines = {line for line in result.outlines if line.startswith("SEES")}
    assert lines == {f"SEES {worker} {value} False" for worker, value in seen.items()}
