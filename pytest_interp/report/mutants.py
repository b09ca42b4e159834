"""The table of mutants: on which of them claims died, as they must, and lived, as they must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_interp.report.layout import headed
from pytest_interp.text import cut, line

_SEEN = ("killed", "survived", "inconclusive", "not applicable", "error", "equivalent")
_HEADS = ("killed", "survived", "unsure", "n/a", "error", "equal")


def falsified(outcomes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines of at most 79 columns; none where no claim was run again."""
    tried = [outcome for outcome in outcomes if "mutants" in outcome]
    lines: list[str] = []
    for checkpoint in dict.fromkeys(str(outcome["checkpoint"]) for outcome in tried):
        lines += _table(checkpoint, [outcome for outcome in tried if outcome["checkpoint"] == checkpoint])
    return lines


def _table(checkpoint: str, outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    mutants = [mutant for outcome in outcomes for mutant in outcome["mutants"]]
    bad = sum(bool(outcome["survived"]) for outcome in outcomes)
    lines = headed(checkpoint, f"{len(outcomes)} claims on {len(mutants)} mutants, {bad} without teeth")
    for expected in ("die", "live"):
        some = [mutant for mutant in mutants if mutant["expected"] == expected]
        if some:
            lines.append(f"  {'must ' + expected:<20}" + "".join(f"{head:>9}" for head in _HEADS))
        for name in dict.fromkeys(mutant["name"] for mutant in some):
            counts = Counter(mutant["seen"] for mutant in some if mutant["name"] == name)
            lines.append(f"  {cut(line(name), 20):<20}" + "".join(f"{counts[seen] or '.':>9}" for seen in _SEEN))
    return lines


def remarks(outcome: Mapping[str, Any]) -> list[str]:
    """What a claim's line says of its teeth, of where else it is true, and of what it was in float32."""
    said = [str(outcome["died"])] if "died" in outcome else []
    said += [outcome["float32"]["said"]] if "float32" in outcome else []
    said += list(dict.fromkeys(record["specific"] for record in outcome["records"] if record.get("specific")))
    return said
