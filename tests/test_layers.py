"""The house: imports go down only, public names are declared, and the package stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_interp

ROOT = Path(pytest_interp.__file__).parent
LEVELS = [
    {"text", "errors", "tolerance", "heads", "measurement", "table", "circuit", "common"},
    {"cache", "tasks"},
    {"checkpoints", "ledger"},
    {"engine"},
    {"measure"},
    {"verdict"},
    {"assertions", "circuit_file", "strategies", "figures", "snapshots", "rerun", "compare"},
    {"report", "machines", "discover"},
    {"plugin", "explore"},
    {"cli"},
]
"""The rooms and the files at the root, from the lowest floor; within the first one files import each other too."""
FLOOR = {name: floor for floor, names in enumerate(LEVELS) for name in names}
# Verdicts know measurements, not models.
NEVER = {"verdict": {"tasks", "checkpoints", "engine", "measure"}}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def module_of(path: Path) -> str:
    return ".".join(("pytest_interp", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path, *, everywhere: bool = True):
    """The modules that a file imports, those for types included; at the top of the file or everywhere in it."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if name in MODULES]
            yield from modules
            if len(modules) < len(names):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]
MODULES = {module_of(path): path for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    mine = part_of(path)
    for module in imports(path):
        if not module.startswith("pytest_interp."):
            continue
        other = module.split(".")[1]
        assert other not in NEVER.get(mine, ())
        if other != mine:
            allowed = FLOOR[other] < FLOOR[mine] or FLOOR[other] == FLOOR[mine] == 0
            assert allowed, f"{mine} imports {other}"


def test_no_file_imports_itself_by_way_of_others():
    """Types included: what a file needs of another it can be read without."""
    below = {name: {module for module in imports(path) if module in MODULES} for name, path in MODULES.items()}
    rest = set(below)
    while free := {name for name in rest if not below[name] & rest}:
        rest -= free
    assert not rest


def test_the_house_is_small_enough_to_learn():
    assert len(LEVELS) <= 10
    assert len(list(ROOT.glob("*.py"))) <= 12


def test_the_walk_can_fail(tmp_path):
    bad = tmp_path / "heads.py"
    bad.write_text("def f():\n    from pytest_interp.plugin import pytest_configure\n")
    assert list(imports(bad)) == ["pytest_interp.plugin"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_small(path):
    assert len(path.read_text().splitlines()) <= 350


def private_names_of_others(paths):
    """Private names, read or imported or looked up by a text, that no file of the package defines: place and name."""

    def private(name):
        return name.startswith("_") and not name.endswith("__")

    nodes = [(path, node) for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    own = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for _, node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {
        node.attr
        for _, node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    for path, node in nodes:
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("pytest_interp"):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            names = [node.args[1].value] if isinstance(node.args[1], ast.Constant) else []
        else:
            continue
        yield from ((path, name) for name in names if private(name) and name not in own)


# Public in spite of their names: those of named tuples, and the one way to the frames of other threads.
NOT_PRIVATE = {"_asdict", "_replace", "_fields", "_current_frames"}
# PyTorch has no public list of a module's hooks, of the modes that are entered or of the kernels that Python
# registered, and no grad mode that a block does not end.
OF_TORCH = {
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_set_grad_enabled", "_C",
    "_len_torch_function_stack", "_len_torch_dispatch_stack", "_impls",
}  # fmt: skip


def test_private_names_of_other_libraries_stand_in_one_file(tmp_path):
    foreign = {(module_of(path), name) for path, name in private_names_of_others(FILES) if name not in NOT_PRIVATE}
    elsewhere = {(module, name) for module, name in foreign if module != "pytest_interp.common.compat"}
    assert {name for _, name in foreign - elsewhere} >= {"_pytest", "_syrupy", "_fixtureinfo"}
    assert {name for module, name in elsewhere if not module.startswith("pytest_interp.checkpoints.")} == set()
    assert {name for _, name in elsewhere} <= OF_TORCH
    bad = tmp_path / "bad.py"
    bad.write_text("from _pytest import python\nitem._request\ngetattr(item, '_obj')\n")
    assert [name for _, name in private_names_of_others([bad])] == ["_pytest", "_request", "_obj"]


def test_only_the_checkpoint_touches_the_bridge():
    for path in FILES:
        if part_of(path) != "checkpoints":
            assert not re.search(r"\bbridge\b\.|\.bridge\b", path.read_text()), path


@pytest.mark.parametrize(
    "name",
    ["__init__", "errors", "heads"]
    + [f"cli/{name}" for name in ("__init__", "check", "command", "discover", "explore", "ledgers", "page")]
    + [
        f"plugin/{name}"
        for name in ("__init__", "deselection", "fixtures", "hookspecs", "options", "runtest", "selection", "session")
    ],
)
def test_what_every_project_imports_is_pytest_and_the_standard_library(name):
    allowed = {"pytest", "pytest_interp", *sys.stdlib_module_names}
    for module in imports(ROOT / f"{name}.py", everywhere=False):
        assert module.split(".")[0] in allowed, f"{name} imports {module}"


@pytest.mark.parametrize(
    "part", ["assertions.answer", "verdict.judge", "snapshots.extension", "circuit_file", "report.page.page"]
)
def test_collecting_claims_imports_no_torch(part):
    """In a process of its own, with a control that the check can fail."""

    def heavy(statement):
        code = f"import sys; {statement}; print([m for m in ('torch', 'transformer_lens') if m in sys.modules])"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert heavy(f"import pytest_interp.{part}") == "[]"
    if part == "assertions.answer":
        assert heavy("import pytest_interp.engine.experiment") == "['torch']"


def test_every_public_name_is_there():
    for name in pytest_interp.__all__:
        assert getattr(pytest_interp, name).__doc__
    assert sorted(pytest_interp.__all__) == pytest_interp.__dir__() == sorted(pytest_interp._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'assert_nothing'"):
        pytest_interp.assert_nothing  # noqa: B018


CLAIM = "from pytest_interp import assert_logit_diff\ndef test_a(ioi): assert_logit_diff(ioi, at_least=0)\n"


@pytest.mark.parametrize("code", ["def test_a(): pass\n", CLAIM], ids=["an ordinary project", "a claim"])
def test_collecting_imports_nothing_heavy(tmp_path, code):
    """With the plugin and without: only the plugin's own surface is imported more, for a claim too."""
    (tmp_path / "test_a.py").write_text(code)
    program = (
        "import sys, pytest\n"
        "class P:\n"
        "    def pytest_unconfigure(self): print('MODULES', *sorted(sys.modules))\n"
        "pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', *sys.argv[1:]], plugins=[P()])\n"
    )

    def loaded(*arguments):
        run = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        line = next(line for line in run.stdout.splitlines() if line.startswith("MODULES"))
        return set(line.split()[1:])

    more = loaded() - loaded("-p", "no:pytest_interp")
    assert "pytest_interp.plugin" in more
    assert {name.split(".")[0] for name in more} <= {"pytest_interp", *sys.stdlib_module_names}


def test_public_names_are_what_they_say_in_any_order_of_imports():
    """A module of the package with the name of a public function would hide it as soon as anything imports it."""
    modules = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert not modules & set(pytest_interp.__all__)
    code = "import pytest_interp.verdict.judge; from pytest_interp import judge, Bound; print(callable(judge))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
