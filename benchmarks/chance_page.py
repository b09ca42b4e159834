"""The page of chances, and what the page of documented findings says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
LEAST = 0.9
INTRODUCTION = """\
# Chance of support

The chance that a claim is supported if the published value is true. The table has each claim on a published number of
GPT-2 or Pythia that is measured on other prompts than the source's, or on a part of them. The claim runs with its own
bounds, members and judge, on drawn values instead of measured ones: the published mean, moved by what sets of prompts
differ by (a tenth; published means of the logit difference lie between 2.81 and 3.79), plus what templates, names and
prompts add. A claim with several assertions counts as supported where all of them are. Controls
are assumed to meet their bounds, since no source prints them.

The standard deviation between prompts is the published one, else that of SmolLM2 relative to the mean. The shares of
templates and names in the variance were measured on SmolLM2 (`benchmarks/spread.py`). Heads are drawn independently.
A *fixed* population has the source's templates and names, all of them alike, so that only the prompts' own part is
drawn. Where it is also the source's population, its mean is not moved.

Claims on any names are not simulated. By the mean 3.79 and the standard deviation 1.99 of all prompts, none of the 100
that `ioi/any_names.no_prompt_of_any_names_fails` draws is below its bound of -3 with a chance of 0.97.

Made by `python benchmarks/chance.py --write`.
"""


def page_of(rows: Sequence[Row], exceptions: Mapping[str, str]) -> str:
    """The page in Markdown, the least chance first.

    Args:
        rows: of chance.json.
        exceptions: why a claim has a smaller chance than is asked for, or none.
    """
    simulated = [row for row in rows if "chance" in row]
    lines = [INTRODUCTION, summary_of(rows), "", _line(("claim", "published", "bound", "prompts", "sd", "chance"))]
    lines.append("|" + "---|" * 6)
    for row in simulated:
        texts = ["; ".join(dict.fromkeys(row[key])) for key in ("published", "bound", "prompts", "sd")]
        lines.append(_line((f"`{row['claim']}`", *texts, f"{row['chance']:.2f}")))
    lines += ["", f"Claims whose chance is below {LEAST}, or unknown:", ""]
    lines += [f"- `{name}`: {why}" for name, why in exceptions.items()]
    return "\n".join(lines) + "\n"


def summary_of(rows: Sequence[Row]) -> str:
    """How many claims there are, the five with the least chance, and how many are expected not to be supported."""
    simulated = [row for row in rows if "chance" in row]
    unlikely = sum(row["chance"] < LEAST for row in simulated)
    on_gpt2 = [row["chance"] for row in simulated if row["checkpoint"] == "gpt2"]
    lowest = ", ".join(f"`{row['claim']}` {row['chance']:.2f}" for row in simulated[:5])
    return (
        f"{len(simulated)} claims, {unlikely} of them below {LEAST}. Of {len(on_gpt2)} on gpt2, "
        f"{sum(1 - chance for chance in on_gpt2):.1f} are expected not to be supported. The least chances: {lowest}."
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
