"""The command: what it prints, what it runs, and its exit statuses."""

import subprocess
import sys
import tomllib

import pytest
from models import ROOT
from pages import step

from pytest_interp import cli
from pytest_interp.plugin import claim_files

ON_PLANTED = ["check", "planted-ioi", "-p", "no:cacheprovider"]
SECONDS = ("-k", "prefers_the_indirect_object", "--interp-prompts", "24", "-p", "no:cacheprovider")


@pytest.fixture
def command(tmp_path):
    """``command(*arguments)``: the command in a process of its own, in an empty folder."""

    def run(*arguments):
        line = [sys.executable, "-m", "pytest_interp.cli", *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


def test_check_runs_the_claims_on_a_model(command):
    done = command("check", "planted-ioi", *SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "planted-ioi: 1 supported" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.parametrize("option", [["--baseline", "planted-chain"], ["--baseline=planted-chain"]])
def test_check_has_a_baseline(command, option):
    done = command("check", "planted-ioi", *option, "--collect-only", "-q", *SECONDS)
    assert done.returncode == 0
    assert "[planted-chain" in done.stdout


def test_check_fails_where_no_claim_ran(command):
    done = command("check", "planted-ioi", "-k", "no_claim_has_this_name")
    assert done.returncode == 1
    assert "no claim ran on planted-ioi" in done.stderr


def test_usage_errors_have_a_status_of_their_own(command):
    done = command("check", "plantd-ioi", *SECONDS)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "planted-ioi" in done.stdout + done.stderr
    assert command().returncode == command("chek").returncode == command("check").returncode == 2


@pytest.mark.parametrize("outcome", ["refuted", "skipped"])
def test_a_failure_and_a_run_of_skips_alone(outcome, tmp_path):
    """The claims of another folder stand in for the project's."""
    body = "assert False" if outcome == "refuted" else "pytest.skip('not here')"
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_it():\n    {body}\n")
    code = (
        f"from pytest_interp import cli; cli.check.own_claims = lambda: [{str(tmp_path)!r}]; "
        f"print(cli.main({ON_PLANTED!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "1"
    assert ("no claim ran" in done.stderr) == (outcome == "skipped")


def test_a_listing_of_claims_succeeds(command):
    assert command("check", "planted-ioi", "--collect-only", "-q", *SECONDS).returncode == 0


@pytest.mark.parametrize("name", ["", *cli.COMMANDS])
def test_help_has_an_example_and_the_exit_statuses(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "82")  # argparse leaves two free
    assert cli.main([*filter(None, [name]), "--help"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 or line.startswith("  pytest") for line in text.splitlines()), "command lines are whole"
    assert "example:\n  pytest-interp " in text
    statuses = (0, 2) if name in ("merge", "page") else (0, 1, 2)
    assert all(f"\n  {status}  " in text for status in statuses) or not name
    if not name:
        assert "exit status: 0 for success, 1 if a claim failed or a number moved, 2 for a wrong" in text
        assert all(command in text for command in cli.COMMANDS)


def test_version(capsys):
    from pytest_interp import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pytest-interp {__version__}\n"


def test_it_is_installed_under_its_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"pytest-interp": "pytest_interp.cli:main"}


def test_in_a_wheel_the_claims_are_a_package(tmp_path, monkeypatch):
    package = tmp_path / "pytest_interp"
    monkeypatch.setattr(claim_files, "__file__", str(package / "plugin" / "claim_files.py"))
    assert cli.check.own_claims() == [str(tmp_path / "claims")]
    (package / "claims").mkdir(parents=True)
    assert cli.check.own_claims() == ["--pyargs", "pytest_interp.claims"]


# ---- the Markdown of comparisons


@pytest.fixture
def two_runs(tmp_path):
    for name, ledger in {"before": step(), "after": step(shift=-3.0)}.items():
        (tmp_path / f"{name}.json").write_text(ledger.to_text())
    return [str(tmp_path / f"{name}.json") for name in ("before", "after")]


@pytest.mark.parametrize(("subcommand", "status"), [("compare", 1), ("drift", 1), ("series", 0)])
def test_the_markdown_of_a_comparison_also_goes_to_a_file(subcommand, status, two_runs, tmp_path, capsys):
    target = tmp_path / "folder" / "moved.md"
    assert cli.main([subcommand, *two_runs, "-o", str(target)]) == status
    table = capsys.readouterr().out
    assert cli.main([subcommand, *two_runs, "--markdown"]) == status
    markdown = capsys.readouterr().out
    assert target.read_text() == f"<!-- made by pytest-interp -->\n\n{markdown}"
    assert table != markdown
    assert cli.main([subcommand, *two_runs, "-o", str(target), "--json"]) == status, "its own file may be replaced"


@pytest.mark.parametrize(
    ("name", "message"),
    [("moved.json", "pass a file that ends in .md"), ("own.md", "has not written"), ("folder.md", "is a folder"),
     ("own.md/x.md", "cannot be written")],
)  # fmt: skip
def test_a_file_that_is_no_markdown_of_ours_is_refused(name, message, two_runs, tmp_path, capsys):
    (tmp_path / "own.md").write_text("# mine")
    (tmp_path / "folder.md").mkdir()
    assert cli.main(["drift", *two_runs, "-o", str(tmp_path / name)]) == 2
    done = capsys.readouterr()
    assert (done.out, message in done.err) == ("", True)
    assert (tmp_path / "own.md").read_text() == "# mine"
