"""From a fit's average to the answer.

The average is a prediction of the pixels. Where the input was blind to a pixel, Bayes' rule combines the
prediction with what the pixel measured (`posterior`), and similar blocks are filtered together
(`similar_blocks`). What this changes around holes is carried into them (`hole_edges`). Colours whose noise is
correlated follow the brightness (`guided_colours`), and the light of faint sources that is lost is given back
(`faint_sources`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from glassplate.models.estimate.faint_sources import Noise, with_significant_light
from glassplate.models.estimate.guided_colours import guided_colours
from glassplate.models.estimate.hole_edges import membrane
from glassplate.models.estimate.level import with_measured_level
from glassplate.models.estimate.posterior import (
    posterior_mean,
    posterior_through,
    posterior_variance,
)
from glassplate.models.estimate.restoration import Restoration
from glassplate.models.estimate.seen_noise import correlation_area, posterior_with_seen
from glassplate.models.estimate.similar_blocks import (
    EARLIER,
    LAST,
    ONLY,
    Filtered,
    collaborative_wiener,
)
from glassplate.models.estimate.window_noise import (
    seen_components,
    shows_its_noise,
    trusted_pixels,
    variance_at,
)
from glassplate.models.fit.log import FitResult
from glassplate.models.fit.losses import masked_mean, whiteness
from glassplate.models.fit.problem import FloatArray
from glassplate.models.fit.window import Window
from glassplate.models.operators.jpeg_cells import QuantisationCells

# Bound of a ratio that a few hundred held-out pixels tell.
MOST_OPTIMISM = 10.0
# Factor on the variance of the noise that the filter of similar blocks says it left, for what its pilot had
# lost: with it 0.70 to 0.79 of the errors lie within one standard deviation, and 0.92 to 0.98 within two
# (F16, house, lena, kodak3; 256x256, sigma 25; 2.4, 2.8, 1.5 and 3.5 fit their mean squares). What is lost is
# mostly weak texture, which photographs have everywhere, and skies do not.
FILTERED_VARIANCE = 2.5
# The same after several passes, the last of which removes more: 0.60 to 0.80 and 0.89 to 0.99 of the errors
# of three tiles of quick fits, on which it was chosen, 0.70 to 0.82 and 0.94 to 0.98 of three others.
FILTERED_TWICE = 3.5
# Factor where faint sources are guarded: in a sky most of what the filter states is the noise of the mean of
# a group, and the mean of the answer is that of the pilot, which knows it better (skies of nine tiles,
# docs/design/017-faint-sources.md).
GUARDED_VARIANCE = 0.5
# Change by the guard, in standard deviations of the noise, from which a pixel counts as given back.
GIVEN_BACK = 0.5


class Answer(NamedTuple):
    """The pixels of a window's restoration."""

    values: FloatArray
    """(c, H, W) float32, source units."""
    guarded: int
    """Valid pixels that the guard on faint sources changed by `GIVEN_BACK` and more."""
    noise_back: FloatArray | None
    """(c, H, W) float32, variance of the noise that the guard gave back; None without a guard."""


def restorations(
    windows: Sequence[Window], ensembles: Sequence[Sequence[FitResult]]
) -> list[Restoration]:
    """Average the fits of each window's ensemble and make its restoration.

    The windows are of one shape and one problem. An ensemble of one fit is its own average.
    """
    # each (members, 1, C, H, W)
    means = [torch.stack([fit.mean for fit in fits]) for fits in ensembles]
    filtered = similar_blocks(windows, [of_one.mean(0) for of_one in means])
    parts = zip(windows, ensembles, means, filtered, strict=True)
    return [_restoration(*of_one) for of_one in parts]


def _restoration(
    window: Window, fits: Sequence[FitResult], means: torch.Tensor, filtered: Filtered | None
) -> Restoration:
    first, mean = fits[0], means.mean(0)
    pixels = answer(window, mean, filtered)
    uncertain = window.problem.fit.uncertainty
    return Restoration(
        values=pixels.values,
        uncertainty=_uncertainty(window, means, filtered, pixels.noise_back) if uncertain else None,
        log=tuple(record for fit in fits for record in fit.log),
        iterations=sum(fit.log[-1].iteration for fit in fits),
        best_iteration=first.best.iteration,
        stop_reason=first.stop_reason,
        heldout_loss=sum(fit.best.heldout_loss for fit in fits) / len(fits),
        chi2=float(window.score.chi2(torch.from_numpy(pixels.values)[None].to(mean.device))),
        guarded=pixels.guarded,
        whiteness=_whiteness(window, mean),
        slots=min(fit.slots for fit in fits),
        seconds=sum(fit.seconds for fit in fits),
    )


def answer(window: Window, mean: torch.Tensor, filtered: Filtered | None) -> Answer:
    """Make the answer from an average, (1, C, H, W), and what `similar_blocks` made of it."""
    problem = window.problem
    if problem.operator.mixes:
        x = _through_operator(window, mean) if problem.fit.posterior else mean
        return Answer(_array(x), 0, None)
    x = _with_holes(window, mean, filtered)
    if problem.fit.collaborative and shows_its_noise(window):
        x = guided_colours(x, window.score.noise_variance(x))
    x = _levelled(window, mean, x)
    if problem.quantisation is not None:
        cells = QuantisationCells(problem.quantisation, window.y, window.split.valid, window.origin)
        x = cells.project(x)
    if problem.fit.guard is None:
        return Answer(_array(x), 0, None)
    noise = Noise(window.score.noise_variance(x), problem.noise)
    valid = window.split.valid
    guarded = with_significant_light(x, window.y, valid, noise, problem.fit.guard)
    changed = (guarded.values - x).abs() > GIVEN_BACK * noise.variance.sqrt()
    return Answer(_array(guarded.values), int((changed & valid).sum()), _array(guarded.noise))


def _levelled(window: Window, mean: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Give the answer, (1, C, h, w), the level of the measurement.

    Not where faint sources are guarded: their sky would have a tenth more noise, and galaxies one per cent
    more of their light. Nor where outliers are expected, which move a mean.
    """
    problem, fit = window.problem, window.problem.fit
    if not fit.collaborative or fit.guard is not None or fit.robust is not None:
        return x
    noise, lag1 = window.score.noise_variance(x), problem.noise.lag1
    return with_measured_level(x, window.y, noise, trusted_pixels(window, mean), lag1)


def _array(planes: torch.Tensor) -> FloatArray:
    """Array (C, h, w) of the first of (B, C, h, w)."""
    values: FloatArray = planes[0].float().cpu().numpy()
    return values


def similar_blocks(
    windows: Sequence[Window], means: Sequence[torch.Tensor]
) -> list[Filtered | None]:
    """Filter the measurements of windows of one shape with their averages, (1, C, h, w), as pilots.

    None for each where it is not asked for. All windows are filtered at once, because a GPU would otherwise
    start as many kernels for each.
    """
    problem = windows[0].problem
    if not problem.fit.collaborative or problem.operator.mixes:
        return [None] * len(windows)
    inputs = []
    for window, mean in zip(windows, means, strict=True):
        pilot = _with_measurement(window, mean)
        noise, trusted = variance_at(window, mean, pilot), trusted_pixels(window, mean)
        inputs.append((pilot, window.y, noise, trusted))
    pilots, measured, noise, trusted = (torch.cat(each) for each in zip(*inputs, strict=True))
    lag1 = problem.noise.lag1 if problem.noise.correlated else 0.0
    each = [seen_components(window, mean) for window, mean in zip(windows, means, strict=True)]
    seen = [of_one for of_one in each if of_one is not None]  # of all windows or of none
    components = torch.cat(seen) if seen else None
    passes = problem.fit.filter_passes
    order = [ONLY] if passes == 1 else [*[EARLIER] * (passes - 1), LAST]
    for number, one in enumerate(order, 1):
        stated = problem.fit.uncertainty and number == passes
        whole = collaborative_wiener(
            pilots, measured, noise, trusted, lag1, components, stated=stated, one=one
        )
        pilots = whole.values
    return [
        Filtered(
            whole.values[n : n + 1], None if whole.variance is None else whole.variance[n : n + 1]
        )
        for n in range(len(windows))
    ]


def _through_operator(window: Window, mean: torch.Tensor) -> torch.Tensor:
    """Combine the average with a measurement in which the operator mixes its pixels; (1, C, H, W)."""
    operator = window.problem.operator
    noise = window.score.noise_variance(operator.forward(mean))
    return posterior_through(operator, mean, window.y, noise, trusted_pixels(window, mean))


def _with_holes(window: Window, mean: torch.Tensor, filtered: Filtered | None) -> torch.Tensor:
    """Combine the average with the measurement, and carry the change at the edges of holes into them."""
    combined = _with_measurement(window, mean) if filtered is None else filtered.values
    valid = window.split.valid
    if valid.all() or combined is mean:
        return combined
    # so that no seam shows between filled and measured pixels
    return torch.where(valid, combined, mean + membrane(combined - mean, valid))


def _with_measurement(window: Window, mean: torch.Tensor) -> torch.Tensor:
    """Combine the average with each pixel's own measurement, where the input was blind to it."""
    fit = window.problem.fit
    if not (fit.posterior and window.problem.input == "blindspot"):
        return mean
    trusted, noise = trusted_pixels(window, mean), variance_at(window, mean, mean)
    seen, radius, doubt = seen_components(window, mean), fit.posterior_radius, fit.posterior_doubt
    if seen is None:
        return posterior_mean(mean, window.y, noise, trusted, radius, doubt)
    doubt *= correlation_area(window.problem.noise.lag1) ** 0.5
    return posterior_with_seen(mean, window.y, noise, trusted, seen, radius, doubt)


def _whiteness(window: Window, mean: torch.Tensor) -> float:
    """Lag-1 autocorrelation of an average's residual in units of the noise."""
    seen = window.problem.operator.forward(mean)
    variance = window.score.noise_variance(seen)
    sigma = torch.where(variance > 0, variance, 1).sqrt()
    return float(whiteness((window.y - seen) / sigma, window.split.valid))


def _uncertainty(
    window: Window, means: torch.Tensor, filtered: Filtered | None, noise_back: FloatArray | None
) -> FloatArray:
    """Standard deviation of the answer's error, (c, H, W).

    `means` are the averages of all members, (members, 1, C, H, W), and `filtered` is what `similar_blocks`
    made of their mean. With a blind input the residual gives it; otherwise only the difference between two
    or more members does. The noise that came back with the light of faint sources is added.
    """
    problem, score = window.problem, window.score
    if problem.input != "blindspot" or problem.operator.mixes:
        variance = means.var(0) / len(means)
    else:
        mean = means.mean(0)
        variance = posterior_variance(
            mean,
            window.y,
            score.noise_variance(mean),
            trusted_pixels(window, mean),
            problem.fit.posterior_radius,
            problem.fit.posterior,
            _optimism(window, means[0]),
        )
        if filtered is not None and filtered.variance is not None:
            # no more than the measurement's own: a block that resembles no other was not filtered
            seen = seen_components(window, mean)
            most = variance_at(window, mean, mean) * (1.0 if seen is None else seen.mean())
            once = FILTERED_VARIANCE if problem.fit.filter_passes == 1 else FILTERED_TWICE
            factor = once if problem.fit.guard is None else GUARDED_VARIANCE
            left = torch.minimum(factor * filtered.variance, most)
            variance = torch.where(window.split.valid, left, variance)
    if noise_back is not None:
        variance = variance + torch.from_numpy(noise_back).to(variance)
    return _array(variance.sqrt())


def _optimism(window: Window, mean: torch.Tensor) -> float:
    """How much larger squared errors are than residuals tell, 1 to `MOST_OPTIMISM`.

    The residual is taken of pixels that were in the loss again and again; held-out pixels never were. The
    average must be that of the fit which held these out.
    """
    variance = window.score.noise_variance(mean).clamp(min=torch.finfo(mean.dtype).tiny)
    squares = (window.y - mean).square() / variance
    in_loss = float(masked_mean(squares, window.split.usable)) - 1
    heldout = float(masked_mean(squares, window.split.heldout)) - 1
    return min(max(heldout / in_loss, 1.0), MOST_OPTIMISM) if in_loss > 0 and heldout > 0 else 1.0
