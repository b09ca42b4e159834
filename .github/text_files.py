"""A pre-commit hook: names text files with trailing spaces, conflict markers, or not one newline at the end."""

import re
import sys
from pathlib import Path

FAULTS = {
    "trailing spaces": re.compile(r"[ \t]+$", re.M),
    "a conflict marker": re.compile(r"^(<{7}|>{7}) ", re.M),
    "no newline at the end": re.compile(r"[^\n]\Z"),
    "empty lines at the end": re.compile(r"\n\n\Z"),
}


def main(paths: list[str]) -> int:
    """The number of faults, each of them printed."""
    faults = [
        f"{path}: {name}"
        for path in paths
        for name, pattern in FAULTS.items()
        if pattern.search(Path(path).read_text(encoding="utf-8"))
    ]
    print("\n".join(faults))
    return min(len(faults), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
