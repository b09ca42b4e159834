"""The page of a run as text: what it says, what it leaves out, that foreign names do nothing, and its size."""

import html as markup
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from pages import HOSTILE, a_ledger, hostile_ledger, large_ledger, of_path, smallest_ledger, step
from records import ledger_of, outcome_of, sampled_record

from pytest_interp import cli
from pytest_interp.compare.drift import drift
from pytest_interp.compare.series import series_of
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import NotRun
from pytest_interp.ledger.redaction import without_prompts
from pytest_interp.report.page import file
from pytest_interp.report.page.circuit import circuit_of
from pytest_interp.report.page.claims import Prompts, claims_of
from pytest_interp.report.page.drawing import interval_of
from pytest_interp.report.page.page import TEMPLATES, html_of
from pytest_interp.report.page.unchecked import gaps_of
from pytest_interp.verdict.bound import Bound


def text_of(html):
    """What a reader sees, without tags, styles and scripts."""
    body = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)
    return " ".join(markup.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture(scope="module")
def html():
    return html_of(a_ledger())


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def test_the_first_screen_says_what_holds_and_what_does_not(html):
    text = text_of(html)
    assert "What holds in gpt2" in text
    assert (
        "1 of 4 claims holds, with a caveat; 1 is refuted, 1 is inconclusive; 1 fails as expected, 1 does not apply."
        in text
    )
    assert text.count("expected failure The answer is preferred.") == 1
    assert text.index("What does not hold") < text.index("What was not checked") < text.index("Each number stands")


def test_each_part_of_a_claim_is_there(html):
    text = text_of(html)
    for part in (
        "The answer is preferred.", "a paper", "required at least 1", "3.3 -0.061", "also true of 3 of 19 other heads",
        "adds nothing", "a control does the same: 3.3 -0.061", "worst prompts", "prompt 0", "def test_it(): ...",
        "pytest 'claims/test_it.py::test_holds[gpt2]' --interp-quick", "12 templates", "607a30d783df",
    ):  # fmt: skip
        assert part in text, part


def test_what_failed_stands_first_and_open(html):
    findings = re.findall(r'class="claim s-([\w-]+)"', html)
    assert findings == ["refuted", "inconclusive", "expected-failure", "not-applicable", "supported"]
    bodies = html.split('class="claim ')[1:]
    assert [" open>" in body.partition("<summary>")[0] + ">" for body in bodies] == [True, True, False, False, False]


def test_what_was_not_checked_has_a_reason_and_a_command(html):
    text = text_of(html)
    for part in (
        "3 claims on gpt2 not one of the quick claims (--interp-quick) run without --interp-quick",
        "1 claim not applicable to gpt2 which it.does_not_apply[gpt2] no such site",
        "whether the claims can fail", "--interp-falsify",
        "what changed", "--interp-baseline",
    ):  # fmt: skip
        assert part in text, part


def test_a_question_that_only_some_checkpoints_were_asked_names_the_others():
    asked, other = step(), step(checkpoint="other")
    other = replace(other, claims=tuple(replace(claim, falsified=None, noise=()) for claim in other.claims))
    both = replace(asked, claims=(*asked.claims, *other.claims))
    whats = [gap.what for gap in gaps_of(both, compared=True)]
    assert whats[:2] == ["whether the claims on other can fail", "how far numbers on other move by themselves"]
    assert not any("can fail" in gap.what for gap in gaps_of(asked, compared=True))
    assert any(gap.what == "whether the claims can fail" for gap in gaps_of(other, compared=True))


def test_a_heat_map_marks_the_claimed_heads_and_is_there_once_for_all_claims(html):
    maps = re.findall(r'<details class="map".*?</details>', html, re.S)
    titles = [text_of(re.search("<summary>.*?</summary>", heat_map, re.S)[0]) for heat_map in maps]
    assert titles[0].startswith("what patching z of each head at END")
    assert sum(title.startswith("logit_diff of each head on gpt2") for title in titles) == 1
    (sweep,) = (heat_map for heat_map in maps if "logit_diff of each head" in heat_map)
    assert re.findall(r"<td class=(\w+) data-k=\"mover\">([^<]*)", sweep) == [("n9", "-0.500")]
    assert re.findall(r"<td class=(\w+)>([^<\n]*)", sweep) == [("p9", "0.500"), ("u", ""), ("p0", "0.000")]
    assert any("by layer and position" in title for title in titles)
    assert sum(title.startswith("role score of each head for mover") for title in titles) == 1


def test_patterns_and_prompts_are_in_the_data_once(html):
    data = data_of(html)
    assert data["patterns"][0] == {
        "checkpoint": "gpt2", "head": "9.9", "data": "ioi/confirm", "tokens": ["Mary", " gave"],
        "rows": [[1.0], [0.25, 0.75]],
    }  # fmt: skip
    assert len(data["prompts"]) == len(set(data["prompts"])) > 0


def test_the_circuit_is_drawn_with_what_claims_say(html):
    drawing = re.search(r'<svg class="circuit".*?</svg>', html, re.S)[0]
    assert re.findall(r'<g class="([\w-]+)"><title>([^<]*)', drawing) == [
        ("not-all-hold", "1.1: 1 of 4 claims holds"),
        ("no-claim", "2.0: no claim about it alone"),
        ("no-claim", "0.3: no claim about it alone"),
        ("no-claim", "the logits"),
    ]
    assert "at END" in drawing
    assert "reads IO" in drawing


PATHS = [("0.3", "values of 1.1, 2.0 at END"), ("1.1", "queries of 2.0 at END"), ("1.1", "logits")]


def test_tested_paths_are_edges_and_a_table_with_their_numbers(html):
    section = re.search(r'<section aria-labelledby="circuit">.*?</section>', html, re.S)[0]
    edges = re.findall(r'<a class="edge s-([\w-]+)" href="#(claim-[^"]*)" aria-label="path (\d): ([^"]*)"', section)
    assert [edge[0] for edge in edges] == ["supported", "supported", "supported"]
    value = sampled_record()
    ends = f"[{value.interval[0]:.3f}, {value.interval[1]:.3f}]"
    for number, (_, claim, mark, label), (source, target) in zip(range(1, 4), edges, PATHS, strict=True):
        assert mark == str(number)
        assert label == f"{source} into the {target}: {value.value:.3f} {ends} logits; required at least 1: supported"
        assert f'id="{claim}"' in html
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", section, re.S)[1:]]
    assert [row.partition(f" {value.value:.3f}")[0] for row in rows] == [
        f"{number} {source} {target}" for number, (source, target) in enumerate(PATHS, 1)
    ]


def test_a_ledger_without_paths_says_that_none_was_tested():
    assert "No path was tested" in text_of(html_of(replace(a_ledger(), claims=step().claims)))


def drawing_of(*paths):
    claims = [outcome_of(f"path_{number}", path) for number, path in enumerate(paths)]
    (checkpoint,) = a_ledger().checkpoints
    views, _ = claims_of(ledger_of(*claims), Prompts())
    return circuit_of(replace(checkpoint, circuit=""), views)


def test_a_path_without_a_circuit_file_is_drawn_from_its_senders_to_its_receivers():
    drawing = drawing_of(of_path(Head(0, 0), ["2.0"], "k"))
    (edge,) = drawing.edges
    places = {node.head: (node.x, node.y) for lane in drawing.lanes for node in lane.nodes}
    start, end = places["0.0"], places["2.0"]
    assert edge.curves.startswith(f"M{start[0] + 18:.1f} {start[1]:.1f}C")
    assert edge.curves.endswith(f" {end[0] - 24:.1f} {end[1]:.1f}")
    assert f"L{end[0] - 18:.1f} {end[1]:.1f}L" in edge.arrows
    assert (edge.x, edge.mark) == ((start[0] + end[0]) / 2, "1 k")
    assert drawing_of(sampled_record()) is None


def test_heads_outside_of_the_circuit_stand_in_brackets():
    ledger = a_ledger()
    (checkpoint,) = ledger.checkpoints
    assert "outside" not in checkpoint.circuit
    outside = replace(checkpoint, circuit=f'outside = ["2.0"]\n{checkpoint.circuit}')
    drawing = circuit_of(outside, ())
    assert [node.head for lane in drawing.lanes for node in lane.nodes if node.outside] == ["2.0"]
    text = html_of(replace(ledger, checkpoints=(outside,)))
    assert ">(2.0)</text>" in text
    assert "2.0, outside of the circuit: no claim about it alone" in text
    assert ">(1.1)</text>" not in text


def test_marks_of_paths_give_way_to_each_other_and_to_heads():
    drawing = drawing_of(*(of_path(Head(0, 0), ["2.0"], into) for into in "qkv"), of_path(Head(1, 0), ["3.0"], "q"))
    boxes = [(node.x, node.y, 18, 9) for lane in drawing.lanes for node in lane.nodes]
    boxes += [(edge.x, edge.y, 12, 7.5) for edge in drawing.edges]
    for place, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:place]:
            assert abs(x - other_x) >= width + other_width or abs(y - other_y) >= height + other_height


def test_many_paths_are_counted_beyond_those_that_are_drawn():
    drawing = drawing_of(*(of_path(Head(0, number), ["1.0"], "q") for number in range(62)))
    assert (len(drawing.edges), drawing.edges_left_out) == (60, 2)


def test_mutants_and_noise_are_the_words_of_the_terminal():
    text = text_of(html_of(replace(a_ledger(), claims=step().claims)))
    assert "1 claim on 2 mutants, 0 without teeth" in text
    assert "zeroed must die" in text
    assert "killed" in text
    assert "other seed 1.0e-01" in text
    assert "not supported with other seed none" in text


def test_drift_and_series_when_they_are_given():
    before, after = step(), step(shift=-3.0)
    series = series_of({"a": before, "b": step(shift=-3.0, checkpoint="b")})
    text = text_of(html_of(after, drifts=[drift(before, after)], steps=series))
    assert "0 of 1 finding of gpt2 hold on gpt2; 1 lost" in text
    assert "1 claim over 2 steps: 1 lost by the end" in text
    assert "+-" in text


def test_a_ledger_without_anything_has_words_in_place_of_sections():
    text = text_of(html_of(smallest_ledger()))
    for part in (
        "The one claim that was judged holds.", "Left out: the ledger has no circuit file, and no claim about paths.",
        "Left out: no claim of the ledger rests on a sweep", "Left out: the ledger has none.",
        "Left out: no claim was run on mutants", "Left out: no number was measured again",
        "Left out: the ledger does not have it.",
    ):  # fmt: skip
        assert part in text, part
    assert "No claim was judged." in text_of(html_of(ledger_of()))


def test_no_name_is_code():
    html = html_of(hostile_ledger())
    assert html.count("</script>") == 2
    assert "<img" not in html
    assert "\u202e" not in html
    assert "alert(1)" in text_of(html), "shown as text"
    assert HOSTILE in data_of(html)["prompts"]
    attributes = re.findall(r'="([^"]*)"', html)
    assert not any("<" in value for value in attributes)


def test_a_redacted_ledger_gives_a_page_without_prompts():
    html = html_of(without_prompts(a_ledger()))
    assert "prompt 0" not in text_of(html).replace("prompt 0,", "")
    assert "def test_it" not in html
    assert "texts of prompts, code and paths were left out" in text_of(html)


def test_a_long_prompt_is_shortened_for_the_eye_and_whole_for_the_clipboard():
    prompt = " ".join(f"word{i}" for i in range(500))
    sample = replace(sampled_record().sample, labels=(prompt, *sampled_record().sample.labels[1:]))
    html = html_of(ledger_of(outcome_of("long", sampled_record(sample=sample))))
    assert data_of(html)["prompts"][0] == prompt
    assert prompt not in text_of(html)
    assert "word0 word1" in text_of(html)
    long = replace(sample, labels=(prompt * 9, *sample.labels[1:]))
    whole = html_of(ledger_of(outcome_of("longer", sampled_record(sample=long))))
    assert len(data_of(whole)["prompts"][0]) < 4_100


def test_a_thousand_claims_are_below_two_megabytes():
    html = html_of(large_ledger(1000))
    assert html.count('class="claim ') == 1000
    assert len(html.encode()) < 2_000_000
    text = text_of(html)
    assert "more are left out so that the page stays small" in text
    assert "Shortened, so that the page stays small; the ledger has the rest." in text


def test_the_script_is_small_and_loads_nothing(html):
    script = (TEMPLATES / "page.js").read_text()
    assert len(script.encode()) < 40_000
    for text in (script, (TEMPLATES / "page.css").read_text()):
        assert not re.search(r"https?:|//cdn|@import|url\(|fetch\(|XMLHttp", text)
    assert not re.search(r'(src|href)="(?!#)', html)


def test_the_drawing_has_value_interval_bound_and_controls():
    drawing = interval_of(
        replace(sampled_record(), value=2.0, interval=(1.0, 3.0), bound="at least 0", controls=(("8.1", 4.0),))
    )
    assert drawing.value == 100
    low, high = drawing.interval
    assert (drawing.ends[0], low, drawing.value, high, drawing.controls[0]) == (13.8, 56.9, 100.0, 143.1, 186.2)
    assert drawing.accepted == (13.8, 186.2)
    assert interval_of(replace(sampled_record(), bound="within 0.1 of the expected number")).accepted is None
    assert interval_of(sampled_record(value=float("inf"))) is None
    assert "required: at least 0; 1 control" in drawing.label


# ---- the command


@pytest.fixture
def run_json(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(a_ledger().to_text())
    return path


def test_the_command_writes_a_page_of_a_ledger(run_json, tmp_path, capsys):
    target = tmp_path / "folder" / "run.html"
    assert cli.main(["page", str(run_json), "-o", str(target)]) == 0
    assert capsys.readouterr().out.startswith("page of 5 claims, 0.0")
    assert target.read_text() == html_of(a_ledger())
    assert cli.main(["page", str(run_json), "-o", str(target)]) == 0, "a page may be replaced"


def test_the_command_takes_a_baseline_and_a_series(tmp_path, capsys):
    for name, ledger in {"before": step(), "after": step(shift=-3.0)}.items():
        (tmp_path / f"{name}.json").write_text(ledger.to_text())
    before, after = (str(tmp_path / f"{name}.json") for name in ("before", "after"))
    target = tmp_path / "run.html"
    assert cli.main(["page", after, "--baseline", before, "-o", str(target), "--series", before, after]) == 0
    text = text_of(target.read_text())
    assert "1 lost" in text
    assert "over 2 steps" in text
    assert cli.main(["page", after, "--baseline", "none.json", "-o", str(target)]) == 2
    assert "none.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [("run.txt", "pass a file that ends in .html"), ("own.html", "has not written"), ("folder.html", "is a folder"),
     ("run.json/x.html", "cannot be written")],
)  # fmt: skip
def test_a_path_that_cannot_be_a_page_is_a_sentence(name, message, run_json, tmp_path, capsys):
    (tmp_path / "own.html").write_text("<p>mine</p>")
    (tmp_path / "folder.html").mkdir()
    assert cli.main(["page", str(run_json), "-o", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(UsageError, match="--interp-page is"):
        file.check_path(tmp_path / name)
    assert (tmp_path / "own.html").read_text() == "<p>mine</p>"


def test_the_command_needs_no_model(run_json, tmp_path):
    arguments = ["page", str(run_json), "-o", str(tmp_path / "run.html")]
    code = f"import sys; from pytest_interp.cli import main; print(main({arguments!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_reasons_of_claims_that_were_left_out_are_counted_by_checkpoint():
    names = ("x1", "x2", "x3")
    left_out = tuple(NotRun(name, f"{name} is not here; --interp-model {name}", 2) for name in names)
    text = text_of(html_of(ledger_of(outcome_of("a", sampled_record()), not_run=left_out)))
    assert "6 claims on 3 checkpoints which x1 (2), x2 (2), x3 (2) NAME is not here; --interp-model NAME" in text


def test_bounds_of_all_forms_are_drawn():
    for bound in (Bound.of(at_most=2), Bound.of(between=(0, 2)), Bound.of(near=(1, 0.5)), Bound.positive(-1)):
        start, width = interval_of(replace(sampled_record(), bound=bound.text)).accepted
        assert 0 <= start < start + width <= 200
