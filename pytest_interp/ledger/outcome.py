"""What a claim's report says of it: under which name, and by which words a skipped claim is told."""

from __future__ import annotations

from typing import Any

PROPERTY = "interp"
"""The name under which a claim's report carries what came of it."""
NOT_CHECKED = "not checked: "
NOT_APPLICABLE = "not applicable: "
NOT_SELECTED = "not selected by --interp-model"
NOT_QUICK = "not one of the quick claims (--interp-quick)"


def carried(report: Any) -> list[Any]:
    """What a report carries of its claim; nothing in the report of another test. The last counts."""
    return [value for name, value in getattr(report, "user_properties", ()) if name == PROPERTY]
