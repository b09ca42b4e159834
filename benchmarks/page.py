"""Writes what the benchmarks wrote into benchmarks/README.md, with a picture: ``python benchmarks/page.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent


def table(heads: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def sweeps(found: list[dict[str, Any]]) -> str:
    """Ours against stock."""
    heads = ["work", "model", "stock (s)", "ours (s)", "ratio", "at least", "largest difference", "of the bound",
             "peak (MB)"]  # fmt: skip
    rows = []
    for one in found:
        share = "" if one["of the bound"] is None else f"{one['of the bound']:.0%}"
        rows.append([one["work"], one["model"], f"{one['stock']:.0f}", f"{one['ours']:.1f}",
                     f"**{one['ratio']:.1f}**", f"{one['at least']:g}", f"{one['largest difference']:.1e}", share,
                     f"{one['peak MB']:.0f}"])  # fmt: skip
    return table(heads, rows)


def growth(found: list[dict[str, Any]]) -> str:
    """How time grows, and a picture of it."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    where = {"all": "all positions", "END": "END alone"}
    names = list(dict.fromkeys(one["grows with"] for one in found))
    for axes, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        for one in (one for one in found if one["grows with"] == name):
            axes.loglog(one["sizes"], one["seconds"], "o-", label=f"{where[one['at']]}, power {one['power']:.2f}")
        axes.set_xticks(one["sizes"], labels=map(str, one["sizes"]))
        axes.minorticks_off()
        axes.set_xlabel(name)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("seconds")
    figure.savefig(HERE / "growth.png", dpi=110)
    heads = ["grows with", "positions", "sizes", "seconds", "power"]
    rows = [
        [one["grows with"], one["at"], ", ".join(map(str, one["sizes"])),
         ", ".join(f"{second:.1f}" for second in one["seconds"]), f"{one['power']:.2f}"]
        for one in found
    ]  # fmt: skip
    return table(heads, rows) + "\n\n![how time grows](growth.png)"


def claims(found: list[dict[str, Any]]) -> str:
    """The suite."""
    rows = [[one["run"], f"{one['seconds']:.0f}", f"{one['peak MB']:.0f}", "; ".join(one["said"])] for one in found]
    return table(["run", "seconds", "peak so far (MB)", "said"], rows)


def main() -> None:
    """Fills the page from the files that are there."""
    page = HERE / "README.md"
    text = page.read_text()
    for name, write in (("patching", sweeps), ("growth", growth), ("claims", claims)):
        file = HERE / f"{name}.json"
        if file.is_file():
            made = f"<!-- measured: {name} -->\n{write(json.loads(file.read_text()))}\n<!-- end -->"
            text = re.sub(rf"<!-- measured: {name} -->.*?<!-- end -->", lambda _, made=made: made, text, flags=re.S)
    page.write_text(text)


if __name__ == "__main__":
    main()
