"""Puts the results of the benchmarks into benchmarks/README.md, with a picture: ``python benchmarks/page.py``."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent


def table(heads: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def sweeps(results: list[dict[str, Any]]) -> str:
    """The table of sweeps: this package beside TransformerLens's functions."""
    heads = ["work", "model", "stock (s)", "ours (s)", "ratio", "at least", "largest difference", "of the bound",
             "peak (MB)", "measured"]  # fmt: skip
    rows = []
    for result in results:
        share = "" if result["of the bound"] is None else f"{result['of the bound']:.0%}"
        rows.append([result["work"], result["model"], f"{result['stock']:.0f}", f"{result['ours']:.1f}",
                     f"**{result['ratio']:.1f}**", f"{result['at least']:g}", f"{result['largest difference']:.1e}",
                     share, f"{result['peak MB']:.0f}", result["measured"]])  # fmt: skip
    return table(heads, rows)


def growth(results: list[dict[str, Any]]) -> str:
    """The table of times by size, and a picture of it."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    positions = {"all": "all positions", "END": "END alone"}
    names = list(dict.fromkeys(result["grows with"] for result in results))
    for axes, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        of_name = [result for result in results if result["grows with"] == name]
        for result in of_name:
            label = f"{positions[result['at']]}, power {result['power']:.2f}"
            axes.loglog(result["sizes"], result["seconds"], "o-", label=label)
        sizes = of_name[-1]["sizes"]
        axes.set_xticks(sizes, labels=map(str, sizes))
        axes.minorticks_off()
        axes.set_xlabel(name)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("seconds")
    figure.savefig(HERE / "growth.png", dpi=110)
    heads = ["grows with", "positions", "sizes", "seconds", "power"]
    rows = [
        [result["grows with"], result["at"], ", ".join(map(str, result["sizes"])),
         ", ".join(f"{second:.1f}" for second in result["seconds"]), f"{result['power']:.2f}"]
        for result in results
    ]  # fmt: skip
    return table(heads, rows) + "\n\n![how time grows](growth.png)"


def claims(results: list[dict[str, Any]]) -> str:
    """The table of the suite's runs."""
    rows = [
        [result["run"], f"{result['seconds']:.0f}", f"{result['peak MB']:.0f}", "; ".join(result["said"])]
        for result in results
    ]
    return table(["run", "seconds", "peak so far (MB)", "said"], rows)


_SHOWN = ("passes", "looks", "rest")


def _of_claim(claim: dict[str, Any]) -> list[str]:
    """Seconds of a claim: all of them, and those of three parts; loading, prompts and statistics are the others."""
    seconds = {**claim["seconds"], "passes": claim["seconds"].get("passes", 0) + claim["seconds"].get("again", 0)}
    return [f"{sum(claim['seconds'].values()):.1f}", *(f"{seconds.get(part, 0):.1f}" for part in _SHOWN)]


def _together(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """The seconds of several claims, added up."""
    seconds: Counter[str] = Counter()
    for claim in claims:
        seconds.update(claim["seconds"])
    return {"seconds": seconds}


def suite(runs: dict[str, dict[str, Any]], rows: int = 25) -> str:
    """The table of the suite by claim, before and now: the longest ones before, the others together."""
    before, now = ({claim["id"]: claim for claim in runs[name]["claims"]} for name in ("before", "now"))
    both = [name for name in before if name in now]
    longest = sorted(both, key=lambda name: -sum(before[name]["seconds"].values()))
    lines = [
        [f"`{name.rpartition('/')[2]}`", *_of_claim(before[name]), *_of_claim(now[name])] for name in longest[:rows]
    ]
    for title, names in ((f"{len(longest[rows:])} others", longest[rows:]), (f"**all {len(both)}**", both)):
        sums = [_together([claims[name] for name in names]) for claims in (before, now)]
        lines.append([title, *_of_claim(sums[0]), *_of_claim(sums[1])])
    heads = ["claim", "before (s)", *_SHOWN, "now (s)", *_SHOWN]
    return table(heads, lines)


def main() -> None:
    """Fills the page from the result files that exist."""
    page = HERE / "README.md"
    text = page.read_text()
    for name, write in (("patching", sweeps), ("growth", growth), ("claims", claims), ("suite", suite)):
        file = HERE / f"{name}.json"
        if file.is_file():
            block = f"<!-- measured: {name} -->\n{write(json.loads(file.read_text()))}\n<!-- end -->"
            text = re.sub(rf"<!-- measured: {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.S)
    page.write_text(text)


if __name__ == "__main__":
    main()
