"""Measures what the pages show, on SmolLM2, and writes it into them: ``python docs/draw.py [section ...]``.

A page holds ``<!-- measured: name -->`` ... ``<!-- end -->``; what stands between is replaced by a table, pictures go
to ``pictures/``. Without arguments every section is measured (about half an hour on two cores).
"""

from __future__ import annotations

import atexit
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pytest_interp import Checkpoint, Experiment, Head, Metric, figures, load_circuit, measure
from pytest_interp.checkpoints import known_specs
from pytest_interp.heads import names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import Table, name_of
from pytest_interp.tasks import ioi
from pytest_interp.verdict.intervals import interval_of

DOCS = Path(__file__).parent
NAME = "smollm2-135m-instruct"
MOVERS = ["23.0", "23.1", "23.2"]
SECTIONS: dict[str, Callable[[], str]] = {}


def section(function: Callable[[], str]) -> Callable[[], str]:
    """Registers what fills the marker of this name."""
    SECTIONS[function.__name__] = function
    return function


@cache
def checkpoint() -> Checkpoint:
    return Checkpoint(known_specs()[NAME], load_circuit(DOCS.parent / "claims" / "circuits" / f"{NAME}.toml"))


@cache
def prompts(n: int = 24) -> Experiment:
    """IOI prompts of the confirming half; 24 are two of each of 12 templates."""
    return Experiment(checkpoint(), ioi(checkpoint().tokenizer, half="confirm", n=n, seed=1, bos=False))


def save(figure: Figure, name: str) -> str:
    """Saves a picture, and returns the line that shows it."""
    figure.savefig(DOCS / "pictures" / f"{name}.png")
    return f"![{re.sub('[-_]', ' ', name)}](pictures/{name}.png)\n"


def value(measurement: Measurement) -> str:
    """A number with its interval."""
    if measurement.population == "fixed":
        return quote(measurement.value)
    interval = interval_of(measurement)
    return f"{quote(measurement.value)} [{quote(interval.low)}, {quote(interval.high)}]"


def markdown(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def top(table: Table[Any], count: int = 6, most: str = "absolute") -> str:
    """The cells of a sweep that stand out."""
    rows = [[name_of(cell), value(measurement)] for cell, measurement in table.top(count, most=most)]
    return markdown([" by ".join(table.axes), f"{table.quantity} ({table.unit})"], rows)


@section
def next_token() -> str:
    text = "When Mary and John went to the store, John gave a drink to"
    tokens = measure.next_tokens(checkpoint(), text, k=8, also=[" John"])
    rows = [[t.rank, f"`{t.token}`", f"{t.logit:.3f}", f"{t.probability:.4f}"] for t in tokens]
    scores = {m: measure.next_token(prompts(96), m) for m in ("log_prob", "probability", "rank")}
    scores |= {f"top {k}": measure.top_k(prompts(96), k) for k in (1, 5)} | {"loss": measure.loss(prompts(96))}
    picture = save(figures.draw(tokens, "after 'John gave a drink to'"), "next_token")
    return (
        f"On *{text}*:\n\n{markdown(['rank', 'token', 'logit', 'probability'], rows)}\n{picture}\nOver 96 prompts:\n\n"
        + markdown(["score of the answer", "value"], [[name, value(score)] for name, score in scores.items()])
    )


@section
def logit_lens() -> str:
    e = prompts(96)
    live, frozen = (measure.logit_lens_sweep(e, norm=norm, sites=("resid_post",)) for norm in ("live", "frozen"))
    both = Table(
        {
            (cell[0], norm): score
            for norm, table in (("live", live), ("frozen", frozen))
            for cell, score in table.items()
        },
        ("layer", "norm"),
    )
    rows = [
        [layer, value(live[layer, "resid_post"]), value(frozen[layer, "resid_post"])]
        for layer in (0, 10, 20, *range(22, 30))
    ]
    return save(figures.draw(both), "logit_lens") + "\n" + markdown(["after layer", "live norm", "frozen norm"], rows)


@section
def attribution() -> str:
    e = prompts(96)
    components, heads = measure.component_attribution_sweep(e), measure.direct_logit_attribution_sweep(e)
    return (
        save(figures.draw(components), "components")
        + save(figures.draw(heads), "head-attributions")
        + "\n"
        + top(components)
        + "\n"
        + top(heads, 8)
    )


@section
def opening() -> str:
    """The picture of README.md, for light and dark pages: the head that stands out, and those that move the name."""
    table = measure.direct_logit_attribution_sweep(prompts(96))
    for theme, ink, paper in (("light", "#1f2328", "#ffffff"), ("dark", "#e6edf3", "#0d1117")):
        colours = dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), ink
        )
        with matplotlib.rc_context(colours):
            figure = Figure(figsize=(8.2, 3.2), facecolor=paper, layout="constrained", dpi=150)
            axes = figure.subplots()
            layers, heads = sorted({head.layer for head in table}), sorted({head.head for head in table})
            values = [[table[Head(layer, head)].value for layer in layers] for head in heads]
            size = max(abs(number) for row in values for number in row)
            middle = LinearSegmentedColormap.from_list(theme, ["#d1495b", paper, "#3f8fd2"])
            image = axes.imshow(values, cmap=middle, vmin=-size, vmax=size, aspect="auto")
            axes.set(xlabel="layer", ylabel="head", yticks=heads, xticks=layers[::3])
            axes.set_title("what each head writes towards the answer (direct logit attribution)", fontsize=10)
            figure.colorbar(image, ax=axes, label="logits").outline.set_edgecolor(ink)
            for head in map(Head.parse, MOVERS):
                axes.add_patch(Rectangle((head.layer - 0.5, head.head - 0.5), 1, 1, fill=False, edgecolor=ink, lw=1.2))
            suspect = Head(23, 3)
            axes.annotate(
                f"23.3: {quote(table[suspect].value)} logits.\nA name mover? No: it reads the other name.",
                xy=(suspect.layer - 0.5, suspect.head),
                xytext=(11, 4.6),
                ha="center",
                arrowprops={"arrowstyle": "->", "color": ink},
            )
            axes.annotate(
                "23.0, 23.1, 23.2\nmove the name",
                xy=(22.5, 1),
                xytext=(16, 0.9),
                ha="center",
                va="center",
                arrowprops={"arrowstyle": "->", "color": ink},
            )
            figure.savefig(DOCS / "pictures" / f"opening-{theme}.png")
    return (
        "<picture>\n"
        '  <source media="(prefers-color-scheme: dark)" srcset="docs/pictures/opening-dark.png">\n'
        '  <img src="docs/pictures/opening-light.png" alt="Direct logit attribution of the 270 heads of SmolLM2: 23.3 '
        'stands out, and is no name mover; its neighbours 23.0, 23.1 and 23.2 are.">\n'
        "</picture>\n"
    )


@section
def patching() -> str:
    e, out = prompts(), ""
    for site in ("resid_pre", "attn_out", "mlp_out"):
        table = measure.patch_effect_sweep(e, site)
        out += save(figures.draw(table), f"patching-{site.replace('_', '-')}") + "\n" + top(table) + "\n"
    heads = measure.patch_effect_sweep(e, "z", at="END")
    out += save(figures.draw(heads), "patching-heads") + "\n" + top(heads, 8) + "\n"
    layers = range(15, 28)
    for site in ("q", "k", "v", "pattern"):
        table = measure.patch_effect_sweep(e, site, layers=layers)
        out += f"\n`{site}` of layers 15 to 27, all positions:\n\n" + top(table, 4)
    return out


@section
def screen() -> str:
    """Attribution patching beside the exact effects: what it finds, and what it misses."""
    from scipy.stats import spearmanr

    out = ""
    for site in ("z", "mlp_out"):
        start = time.perf_counter()
        estimates = measure.attribution_screen(prompts(), site)
        took = time.perf_counter() - start
        exact = measure.patch_effect_sweep(prompts(), site, metric="logit_diff")
        cells = list(exact)
        r = spearmanr([exact[cell].value for cell in cells], [estimates[cell] for cell in cells]).statistic
        largest = [cell for cell, _ in exact.top(10, most="absolute")]
        hits = sum(cell in largest for cell, _ in estimates.top(10))
        worst = sorted(cells, key=lambda cell: -abs(exact[cell].value - estimates[cell]))[:5]
        out += f"`{site}`, {len(cells)} cells in {took:.0f} s: rank correlation with the exact effects {r:.2f}; "
        out += f"{hits} of the 10 largest are among the 10 largest estimates. Furthest off:\n\n"
        rows = [[name_of(cell), quote(exact[cell].value), quote(estimates[cell])] for cell in worst]
        out += markdown(["cell", "exact (logits)", "estimate"], rows) + "\n\n"
    return out


@section
def path_patching() -> str:
    e = prompts()
    logits = measure.path_patch_effect_sweep(e, "logits", layers=range(18, 30))
    queries = measure.path_patch_effect_sweep(e, MOVERS, into="q", layers=range(14, 23), metric="of_clean")
    frozen = {
        cell: measure.path_patch_effect(e, str(cell), MOVERS, into="q", mlps="freeze", metric="of_clean")
        for cell, _ in queries.top(4, most="absolute")
    }
    rows = [[cell, value(queries[cell]), value(effect)] for cell, effect in frozen.items()]
    return (
        save(figures.draw(logits), "paths-to-logits")
        + "\n"
        + top(logits, 8)
        + "\n"
        + save(figures.draw(queries), "paths-to-queries")
        + "\n"
        + markdown(["sender", "MLPs recomputed", "MLPs frozen"], rows)
    )


@section
def ablation() -> str:
    e = prompts(96)
    rows = [
        [", ".join(heads), how, position or "all", value(measure.ablation_effect(e, heads, ablation=how, at=position)),
         value(measure.ablation_effect(e, heads, ablation=how, at=position, metric="kl"))]
        for heads in (MOVERS, ["23.3"], ["24.4"])
        for how, position in (("mean", "END"), ("zero", "END"), ("resample", "END"), ("permute", None))
    ]  # fmt: skip
    sweep = measure.ablation_effect_sweep(prompts(), layers=range(20, 30))
    return (
        markdown(["heads", "ablation", "at", "logit difference (logits)", "KL (nats)"], rows)
        + "\n"
        + save(figures.draw(sweep), "ablation")
    )


@section
def copying() -> str:
    from pytest_interp.tasks import single_token_names

    e, names = prompts(96), single_token_names(checkpoint().tokenizer, "confirm")
    rows = []
    for head in (*MOVERS, "23.7", "23.3", "24.4", "29.1"):
        rows.append(
            [head]
            + [
                quote(measure.copy_score(checkpoint(), head, names=names, negative=sign == -1).value)
                for sign in (1, -1)
            ]
            + [quote(measure.prompt_copy_score(e, head, negative=n).value) for n in (False, True)]
            + [quote(measure.ov_eigenvalue_score(checkpoint(), head, through=t).value) for t in ("residual", "tokens")]
        )
    return markdown(
        ["head", f"{len(names)} names", "negative", "over prompts", "negative", "eigenvalues, OV alone", "to tokens"],
        rows,
    )


@section
def attention() -> str:
    e = prompts(96)
    rows, pictures = [], ""
    for head in (*MOVERS, "23.3", "24.4"):
        plain = [quote(measure.attention(e, head, at="END", to=to).value) for to in ("IO", "S1", "S2")]
        weighted = [
            quote(measure.attention(e, head, at="END", to=to, weighted=True).value) for to in ("IO", "S1", "S2")
        ]
        abc = quote(measure.attention(e, head, at="END", to="IO", run="abc").value)
        rows.append([head, *plain, *weighted, abc, value(measure.attention_write_correlation(e, head))])
    for head in ("23.0", "24.4"):
        points = measure.attention_and_write(e, head)
        pictures += save(figures.draw(points, f"{head} of {NAME}"), f"write-{head.replace('.', '-')}")
    group = e.data.clean.groups[0]
    tokens = [checkpoint().tokenizer.decode([t]).strip() for t in group.tokens[0].tolist()]
    shown = e.activation(checkpoint().sites.hook("pattern", 23))[0][0, 0]
    pictures += save(figures.pattern(shown, tokens, f"23.0 of {NAME}"), "pattern-23-0")
    columns = ["head", "to IO", "S1", "S2", "weighted IO", "S1", "S2", "IO on ABC", "attention and write, r"]
    return markdown(columns, rows) + "\n" + pictures


@section
def backup() -> str:
    from pytest_interp.heads import Head

    e = prompts(96)
    later = [Head(layer, head) for layer in range(24, 30) for head in range(9)]
    out, rows = "", []
    for how in ("mean", "zero"):
        effect = measure.backup_effect(e, later, knocked_out=MOVERS, ablation=how)
        rows.append(
            [
                how,
                value(effect.total_before),
                value(effect.total_after),
                value(effect.naive),
                value(measure.self_repair(e, MOVERS, ablation=how)),
            ]
        )
        if how == "mean":
            out = save(figures.draw(effect, "heads of layers 24 to 29, without 23.0, 23.1, 23.2"), "backup")
    return markdown(["ablation", "before", "after", "if nothing reacted", "self-repair"], rows) + "\n" + out


@section
def detectors() -> str:
    from pytest_interp.tasks import repeated_tokens

    e = Experiment(
        checkpoint(), repeated_tokens(checkpoint().tokenizer, length=50, n=8, seed=0, bos=False, complete=True)
    )
    out = ""
    for kind in ("previous_token", "duplicate_token", "induction"):
        table = measure.detector_score_sweep(e, kind)
        picture = save(figures.draw(table), kind.replace("_", "-"))
        out += f"\n{picture}\n" + markdown(
            ["head", f"{kind} score"], [[str(c), quote(m.value)] for c, m in table.top(5)]
        )
    return out


@section
def circuit() -> str:
    e, c = prompts(96), checkpoint().circuit
    assert c is not None
    at_roles = replace(c, everywhere=())
    movers = sorted(c.heads.intersection(c.role("name_mover").heads))
    rows = [["F(C) / F(M), each head at every position", value(measure.faithfulness(e, c))]]
    rows.append(["F(C), logits", value(measure.faithfulness(e, c, metric="logit_diff"))])
    rows.append(["F(C) / F(M), each head at its role's position", value(measure.faithfulness(e, at_roles))])
    rows.append(
        [f"F(C without {names_of(movers)}) - F(M without)", value(measure.completeness(e, c, knocked_out=movers))]
    )
    for head in sorted(c.heads):
        rows.append([f"{head} adds to the circuit", value(measure.minimality(e, str(head), c))])
    return markdown(["quantity", "value"], rows)


@section
def statistics() -> str:
    e, c = prompts(), checkpoint()
    out = ""
    for site in ("q", "k", "v"):
        values = {f"layer {layer}": measure.activation_values(e, site, layer) for layer in (0, 15, 29)}
        out += save(figures.histogram(values, f"{site} of {NAME}"), f"values-{site}")
    tables = {site: measure.activation_statistics(e, site) for site in "qkv"}
    scores = {v: measure.score_statistics(e, "scores", variant=v) for v in ("per_head", "concatenated")}
    soft = {v: measure.score_statistics(e, "pattern", variant=v) for v in ("per_head", "concatenated")}
    rows = [
        [layer]
        + [quote(tables[s][layer, "variance"].value) for s in "qkv"]
        + [
            f"{quote(t[layer, 'mean'].value)} ({quote(t[layer, 'sd'].value)})"
            for t in (*scores.values(), *soft.values())
        ]
        for layer in (0, 5, 10, 15, 20, 25, 29)
    ]
    out += save(figures.draw(scores["per_head"]), "scores")
    columns = [
        "layer",
        "var q",
        "var k",
        "var v",
        "scores: mean (sd)",
        "the same, concatenated",
        "pattern",
        "concatenated",
    ]
    out += "\n" + markdown(columns, rows) + "\n"
    out += save(figures.draw(measure.head_norms(e, at="END")), "norms")
    out += save(figures.draw(measure.position_norms(e)), "norms-by-position")
    ratio = measure.selectivity(e)
    out += save(figures.draw(ratio), "selectivity") + "\n" + top(ratio, 4, "positive")
    assert c is not None
    return out


@section
def notebooks() -> str:
    """Each item of the five notebooks: the call, and its number on SmolLM2."""
    from pytest_interp import from_strings
    from pytest_interp.tasks import alex_hart, analogies, repeated_tokens, sequences, single_token_names, surnames

    c = checkpoint()
    names = single_token_names(c.tokenizer, "confirm")
    rows: list[list[str]] = []

    def row(item: str, call: str, number: str) -> None:
        rows.append([item, f"`{call}`", number])

    # A: one pair of prompts, as the notebook has it
    pair = "When Mike and Emma went to the cafe, {} gave a coffee to"
    experiment = Experiment(
        c,
        from_strings(
            c.tokenizer, clean=[pair.format("Mike")], answers=[" Emma"], distractors=[" Mike"],
            corrupted={"giver": [pair.format("Emma")]},
            positions={"S1": ["When Mike"], "S2": ["cafe, Mike"], "IO": ["Emma"]}, bos=False, name="mike-emma",
            population="fixed",
        ),
    )  # fmt: skip
    row("A logit(Emma) - logit(Mike), and of the other run", "logit_diff",
        "; ".join(quote(measure.logit_diff(experiment, run=run).value) for run in ("clean", "giver")))  # fmt: skip
    permuted = measure.ablation_effect_sweep(experiment, ablation="permute", at=None)
    ((worst, effect),) = permuted.top(1, most="absolute")
    row(
        "A1 every head's z permuted: largest change",
        'ablation_effect_sweep(ablation="permute", at=None)',
        f"{worst} {quote(effect.value)}",
    )
    spread = [v for v in permuted.matrix()[23] if v is not None]
    middle = sum(spread) / len(spread)
    deviation = (sum((v - middle) ** 2 for v in spread) / len(spread)) ** 0.5
    row("A1 layer 23: mean and sd over heads", "Table.matrix", f"{quote(middle)}, {quote(deviation)}")
    norms = measure.head_norms(experiment, value_bias="kept")  # raw hooks see the value biases
    sizes = Table({cell: replace(m, values=tuple(map(abs, m.values))) for cell, m in permuted.items()}, permuted.axes)
    row(
        "A1 norm of each head against the size of its effect, r",
        'correlation(head_norms(value_bias="kept"), ...)',
        quote(measure.correlation(norms, sizes).value),
    )
    by_token = measure.position_norms(experiment, value_bias="kept")
    row(
        "A2 mean norm of z in layer 29, first token and END",
        'position_norms(value_bias="kept")',
        f"{quote(by_token[29, 0].value)}; {quote(by_token[29, by_token.columns[-1]].value)}",
    )
    ((head, difference),) = measure.occurrence_difference(experiment).top(1)
    row("A3 most different at the two mentions", "occurrence_difference", f"{head} {quote(difference.value)}")
    ((layer, ratio),) = measure.selectivity(experiment).top(1)
    row("A3 most selective layer, ratio", "selectivity", f"layer {layer[0]}, {quote(ratio.value)}")
    ((head, patched),) = measure.patch_effect_sweep(experiment, "z", corruption="giver", metric="logit_diff").top(1)
    row("A4 patching each head: largest effect", 'patch_effect_sweep("z")', f"{head} {quote(patched.value)} logits")

    # B: what the other pages show, on 96 prompts
    e = prompts(96)
    row(
        "B logit difference; share right",
        "logit_diff, accuracy",
        f"{value(measure.logit_diff(e))}; {value(measure.accuracy(e))}",
    )
    row(
        "B on ABC; with S2 exchanged",
        "logit_diff(run=...)",
        f"{value(measure.logit_diff(e, run='abc'))}; {value(measure.logit_diff(e, run='s2-exchanged'))}",
    )
    row(
        "B logit lens after layer 23",
        "logit_lens_sweep",
        value(measure.logit_lens_sweep(e, sites=("resid_post",))[23, "resid_post"]),
    )
    row(
        "B attention of layer 23, MLP of 29",
        "component_attribution_sweep",
        "; ".join(value(measure.component_attribution_sweep(e)[key]) for key in ((23, "attn_out"), (29, "mlp_out"))),
    )
    heads = measure.direct_logit_attribution_sweep(e)
    for sign in ("positive", "negative"):
        row(
            f"B heads, most {sign}",
            "direct_logit_attribution_sweep",
            ", ".join(f"{h} {quote(m.value)}" for h, m in heads.top(3, most=sign)),
        )
    row(
        "B attention END to IO of 23.0, on ABC",
        "attention",
        "; ".join(value(measure.attention(e, "23.0", at="END", to="IO", run=run)) for run in ("clean", "abc")),
    )
    row(
        "B the same, value-weighted",
        "attention(weighted=True)",
        value(measure.attention(e, "23.0", at="END", to="IO", weighted=True)),
    )
    row(
        "B attention against projection, 23.0 and 24.4, r",
        "attention_write_correlation",
        "; ".join(value(measure.attention_write_correlation(e, h)) for h in ("23.0", "24.4")),
    )
    few = prompts()
    row(
        "B resid_pre 24 at END; attn_out 23; mlp_out 0 at S2",
        "patch_effect",
        "; ".join(
            value(measure.patch_effect(few, site, layer, at=at))
            for site, layer, at in (("resid_pre", 24, "END"), ("attn_out", 23, "END"), ("mlp_out", 0, "S2"))
        ),
    )
    for site in ("z", "q", "k", "v", "pattern"):
        row(
            f"B {site} of 23.3, all positions",
            f'head_patch_effect(site="{site}")',
            value(measure.head_patch_effect(few, "23.3", site=site)),
        )
    row("B z of 23.3 at END", 'head_patch_effect(at="END")', value(measure.head_patch_effect(few, "23.3", at="END")))
    row(
        "B OV eigenvalues of 23.0, alone and to tokens",
        "ov_eigenvalue_score",
        "; ".join(quote(measure.ov_eigenvalue_score(c, "23.0", through=t).value) for t in ("residual", "tokens")),
    )
    random_tokens = Experiment(c, repeated_tokens(c.tokenizer, length=50, n=8, seed=0, bos=False, complete=True))
    for kind in ("previous_token", "duplicate_token", "induction"):
        row(
            f"B {kind} score, highest",
            "detector_score_sweep",
            ", ".join(f"{h} {quote(m.value)}" for h, m in measure.detector_score_sweep(random_tokens, kind).top(3)),
        )
    text = random_tokens.data.clean.prompts[0].text
    scores = c.detected(text, "induction_head")
    best = int(scores.argmax())
    row(
        "B TransformerLens's detector, induction, one text",
        "Checkpoint.detected",
        f"{best // 9}.{best % 9} {quote(float(scores.max()))}",
    )
    repair = measure.backup_effect(e, ["27.1", "29.2"], knocked_out=MOVERS, ablation="zero")
    row(
        "B movers zeroed: before, after, naive",
        "backup_effect",
        "; ".join(quote(m.value) for m in (repair.total_before, repair.total_after, repair.naive)),
    )
    row("B copy score of 23.0: names, prompts; of 24.4, negative", "copy_score, prompt_copy_score", "; ".join([
        quote(measure.copy_score(c, "23.0", names=names).value), quote(measure.prompt_copy_score(e, "23.0").value),
        quote(measure.copy_score(c, "24.4", names=names, negative=True).value)]))  # fmt: skip
    row(
        "B path 23.3 to the logits",
        'path_patch_effect(..., "logits")',
        value(measure.path_patch_effect(few, "23.3", "logits")),
    )
    for into, at in (("q", "END"), ("k", "S2"), ("v", "S2")):
        row(
            f"B path 18.6 into {into} of 23.3 at {at}",
            f'path_patch_effect(into="{into}", at="{at}")',
            value(measure.path_patch_effect(few, "18.6", "23.3", into=into, at=at)),
        )
    assert c.circuit is not None
    row("B faithfulness of the circuit", "faithfulness", value(measure.faithfulness(few, c.circuit)))
    row(
        "B completeness without 23.0 and 23.1",
        "completeness",
        value(measure.completeness(few, c.circuit, knocked_out=["23.0", "23.1"])),
    )
    row(
        "B minimality of 23.3; of 23.0 without 23.1",
        "minimality",
        "; ".join(
            value(measure.minimality(few, head, c.circuit, knocked_out=lost))
            for head, lost in (("23.3", []), ("23.0", ["23.1"]))
        ),
    )

    # C: distributions by layer; a lesion and the token that follows
    for site in ("q", "k", "v"):
        table = measure.activation_statistics(few, site, value_bias="kept")
        row(
            f"C variance of {site} in layers 0, 15, 29",
            f'activation_statistics("{site}", value_bias="kept")'
            if site == "v"
            else f'activation_statistics("{site}")',
            ", ".join(quote(table[layer, "variance"].value) for layer in (0, 15, 29)),
        )
    for kind in ("scores", "pattern"):
        tables = [measure.score_statistics(few, kind, variant=v) for v in ("per_head", "concatenated")]
        row(
            f"C {kind} of layer 15, mean and sd; concatenated",
            f'score_statistics("{kind}")',
            "; ".join(f"{quote(t[15, 'mean'].value)}, {quote(t[15, 'sd'].value)}" for t in tables),
        )
    follows = Metric("log_prob", at="S2", token="next")
    lesions = {
        layer: measure.ablation_effect(
            few, f"{layer}.0", ablation="zero", at="S2", metric=follows, value_bias="removed"
        )
        for layer in range(30)
    }
    layer = max(lesions, key=lambda i: abs(lesions[i].value))
    row(
        "C head 0 of each layer lesioned at S2: log-probability of the next token, largest change",
        'ablation_effect(value_bias="removed", metric=Metric("log_prob", at="S2", token="next"))',
        f"layer {layer}: {value(lesions[layer])} nats",
    )

    # D: sequences and analogies
    for shown in ("1 2 3 4 ", "2 4 6 8 ", "Monday Tuesday Wednesday", "Fido is a dog. Pebbles is a cat. Fido is a"):
        table = measure.next_tokens(c, shown, k=3)
        row(
            f"D next token of *{shown.strip()}*",
            "next_tokens",
            ", ".join(f"{t.token!r} {t.probability:.3f}" for t in table),
        )
    row("D loss of the IOI prompts", "loss", f"{value(measure.loss(e))} nats")
    for name, task, bad in (
        ("sequences", sequences, "shuffled"),
        ("analogies", analogies, "sentences-exchanged"),
        ("surnames", surnames, "last-name"),
    ):
        d = Experiment(c, task(c.tokenizer, half="confirm", n=96, seed=1, bos=False))
        good = next(iter(d.data.corrupted))
        row(
            f"D {name}: logit difference; share right",
            "logit_diff, accuracy",
            f"{value(measure.logit_diff(d))}; {value(measure.accuracy(d))}",
        )
        row(
            f"D {name}: flipped by {good}; by {bad}",
            "flips",
            "; ".join(value(measure.flips(d, k)) for k in (good, bad)),
        )
    d = Experiment(c, sequences(c.tokenizer, half="confirm", n=42, seed=1, bos=False))
    for layer, at in product((0, 15, 29), ("LAST", "END")):
        if (layer, at) != (0, "END"):  # the embedding of the last token is the same in both runs
            effect = measure.patch_effect(d, "resid_pre", layer, at=at, corruption="sequence-exchanged")
            row(f"D sequences: resid_pre {layer} at {at}", "patch_effect", value(effect))
    row(
        "D sequences: top heads",
        "direct_logit_attribution_sweep",
        ", ".join(f"{h} {quote(m.value)}" for h, m in measure.direct_logit_attribution_sweep(d).top(3)),
    )

    # E: patching in fifty lines
    row(
        "E *Famous computer scientist Alan*",
        "next_tokens",
        ", ".join(
            f"{t.token!r} {t.probability:.3f}" for t in measure.next_tokens(c, "Famous computer scientist Alan", k=2)
        ),
    )
    alex = Experiment(c, alex_hart(c.tokenizer, bos=False))
    row(
        "E *Her name was Alex Hart. When Alex*: logit difference Hart - Carroll",
        "logit_diff",
        quote(measure.logit_diff(alex).value),
    )
    row(
        "E rank and probability of Hart",
        "next_token",
        f"{quote(measure.next_token(alex, 'rank').value)}; {quote(measure.next_token(alex, 'probability').value)}",
    )
    for corruption in alex.data.corrupted:
        table = measure.patch_effect_sweep(
            alex, "resid_pre", corruption=corruption, metric="logit_diff", layers=range(0, 30, 3)
        )
        save(figures.draw(table, f"patching resid_pre from {corruption}"), f"alex-hart-{corruption}")
        ((cell, largest),) = table.top(1, most="absolute")
        row(
            f"E resid_pre from {corruption}: largest",
            'patch_effect_sweep("resid_pre")',
            f"layer {cell[0]}, token {cell[1]}: {quote(largest.value)} logits",
        )
    pictures = "".join(f"![{k}](pictures/alex-hart-{k}.png)\n" for k in alex.data.corrupted)
    return markdown(["item", "call", f"on {NAME}"], rows) + "\n" + pictures


@section
def other_tasks() -> str:
    """What it costs to knock out the roles of SmolLM2's IOI circuit, on this task and on others."""
    from pytest_interp.measure.circuit import nodes_of, random_circuits
    from pytest_interp.tasks.named import task_of
    from pytest_interp.tasks.reference import with_reference

    c = checkpoint()
    assert c.circuit is not None
    names = ("ioi", "sequences", "analogies", "surnames", "capitals", "copied_tokens")
    experiments = {}
    for name in names:
        data = task_of(name).draw(c.tokenizer, half="confirm", n=48, seed=0, bos=c.bos)
        experiments[name] = Experiment(c, with_reference(data))
    sets = {role.name.replace("_", " "): role.heads for role in c.circuit.roles.values()}
    nodes = nodes_of(experiments["ioi"], c.circuit)
    sets["23.4 alone"] = (Head(23, 4),)
    sets["the circuit"] = tuple(nodes)
    for number, drawn in enumerate(random_circuits(experiments["ioi"], nodes, 3)):
        sets[f"as many random heads, {number + 1}"] = tuple(drawn)
    rows = [["logit difference", "", *(value(measure.logit_diff(e)) for e in experiments.values())]]
    for name, heads in sets.items():
        costs = [value(measure.knockout_cost(e, heads, at=None)) for e in experiments.values()]
        rows.append([f"{name}", str(len(heads)), *costs])
    table = markdown(["knocked out at all positions", "heads", *names], rows)
    return f"Share of the logit difference that is lost, 48 prompts of each task:\n\n{table}"


def _ran(folder: Path, *commands: str, after: str = "") -> str:
    """Commands with what each prints on standard output after a text, as a page shows them."""
    modules = {"pytest": "pytest", "pytest-interp": "pytest_interp.cli"}
    out = ""
    for command in commands:
        program, *arguments = command.split()
        quiet = ["-p", "no:cacheprovider"] if program == "pytest" else []
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", modules[program], *arguments, *quiet],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        took = time.perf_counter() - began
        shown = done.stdout.partition(after)[2] if after and after in done.stdout else done.stdout
        lines = [line for line in shown.splitlines() if not line.startswith("====") and line.strip("= ") != "findings"]
        text = "\n".join(lines).strip("=\n ").replace(f"{folder.resolve()}/", "")
        out += f"`{command}`, {took:.0f} s:\n\n```text\n{text}\n```\n\n"
    return out


def _explored(folder: Path, name: str) -> str:
    """What ``pytest-interp explore`` prints about a model, and what came of the claims that it suggests."""
    look = _ran(folder, f"pytest-interp explore {name} -o look")
    return look + _ran(folder, f"pytest look/test_explored.py --interp-model {name} -q", after="= findings =")


@section
def explore_planted() -> str:
    """A first look at planted-ioi."""
    with TemporaryDirectory() as folder:
        return _explored(Path(folder), "planted-ioi")


@section
def explore_smollm2() -> str:
    """A first look at SmolLM2, with one of its figures."""
    with TemporaryDirectory() as folder:
        out = _explored(Path(folder), NAME)
        picture = DOCS / "pictures" / "explore-heads-by-position.png"
        picture.write_bytes((Path(folder) / "look" / "heads_by_position.png").read_bytes())
    return f"{out}![heads by position](pictures/{picture.name})\n"


@cache
def _agreement() -> Path:
    """A folder with the task of the guide to a second task, as the page has it; it lasts as long as this process."""
    temporary = TemporaryDirectory()
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    page = (DOCS / "agreement.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert code is not None
    (folder / "agreement.py").write_text(code[1])
    return folder


@cache
def _agreement_explored() -> str:
    """What a first look at subject-verb agreement prints; its claims are in the folder then."""
    folder = _agreement()
    out = _ran(folder, f"pytest-interp explore {NAME} --task agreement.py -o look")
    (folder / "test_agreement.py").write_text((folder / "look" / "test_explored.py").read_text())
    return out


def _agreement_asked(*options: str) -> str:
    """What the claims of the first look print, once for each set of options."""
    _agreement_explored()
    command = f"pytest test_agreement.py --interp-model {NAME} -q"
    return _ran(_agreement(), *(f"{command} {option}".strip() for option in options), after="= findings =")


@section
def agreement_look() -> str:
    """A first look at subject-verb agreement."""
    return _agreement_explored()


@section
def agreement_discover() -> str:
    """A circuit for it."""
    return _ran(_agreement(), f"pytest-interp discover {NAME} --task agreement.py --prompts 48 -o agreement.toml")


@section
def agreement_claims() -> str:
    """The claims about it."""
    return _agreement_asked("")


@section
def agreement_accept() -> str:
    """Their numbers, accepted and compared."""
    return _agreement_asked("--snapshot-update", "")


@section
def agreement_falsify() -> str:
    """Whether they fail on damaged models."""
    return _agreement_asked("--interp-falsify")


@section
def calibration() -> str:
    """Verdicts on planted models against what is so by construction, by noise on all weights and number of prompts."""
    sys.path.append(str(DOCS.parent / "benchmarks"))
    from calibration import CLAIMS, RESULTS, VARIANTS, calibrate, counts

    few_variants = ["as planted", "a mover that copies S", "a backup that never rests", "two heads share a role"]
    rows, worst = [], []
    for noise, n, variants in (
        *((noise, 24, list(VARIANTS)) for noise in (0, 0.005, 0.01, 0.02, 0.04)),
        *((0.02, n, few_variants) for n in (12, 24, 48, 96)),
    ):
        results = calibrate(noise, n, variants)
        seen = counts(results)
        rows.append([noise, n, len(variants), sum(seen.values()), *(seen[result] for result in RESULTS)])
        for (variant, claim), by_head in results.items():
            for head, result in by_head.items():
                if result.startswith("false"):
                    worst.append([noise, n, variant, claim, head, result])
    table = markdown(["noise", "prompts", "variants", "verdicts", *RESULTS], rows)
    mistakes = markdown(["noise", "prompts", "variant", "claim", "head", "result"], worst) if worst else "No mistake.\n"
    return f"{len(CLAIMS)} claims about each of 20 heads:\n\n{table}\nEvery mistake:\n\n{mistakes}"


@section
def tolerances() -> str:
    """How far one prompt's number is from the same in float64, by model and dtype, and the tolerance made of it."""
    from pytest_interp.tolerance import FLOAT_NOISE, PROBABILITY_NOISE, tolerance_from

    rows: list[list[Any]] = []
    furthest: dict[tuple[str, str], tuple[float, float]] = {}
    for name in ("planted-ioi", NAME):
        exact = _numbers(name, "float64")
        for dtype in ("float32", "bfloat16"):
            other = _numbers(name, dtype)
            row: list[Any] = [name, dtype]
            for unit, values in exact.items():
                both = list(zip(values, other[unit], strict=True))
                prompt = max(abs(a - b) for first, second in both for a, b in zip(first, second, strict=True))
                mean = max(abs(fsum(first) - fsum(second)) / len(first) for first, second in both)
                row += [f"{prompt:.1e}", f"{mean:.1e}"]
                old = furthest.get((unit, dtype), (0.0, 0.0))
                furthest[unit, dtype] = max(old[0], prompt), max(old[1], mean)
            rows.append(row)
    table = markdown(
        ["model", "dtype", "logits, prompt", "logits, mean", "probability, prompt", "probability, mean"], rows
    )
    limits = {"logits": FLOAT_NOISE, "probability": PROBABILITY_NOISE}
    chosen = markdown(
        ["unit", "dtype", "prompt", "mean", "tolerance from it", "kept"],
        [[unit, dtype, f"{prompt:.1e}", f"{mean:.1e}", f"{tolerance_from(prompt, mean, dtype):g}",
          f"{limits[unit][dtype]:g}"] for (unit, dtype), (prompt, mean) in furthest.items()],
    )  # fmt: skip
    return f"{table}\n{chosen}"


def _numbers(name: str, dtype: str) -> dict[str, list[tuple[float, ...]]]:
    """Logit effects and probabilities of 24 prompts, prompt by prompt: behaviour, attribution, patching, paths."""
    from pytest_interp import measure

    model = Checkpoint(known_specs()[name], dtype=dtype)
    on = Experiment(model, ioi(model.tokenizer, half="confirm", n=24, seed=1, bos=model.bos))
    last = model.shape.n_layers - 1
    heads = [Head(23, 0), Head(23, 3), Head(24, 4)] if last > 10 else [Head(3, 0), Head(4, 0)]
    logits = [measure.logit_diff(on, run=run) for run in ("clean", "s2-exchanged", "abc")]
    for head in heads:
        logits.append(measure.direct_logit_attribution(on, head))
        logits.append(measure.head_patch_effect(on, head, at="END", metric="logit_diff"))
    logits.append(measure.patch_effect(on, "resid_pre", last // 2, at="S2", metric="logit_diff"))
    logits.append(measure.ablation_effect(on, heads))
    logits.append(measure.path_patch_effect(on, heads[0], "logits"))
    probabilities = [measure.attention(on, head, at="END", to="IO") for head in heads]
    probabilities.append(measure.next_token(on, "probability"))
    return {"logits": [number.values for number in logits], "probability": [number.values for number in probabilities]}


def fill(name: str, text: str) -> None:
    """Puts a section's text between its markers, in whichever page has them."""
    marker = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.S)
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        old = page.read_text()
        new = marker.sub(lambda match: f"{match[1]}{text.strip()}\n{match[2]}", old)
        if new != old:
            page.write_text(new)
            return
    print(f"no page has the marker of {name}, or nothing changed", file=sys.stderr)


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(SECTIONS):
        raise SystemExit(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    for name in chosen or SECTIONS:
        print(f"{name} ...", flush=True)
        fill(name, SECTIONS[name]())


if __name__ == "__main__":
    main(sys.argv[1:])
