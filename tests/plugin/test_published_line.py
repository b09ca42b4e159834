"""A run on published figures ends with one line that says all of it."""

from dataclasses import replace

from records import record

from pytest_interp.common.context import NO_CONTEXT, CheckpointIdentity
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.report.published import to_paste

GPT2 = CheckpointIdentity("gpt2", "607a30d783dfa663caf39e06633721c8", "float32", "cpu")
CONTEXT = replace(NO_CONTEXT, checkpoint=GPT2)


def on_figure(row, *, evidence="A", **changes):
    claim = RecordedClaim("id", f"test[{row}]", source="a paper", evidence=evidence, finding=(row,))
    records = (record(context=CONTEXT, **changes),)
    return ClaimOutcome(claim, "gpt2", records, outcome="passed", when="call")


def test_one_line_has_versions_counts_and_what_is_off():
    off = {"outcome": "refuted", "value": 3.1, "slack": -0.39, "bound": "within 0.01 of 3.5"}
    (text,) = to_paste([on_figure("S-B1"), on_figure("S-B2"), on_figure("S-B7", **off)])
    assert text.startswith("gpt2 (607a30d783df; cpu; float32; ")
    assert "torch " in text
    assert text.endswith("): 3 supported; off: S-B7 logit_diff 3.100 (required within 0.01 of 3.5; off by 0.390)")
    assert "\n" not in text


def test_many_are_counted_and_other_claims_are_left_out():
    off = {"outcome": "refuted", "slack": -1.0}
    (text,) = to_paste([on_figure("S-B7", evidence=None), *[on_figure(f"S-{i}", **off) for i in range(12)]])
    assert text.endswith("; and 2 more")
    assert "12 supported" in text
    assert "S-B7" not in text
    assert to_paste([on_figure("S-B7", evidence=None)]) == []
