"""How often the interval of a sampled population is wrong: ``python benchmarks/interval_error.py [--write]``.

The true value lies exactly on the bound, where a verdict is wrong most often: ``at_least`` is supported although it
should not be, or ``at_most`` is. Each error has the nominal rate 2.5 %. Prints a
table; ``--write`` puts it into docs/verdicts.md.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, expit, stdtrit

from pytest_interp.measurement import Measurement, Sample
from pytest_interp.verdict.intervals import interval_of

DOCS = Path(__file__).parents[1] / "docs" / "verdicts.md"
SEED = 20261127
DESIGNS = 20
LIMIT = 4.0
"""The percentage of wrong verdicts a side that the bounded cases keep to."""

EQUAL = {6: (16,) * 6, 12: (8,) * 12, 24: (4,) * 24}
UNEQUAL = (2,) * 10 + (48,) * 2
Floats: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Population:
    """A population of prompts whose templates and names are drawn anew for each run.

    Attributes:
        sizes: how many prompts each template has.
        names: how many names there are; 0: none are recorded.
        templates_vary, answers_vary, distractors_vary: the standard deviation of what each adds to a prompt's value.
        either_role_varies: that of what a name adds, the same as answer and as distractor.
        prompts_vary: that of a prompt alone.
        grid: names in every pair of neighbours, over all templates, in both orders; else drawn as ioi draws them.
        skewed: what a template adds is exponential, not normal.
        share: the true share, for which all of this is on the logit scale; None: the values themselves, of mean 0.
        rarely_wrong: the probability that a template is wrong throughout.
        ratio: the true ratio, of numerators to denominators whose templates vary together; None: no ratio.
        bounded: whether at most 4 % a side is required.
    """

    sizes: tuple[int, ...]
    names: int = 0
    templates_vary: float = 0.0
    answers_vary: float = 0.0
    distractors_vary: float = 0.0
    either_role_varies: float = 0.0
    prompts_vary: float = 1.0
    grid: bool = False
    skewed: bool = False
    share: float | None = None
    rarely_wrong: float = 0.0
    ratio: float | None = None
    bounded: bool = True

    @property
    def truth(self) -> float:
        """The mean, share or ratio over all templates and names."""
        if self.share is not None:
            return self.share * (1 - self.rarely_wrong)
        return self.ratio or 0.0

    def __str__(self) -> str:
        kind = "mean" if self.share is None else f"share {self.truth:.3g}"
        kind = kind if self.ratio is None else f"ratio {self.ratio:g}"
        sizes = f"{len(self.sizes)} of {self.sizes[0]}" if len(set(self.sizes)) == 1 else "10 of 2 and 2 of 48"
        names = f"{self.names}{', grid' if self.grid else ''}" if self.names else ""
        effects = {
            "exponential templates" if self.skewed else "templates": self.templates_vary,
            "answers": self.answers_vary,
            "distractors": self.distractors_vary,
            "names in either role": self.either_role_varies,
        }
        # The logit of a share has no spread of its own in a prompt: whether it is right is drawn.
        effects |= {"prompts": self.prompts_vary if self.share is None else 0.0}
        texts = [f"{what} {spread:g}" for what, spread in effects.items() if spread]
        texts += [f"{self.rarely_wrong:.0%} of templates always wrong"] if self.rarely_wrong else []
        return f"{kind} | {sizes} | {names} | {', '.join(texts)}"


@dataclass(frozen=True)
class Runs:
    """Runs of a population with the same templates and names in the same prompts.

    Attributes:
        templates: the template of each prompt, shape ``(prompt,)``.
        pairs: answer and distractor of each prompt; empty where no names are recorded.
        values: shape ``(run, prompt)``.
        scale: denominators of a ratio, of the same shape; None where there is no ratio.
    """

    templates: NDArray[np.intp]
    pairs: Pairs
    values: Floats
    scale: Floats | None

    def measurements(self, unit: str) -> Iterator[Measurement]:
        """Each run as the package sees it."""
        clusters = tuple(map(str, self.templates))
        names = tuple((f"name {answer}", f"name {distractor}") for answer, distractor in self.pairs)
        sample = Sample(clusters, clusters, "sampled", names)
        scales = [()] * len(self.values) if self.scale is None else map(tuple, self.scale.tolist())
        for values, scale in zip(self.values.tolist(), scales, strict=True):
            yield Measurement("simulated", unit, tuple(values), sample, scale, 0.0)


def drawn_pairs(names: int, count: int, seed: int) -> Pairs:
    """Answer and distractor of each prompt, drawn as tasks/ioi.py does: no repetition until all names were used."""
    rng, left, pairs = random.Random(seed), list[int](), list[tuple[int, int]]()
    for _ in range(count):
        pair: list[int] = []
        while len(pair) < 2:
            left = left or rng.sample(range(names), names)
            name = left.pop()
            pair += [name] if name not in pair else []
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)


def assigned(population: Population, seed: int) -> tuple[NDArray[np.intp], Pairs]:
    """The template and the names of each prompt."""
    count = len(population.sizes)
    if population.grid:
        neighbours = [(name, (name + 1) % population.names) for name in range(population.names)]
        cells = [(template, pair) for pair in neighbours for template in range(count) for _ in ("ABBA", "BABA")]
        return np.array([template for template, _ in cells]), tuple(pair for _, pair in cells)
    # Templates in turn, as long as each has prompts left.
    turns = [(turn, template) for template, size in enumerate(population.sizes) for turn in range(size)]
    templates = np.array([template for _, template in sorted(turns)])
    return templates, drawn_pairs(population.names, len(templates), seed) if population.names else ()


def runs_of(population: Population, draws: int, seed: int = SEED) -> Iterator[Runs]:
    """Seeded runs of a population, in batches with names of their own.

    Args:
        population: what is sampled.
        draws: how many runs in all, a multiple of the number of batches.
        seed: of names, effects and prompts.
    """
    rng = np.random.default_rng(seed)
    for design in range(DESIGNS):
        templates, pairs = assigned(population, seed + design)
        size, count = draws // DESIGNS, len(population.sizes)

        def effect(levels: int, spread: float, size: int = size) -> Floats:
            return rng.normal(0.0, spread, (size, levels)) if spread else np.zeros((size, levels))

        of_template = effect(count, population.templates_vary)
        if population.skewed:
            of_template = (rng.exponential(1.0, (size, count)) - 1) * population.templates_vary
        common = of_template[:, templates]
        if pairs:
            answers, distractors = np.array(pairs).T
            either = effect(population.names, population.either_role_varies)
            common = common + effect(population.names, population.answers_vary)[:, answers] + either[:, answers]
            common = common + effect(population.names, population.distractors_vary)[:, distractors]
            common = common + either[:, distractors]
        if population.share is not None:
            spreads = (population.templates_vary, population.answers_vary, population.distractors_vary)
            center = logit_center(population.share, sqrt(sum(spread**2 for spread in spreads)))
            right = rng.random(common.shape) < expit(center + common)
            wrong = rng.random((size, count)) < population.rarely_wrong
            yield Runs(templates, pairs, (right & ~wrong[:, templates]).astype(float), None)
        elif population.ratio is not None:
            scale = 4 + effect(count, 0.5)[:, templates] + effect(len(templates), 1.0)
            numerators = population.ratio * scale + common + effect(len(templates), population.prompts_vary)
            yield Runs(templates, pairs, numerators, scale)
        else:
            yield Runs(templates, pairs, common + effect(len(templates), population.prompts_vary), None)


@cache
def logit_center(share: float, spread: float) -> float:
    """The mean of a normal logit whose probability is this share on average."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    return float(brentq(lambda center: weights @ expit(center + spread * nodes) - share, -20, 20))


def interval_before(runs: Runs, share: bool) -> tuple[Floats, Floats]:
    """The ends of the intervals that the package had before: t over template means, at least the exact binomial one."""
    prompts, count = len(runs.templates), len(set(runs.templates.tolist()))
    center = runs.values.mean(1) if runs.scale is None else runs.values.mean(1) / runs.scale.mean(1)
    residuals = runs.values - center[:, None]
    if runs.scale is not None:
        residuals = (runs.values - center[:, None] * runs.scale) / runs.scale.mean(1)[:, None]
    sums = residuals @ (runs.templates[:, None] == np.arange(count))
    half = stdtrit(count - 1, 0.975) * (sums / (prompts / count)).std(1, ddof=1) / sqrt(count)
    low, high = center - half, center + half
    if share:
        right = runs.values.sum(1)
        exact_low = np.where(right > 0, betaincinv(np.maximum(right, 1), prompts - right + 1, 0.025), 0.0)
        exact_high = np.where(right < prompts, betaincinv(right + 1, np.maximum(prompts - right, 1), 0.975), 1.0)
        low, high = np.clip(np.minimum(low, exact_low), 0, 1), np.clip(np.maximum(high, exact_high), 0, 1)
    return low, high


@dataclass(frozen=True)
class Errors:
    """Percentages of wrong verdicts, and how wide the interval is.

    Attributes:
        at_least_before, at_most_before: of the bound at the true value from below and above, by the interval before.
        at_least, at_most: by the package's.
        width: the mean width, over that of the interval before.
    """

    at_least_before: float
    at_most_before: float
    at_least: float
    at_most: float
    width: float


def errors_of(population: Population, draws: int, seed: int = SEED) -> Errors:
    """How often either bound at the true value is wrongly supported."""
    unit = "logits" if population.share is None else "share"
    unit = unit if population.ratio is None else "recovered"
    ends: list[tuple[float, float]] = []
    before: list[Floats] = []
    for runs in runs_of(population, draws, seed):
        before.append(np.stack(interval_before(runs, unit == "share"), 1))
        ends += [(interval.low, interval.high) for interval in map(interval_of, runs.measurements(unit))]
    reference, package = np.concatenate(before), np.array(ends)

    def percent(wrong: NDArray[np.bool_]) -> float:
        return 100 * float(wrong.mean())

    return Errors(
        percent(reference[:, 0] > population.truth), percent(reference[:, 1] < population.truth),
        percent(package[:, 0] > population.truth), percent(package[:, 1] < population.truth),
        float((package[:, 1] - package[:, 0]).mean() / (reference[:, 1] - reference[:, 0]).mean()),
    )  # fmt: skip


def cases() -> tuple[Population, ...]:
    """What the table shows."""
    twelve = EQUAL[12]
    both = partial(Population, twelve, answers_vary=1.0, distractors_vary=1.0)
    return (
        *(Population(sizes, templates_vary=0.5, prompts_vary=1.6) for sizes in (*EQUAL.values(), UNEQUAL)),
        Population(UNEQUAL, templates_vary=1.0),
        *(
            Population(sizes, templates_vary=spread, share=share)
            for sizes in (*EQUAL.values(), UNEQUAL)
            for spread in (0.5, 1.0)
            for share in (0.6, 0.8, 0.95)
        ),
        *(
            Population(twelve, names, 0.5, answers, distractors)
            for names in (10, 20, 120)
            for answers, distractors in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0))
        ),
        *(both(names=names) for names in (10, 20, 120)),
        *(Population((2 * names,) * 12, names, 0.5, 1.0, 1.0, grid=True) for names in (10, 20)),
        Population(EQUAL[6], 10, 0.5, 1.0, 1.0),
        Population(UNEQUAL, 10, 0.5, 1.0, 1.0),
        *(Population(twelve, names, 0.5, 0.5, 0.5, share=0.8) for names in (10, 20, 120)),
        *(Population(sizes, templates_vary=0.5, ratio=0.4) for sizes in (*EQUAL.values(), UNEQUAL)),
        Population(twelve, 10, 0.5, 1.0, 1.0, ratio=0.4),
        # Not bounded: the interval is wrong more often here, and a reader should know how much.
        *(Population(EQUAL[m], templates_vary=1.0, skewed=True, bounded=False) for m in (6, 12, 24)),
        *(Population(EQUAL[m], share=0.98, rarely_wrong=0.05, bounded=False) for m in (12, 24)),
        *(
            Population(sizes, templates_vary=1.0, share=0.9, bounded=False)
            for sizes in (EQUAL[6], (100,) * 6, (100,) * 12)
        ),
        *(Population(twelve, names, 0.5, either_role_varies=1.0, bounded=False) for names in (10, 20, 120)),
    )


def table(draws: int, chosen: Sequence[Population], progress: Callable[[str], None] = print) -> str:
    """The table in Markdown, a row for each population."""
    heads = ["quantity", "templates", "names", "standard deviations", "before", "now", "width", "required"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for population in chosen:
        errors = errors_of(population, draws)
        before = f"{errors.at_least_before:.1f}, {errors.at_most_before:.1f}"
        now = f"{errors.at_least:.1f}, {errors.at_most:.1f}"
        required = f"{LIMIT:g}" if population.bounded else ""
        lines.append(f"| {population} | {before} | {now} | {errors.width:.2f} | {required} |")
        progress(lines[-1])
    return "\n".join(lines)


def main() -> None:
    """Prints the table; writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20000, help="runs of each population (default 20000)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/verdicts.md")
    options = parser.parse_args()
    if options.draws < DESIGNS:
        parser.error(f"--draws is {options.draws}; pass at least {DESIGNS}")
    text = table(options.draws, cases(), lambda line: print(line, flush=True))
    if options.write:
        marker = re.compile(r"(<!-- measured: interval error -->\n).*?(<!-- end -->)", re.S)
        DOCS.write_text(marker.sub(lambda match: f"{match[1]}{text}\n{match[2]}", DOCS.read_text()))


if __name__ == "__main__":
    main()
