"""Writes sample.html, the page of a real run: ``python docs/sample.py FOLDER``.

FOLDER gets the ledgers; what is there is not measured again:

- ``smollm2.json``: all claims on SmolLM2 (about 20 minutes on two cores).
- ``planted.json``: all claims on planted-ioi, on mutants and with noise (5 minutes).
- ``series/``: quick claims on planted-ioi with growing noise on all weights (a minute). The first step is the baseline
  of the drift, the first one at which findings are lost is compared with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from series import NOISE, judged, planted  # noqa: E402

from pytest_interp.compare.drift import drift  # noqa: E402
from pytest_interp.compare.series import series_of  # noqa: E402
from pytest_interp.ledger.ledger import Ledger, read  # noqa: E402
from pytest_interp.ledger.merging import merged  # noqa: E402
from pytest_interp.report.page.file import save  # noqa: E402
from pytest_interp.report.page.page import html_of  # noqa: E402

RUNS = {
    "planted": ["--interp-model", "planted-ioi", "--interp-falsify", "--interp-noise", "--interp-profile"],
    "smollm2": ["--interp-model", "smollm2-135m-instruct", "--interp-profile"],
}
"""Options of the runs, by the name of their ledger."""


def run_of(name: str, folder: Path) -> Ledger:
    """Returns the ledger of a run; pytest writes it where it is not there."""
    path = folder / f"{name}.json"
    if not path.exists():
        command = [sys.executable, "-m", "pytest", "claims", "-p", "no:cacheprovider", *RUNS[name]]
        subprocess.run([*command, "--interp-ledger", str(path)], cwd=ROOT, check=True)
    return read(path)


def series_in(folder: Path) -> dict[str, Ledger]:
    """Returns the ledgers of planted-ioi with growing noise, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.json"))) < len(NOISE):
        options = ["--interp-quick", "--interp-prompts", "48", "--interp-profile"]
        judged(list(planted(folder / "tokenizer")), folder, *options)
    ledgers = [read(path) for path in folder.glob("*.json")]
    by_name = {ledger.names[0]: ledger for ledger in ledgers}
    return {name: by_name[name] for name in (f"planted-ioi@noise-{noise:g}" for noise in NOISE)}


def main() -> None:
    """Measures what is missing, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where ledgers go")
    folder = parser.parse_args().folder.resolve()
    steps = series_in(folder / "series")
    baseline, *others = steps.values()
    drifts = (drift(baseline, other) for other in others)
    first_loss = next(result for result in drifts if result.counts["lost"])
    whole = merged({name: run_of(name, folder) for name in RUNS})
    page = html_of(whole, drifts=[first_loss], steps=series_of(steps, baseline.names[0]))
    written = save(ROOT / "docs" / "sample.html", page)
    print(f"{written}: {written.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
