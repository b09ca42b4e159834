"""The sdist and the wheel are built, and each works in an environment of its own."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from models import ROOT, random_gpt2

KINDS = {"sdist": "*.tar.gz", "wheel": "*.whl"}


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel of this tree."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "sdist",
        "--target",
        "wheel",
        "--directory",
        folder,
        cwd=ROOT,
    )
    return folder


@pytest.fixture(scope="module", params=KINDS)
def environment(built, tmp_path_factory, request):
    """The python and the packages of an environment into which one of the two was installed."""
    (file,) = built.glob(KINDS[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The dependencies are those of this environment, so that nothing is downloaded; the package itself is the file's.
    (packages / "dependencies.pth").write_text("\n".join(str(Path(path).resolve()) for path in others()))
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index",
        "--no-build-isolation", "--ignore-installed", file, cwd=folder)  # fmt: skip
    return python, packages


def others():
    """The folders of this environment from which dependencies are imported."""
    return [path for path in sys.path if path.endswith("site-packages")]


def test_both_have_what_a_user_needs(built):
    (sdist,), (wheel,) = (built.glob(pattern) for pattern in KINDS.values())
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        installed = set(archive.namelist())
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "pytest_interp").rglob("*.py")}
    claims = {str(path.relative_to(ROOT)) for path in (ROOT / "claims").rglob("*.py")}
    assert (
        ours | claims | {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/test_packaging.py"} <= packed
    )
    assert ours | {f"pytest_interp/{path}" for path in claims} <= installed
    assert {"pytest_interp/py.typed", "pytest_interp/__init__.pyi", "pytest_interp/ledger/schema.json"} <= installed
    page = ROOT / "pytest_interp" / "report" / "page" / "templates"
    assert {str(path.relative_to(ROOT)) for path in page.iterdir()} <= installed & packed
    assert any(name.startswith("pytest_interp/claims/circuits/") for name in installed)
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/")) for name in installed)


def test_what_is_installed_is_what_was_built(environment, tmp_path):
    python, packages = environment
    code = "import pytest_interp; print(pytest_interp.__file__); print(pytest_interp.__version__)"
    file, version = run(python, "-c", code, cwd=tmp_path).split()
    assert Path(file).is_relative_to(packages)
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_claims_are_asked_of_a_checkpoint_without_a_clone(environment, tmp_path, tokenizer):
    python, _ = environment
    model = tmp_path / "my-finetune"
    random_gpt2(tokenizer).save_pretrained(model)
    tokenizer.save_pretrained(model)
    done = subprocess.run(
        [python, "-m", "pytest", "--pyargs", "pytest_interp.claims", "--interp-model", str(model), "--interp-prompts",
         "24", "-k", "test_behaviour", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "my-finetune: " in done.stdout, done.stdout + done.stderr
    assert "refuted" in done.stdout
