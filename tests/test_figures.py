"""Figures: whatever a measurement returns is drawn, and a missing matplotlib is said at the import."""

import subprocess
import sys

import pytest

from pytest_interp import UsageError, measure

pytest.importorskip("matplotlib")

from pytest_interp.figures import draw

RESULTS = {
    "a sweep over heads": measure.direct_logit_attribution_sweep,
    "a sweep over a few positions": lambda on: measure.patch_effect_sweep(on, "resid_pre", positions=["S2", "END"]),
    "a screen of heads": measure.attribution_screen,
    "a screen of layers and positions": lambda on: measure.attribution_screen(on, "z", positions=["S2", "END"]),
    "a measurement": measure.logit_diff,
    "measurements by name": lambda on: {run: measure.logit_diff(on, run=run) for run in ("clean", "abc")},
    "heads before and after": lambda on: measure.backup_effect(on, ["3.1", "4.0"], knocked_out="3.0"),
    "next tokens": lambda on: measure.next_tokens(on.checkpoint, "When Mary and John", k=3),
    "points": lambda on: measure.attention_and_write(on, "4.0"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_is_drawn(planted_ioi, name, tmp_path):
    figure = draw(RESULTS[name](planted_ioi))
    (axes, *_) = figure.axes
    assert axes.has_data()
    assert axes.get_xlabel() or axes.get_ylabel()
    figure.savefig(tmp_path / "a.png")
    assert draw(RESULTS[name](planted_ioi), "a title").axes[0].get_title(loc="left") == "a title"


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, {"a": 1.0}, [(1, 2)], [1, 2, 3], object()])
def test_what_cannot_be_drawn_gets_a_sentence(value):
    with pytest.raises(UsageError, match="has no figure; pass"):
        draw(value)


def test_a_missing_matplotlib_is_said_at_the_import():
    code = "import sys; sys.modules['matplotlib'] = None; import pytest_interp.figures"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "figures need matplotlib: pip install 'pytest-interp[figures]'" in done.stderr.splitlines()[-1]
    guarded = f"try:\n    {code.replace('; ', chr(10) + '    ')}\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", guarded], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("figures need matplotlib")
