"""Stopping rules: what each gives away against the best iteration, which only the truth can tell.

    python benchmarks/stopping.py FOLDER [--side 128] [--images F16_GT house ...] [--output FOLDER]

FOLDER holds the archives of benchmarks/images.py; their clean squares get Gaussian noise (clipped to the
range, as in the quality benchmark), Poisson noise, or half of each, of the same mean variance, for three
strengths. Each is fitted once by the recipe to the cap, nothing told of the noise; at every record the
restoration is compared with the truth. The rules then read the log up to where they would have ended the fit:
the loss is the best PSNR of all records less that of the record they chose. `--set` changes the recipe, such
as fit.input=noise. Writes ``stopping.json`` after each fit, and goes on with what an earlier run left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alone import Alone
from quality import conditions, measurement_of, problem_for

from glassplate.models.device.arithmetic import applied
from glassplate.models.fit.log import Record
from glassplate.models.fit.stopping import Decision, StoppingSettings, decide, least
from glassplate.models.metrics import psnr
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe

RESULTS = Path(__file__).parent / "results"
SIGMAS = (15, 25, 50)
"""Root of the mean variance, of 255."""
KINDS = ("gaussian", "poisson", "poisson-gaussian")
CURVES = ("heldout_loss", "chi2", "variance")
RULES = ("heldout", "chi2", "variance", "fixed")
"""Those of recipes, and `variance`, which ends where the estimates vary least."""
# Share of the newest estimate in the moving variance: that of Wang et al. (2023).
NEWEST = 0.1


@dataclass(frozen=True)
class Watched(Record):
    """A record with the moving variance of the estimates beside it."""

    variance: float
    """Squared units of the transform."""


class MovingVariance:
    """Exponential moving variance of the estimates of one fit, about an average of its own.

    The ES-EMV of H. Wang et al., "Early Stopping for Deep Image Prior" (TMLR 2023): it falls while the
    network takes in the scene and rises again with the noise.

    Parameters
    ----------
    weight
        (1, C, h, w): weight of each pixel's squares.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight, self.mean = weight, torch.zeros_like(weight)
        self.value = 0.0

    def add(self, x: torch.Tensor) -> None:
        """Add an estimate, (1, C, h, w)."""
        step = x - self.mean
        squares = float((self.weight * step.square()).mean())
        self.mean.add_(step, alpha=NEWEST)
        self.value = (1 - NEWEST) * (self.value + NEWEST * squares)


def noisy(clean: np.ndarray, kind: str, sigma: float) -> np.ndarray:
    """An image (c, y, x) in [0, 1] with noise of mean variance ``sigma**2``, always the same."""
    rng = np.random.default_rng(0)
    if kind == "gaussian":
        return np.clip(clean + rng.normal(0, sigma, clean.shape), 0, 1)
    share = 1.0 if kind == "poisson" else 0.5
    gain = clean.mean() / (share * sigma**2)  # photons at 1
    read = np.sqrt(1 - share) * sigma
    return rng.poisson(gain * clean) / gain + rng.normal(0, read, clean.shape)


def curve(recipe: Recipe, clean: np.ndarray, image: np.ndarray, threads: int) -> dict[str, Any]:
    """The log of a fit to the cap and the PSNR of every record."""
    problem = problem_for(recipe, image, threads)
    cap = problem.fit.iterations
    # pixels are held out for every rule, and nothing ends before the cap
    problem = replace(problem, stopping=replace(problem.stopping, rule="heldout", patience=cap))
    log: list[Watched] = []
    decibels: list[float] = []
    with applied(problem.numerics):
        fit = Alone(measurement_of(recipe, image), problem)
        moving = MovingVariance(fit.window.objective.validation_weight)
        while fit.iteration < cap:
            fit.step()
            moving.add(problem.operator.forward(fit.state.average.latest))
            if fit.record_due:
                log.append(Watched(**asdict(fit.look()), variance=moving.value))
                answer = fit.answer().values
                decibels.append(psnr(np.clip(answer, 0, 1), clean, 1.0))
    return {
        "noise": asdict(problem.noise),
        "iterations": [record.iteration for record in log],
        "psnr_db": [round(value, 3) for value in decibels],
        **{name: [short(getattr(record, name)) for record in log] for name in CURVES},
        "losses_db": {rule: loss(log, decibels, recipe.stopping, rule, cap) for rule in RULES},
    }


def short(value: float) -> float:
    """Five digits, which is more than a rule needs."""
    return float(f"{value:.5g}")


def loss(
    log: list[Watched], decibels: list[float], settings: StoppingSettings, rule: Any, cap: int
) -> float:
    """What a rule gives away, dB: it sees the log grow and ends where it would have."""
    for n in range(1, len(log) + 1):
        if rule == "variance":
            decision = decide_by_variance(log[:n], settings, cap)
        else:
            decision = decide(log[:n], replace(settings, rule=rule), cap)
        if decision.reason is not None:
            return max(decibels) - decibels[decision.best]
    raise AssertionError("the last record is at the cap")


def decide_by_variance(log: list[Watched], settings: StoppingSettings, cap: int) -> Decision:
    """The rule `variance`: end where the moving variance is least, by the patience of `heldout`."""
    best, waited = least([record.variance for record in log], log)
    last = log[-1].iteration
    if waited >= settings.patience and last >= settings.minimum:
        return Decision(best, "variance minimum")
    return Decision(best, "iteration cap" if last >= cap else None)


def cases(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, str, int]]:
    """Name, clean square, kind of noise and strength."""
    for path in sorted(options.folder.glob(f"*-{options.side}.npz")):
        name = path.stem.removesuffix(f"-{options.side}")
        if name in options.images if options.images else name != "hubble":
            clean = np.load(path)["clean"].astype(np.float64)
            for sigma in SIGMAS:
                for kind in KINDS:
                    yield name, clean, kind, sigma


def table(rows: dict[str, Any]) -> str:
    """Markdown: mean and worst loss of each rule by strength and kind of noise, and over all."""
    lines = ["| | " + " | ".join(RULES) + " |", "|---" * (1 + len(RULES)) + "|"]
    groups = {
        f"{kind}, {sigma}": [row for key, row in rows.items() if key.endswith(f", {kind}, {sigma}")]
        for sigma in SIGMAS
        for kind in KINDS
    }
    for name, group in [*groups.items(), (f"all {len(rows)}", list(rows.values()))]:
        if group:
            losses = np.array([[row["losses_db"][rule] for rule in RULES] for row in group])
            cells = [
                f"{m:.2f} ({w:.2f})" for m, w in zip(losses.mean(0), losses.max(0), strict=True)
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="archives of benchmarks/images.py")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--images", nargs="+", help="names of the only images to run")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--recipe", default="archive-denoise")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON")
    parser.add_argument("--label", default="", help="ending of the JSON's name")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.set)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / f"stopping{options.label}.json"
    rows = json.loads(target.read_text("utf-8"))["rows"] if target.is_file() else {}
    document = {"conditions": conditions(options, recipe, options.recipe), "rows": rows}
    for name, clean, kind, sigma in cases(options):
        key = f"{name}, {kind}, {sigma}"
        if key in rows:
            continue
        rows[key] = curve(recipe, clean, noisy(clean, kind, sigma / 255), options.threads)
        told = " ".join(f"{rule} {value:.2f}" for rule, value in rows[key]["losses_db"].items())
        print(f"{key}: best {max(rows[key]['psnr_db']):.2f} dB; lost: {told}", flush=True)
        target.write_text(json.dumps(document) + "\n", "utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
