"""Writes into README.md the findings of a first run: ``python docs/first_run.py``; tests/test_readme.py compares them.

The run is that of `ARGUMENTS`, without a memory of earlier ones and without weights in the Hugging Face cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARGUMENTS = ("check", "smollm2-135m-instruct", "--interp-quick")
_PLACE = re.compile(r"(<!-- made by docs/first_run\.py -->\n```text\n)(.*?)(```\n<!-- end -->)", re.S)
_LIVE = re.compile(r"interp: \d+ of \d+ claims, .* now .*")
_FILE = re.compile(r"(?P<file>\S+\.py) *(?P<letters>[.sxXFE ]*?) *(?P<percent>\[ *\d+%\])?")


def shown() -> str:
    """What the run prints, from its findings on."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": "80", "HF_HOME": folder, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "pytest_interp.cli", *ARGUMENTS, "-o", f"cache_dir={folder}/cache"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    _, _, findings = done.stdout.partition(" findings =")
    return findings.partition("\n")[2]


def sample(readme: str) -> str:
    """The run that the README shows."""
    match = _PLACE.search(readme)
    assert match is not None, "README.md has no place for the first run"
    return match[2]


def steady(text: str) -> list[str]:
    """The lines of a run without what differs from run to run: versions, durations, and lines about what runs now."""
    lines: list[str] = []
    letters = ""
    for line, file, more in _with_letters(text):
        same = bool(lines) and lines[-1] == f"{file} {letters}".rstrip()
        letters = letters + more if same else more
        if same:
            lines.pop()
        lines.append(f"{file} {letters}".rstrip() if file else line)
    return lines


def _with_letters(text: str) -> Iterator[tuple[str, str, str]]:
    """Each steady line; the file and its letters where it is one of pytest's lines of letters."""
    for line in text.splitlines():
        if _LIVE.fullmatch(line):
            continue
        if match := _FILE.fullmatch(line):
            yield line, match["file"], match["letters"].replace(" ", "")
        else:
            timeless = re.sub(r"about \d+ (second|minute)s?", "about # seconds", line)
            numberless = re.sub(r"\d+\.\d+(\.\d+)?(\+\w+)?( ?s\b)?( \(\d+:\d+:\d+\))?", "#", timeless)
            yield re.sub(r"=+", "=", numberless), "", ""


def main() -> None:
    """Runs and writes."""
    path = ROOT / "README.md"
    text = shown()
    path.write_text(_PLACE.sub(lambda match: f"{match[1]}{text}{match[3]}", path.read_text()))


if __name__ == "__main__":
    main()
