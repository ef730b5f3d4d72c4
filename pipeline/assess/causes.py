"""Sentences about figures of a result that are far from what is expected, each with its likely cause."""

from __future__ import annotations

from collections.abc import Iterator

from glassplate.pipeline.assess.background import Background
from glassplate.pipeline.assess.edges import Edges
from glassplate.pipeline.assess.photograph import PatchNoise, Photograph
from glassplate.pipeline.assess.residual import LevelChi2, PlaceChi2, Residual
from glassplate.pipeline.assess.seams import Seams

# The limits lie beyond what sound restorations showed: of a DECam frame and a made sky with white noise by
# astro-denoise, and of a crop of a camera JPEG by archive-denoise. Those figures are behind each limit;
# "dimmed" is a sky with correlated noise in which galaxies were dimmed, "wall" a JPEG of whose noise too
# little was found in its bright parts.
MOST_SHIFT = 0.1  # 0.004, dimmed 0.02
MOST_CORRELATION = 0.1  # 0.00 to 0.06, dimmed 0.16, wall 0.13
# Above the expected one: -0.03 to -0.01, dimmed 0.21; -0.24 in the JPEG, half of whose coarse noise is left.
MOST_LAG1, LEAST_LAG1 = 0.1, -0.15
LEAST_CHI2, MOST_CHI2 = 0.1, 2.0  # 0.89 to 0.96, wall 2.8
MOST_UNEVEN = 2.0  # largest over median part: 1.1 to 1.9, wall 5.8
MOST_LOST = 0.3  # standard deviations: 0.14 to 0.22, dimmed 1.2, wall 0.8
MOST_SEAM = 0.5  # of the noise: 0.08 to 0.15, dimmed 0.23, wall 0.42
# The just noticeable difference of lightness and colour is about 1; the JPEG 0.001 and 0.07, a block 0.3.
MOST_TONE, MOST_COLOUR = 1.0, 1.0
MOST_BLOCK_COLOUR = 5.0
MOST_OVERSHOOT, MOST_RISE = 0.03, 1.15  # 0.00 and 1.02, wall 1.05
# Share of the noise that is left, from which hardly any was removed.
MOST_LEFT = 0.95
# L*: rounding to 8 bits alone gives up to 0.1.
LEAST_NOISE = 0.1


def likely_causes(
    background: Background | None,
    residual: Residual,
    seams: Seams | None,
    photograph: Photograph | None,
    *,
    denoised: bool,
) -> tuple[str, ...]:
    """Say what is far from its expected value, and why it may be; empty where nothing is.

    Parameters
    ----------
    denoised
        Whether the task was to remove noise, so that a residual of nothing is odd.
    """
    sentences = [*_of_residual(residual, denoised)]
    if residual.by_place is not None:
        sentences += _of_places(residual.by_place)
    # in a photograph the background is its median tone, which the blocks of tone judge better
    if background is not None and photograph is None:
        sentences += _of_background(background)
    if seams is not None:
        sentences += _of_seams(seams)
    if photograph is not None:
        sentences += _of_photograph(photograph, denoised)
    return tuple(sentences)


def _of_residual(residual: Residual, denoised: bool) -> Iterator[str]:
    chi2 = residual.chi2
    # a residual of a little noise follows the noise that was left
    little = chi2 is not None and chi2 < LEAST_CHI2
    follows = None if little else residual.with_estimate
    if follows is not None and follows > MOST_CORRELATION:
        yield (
            f"the residual follows the estimate (correlation {follows:.2f}, at most {MOST_CORRELATION:g} is "
            "expected): structure was removed; look at the residual, raise fit.iterations, or lower "
            "fit.guard where it is set"
        )
    elif follows is not None and follows < -MOST_CORRELATION:
        yield (
            f"the residual runs against the estimate (correlation {follows:.2f}, at least "
            f"{-MOST_CORRELATION:g} is expected): structure was made stronger than it was measured"
        )
    yield from _of_neighbours(residual)
    if chi2 is not None and chi2 > MOST_CHI2:
        yield (
            f"the residual is {chi2**0.5:.2g} times the noise (chi2 {chi2:.3g}, 1 is expected): structure "
            "was removed, or the noise was taken for less than it is; give noise.sigma"
        )
    if chi2 is not None and chi2 < LEAST_CHI2 and denoised:
        yield (
            f"hardly anything was removed (chi2 {chi2:.2g}, 1 is expected): the noise was taken for "
            "structure, or for more than it is; give noise.sigma"
        )
    lost = _worst_level(residual.by_level)
    if lost is not None and lost.mean is not None:
        yield (
            f"pixels {lost.limits} lost {lost.mean:.2f} standard deviations of the noise on average, at "
            f"most {MOST_LOST:g} is expected: structure was dimmed, or the noise there is stronger than was "
            "found; raise fit.iterations, or lower fit.guard where it is set"
        )


def _of_neighbours(residual: Residual) -> Iterator[str]:
    lags, expected = (residual.lag1_rows, residual.lag1_columns), residual.lag1_expected
    known = [lag for lag in lags if lag is not None]
    if not known or expected is None:
        return
    lag = max(known)
    if lag - expected > MOST_LAG1:
        yield (
            f"neighbours in the residual are alike (correlation {lag:.2f}, {expected:.2f} is expected): "
            "structure was removed, or the noise is more correlated than was found; try "
            "noise.correlation=correlated"
        )
    if min(known) - expected < LEAST_LAG1:
        yield (
            f"neighbours in the residual are unlike (correlation {min(known):.2f}, {expected:.2f} is "
            "expected): the coarse part of the noise was left in the image"
        )


def _worst_level(levels: tuple[LevelChi2, ...]) -> LevelChi2 | None:
    """The level that lost most light, if that is more than is expected."""
    lost = [one for one in levels if one.mean is not None and one.mean > MOST_LOST]
    return max(lost, key=lambda one: one.mean or 0.0, default=None)


def _of_places(places: PlaceChi2) -> Iterator[str]:
    high, median, at = places.high, places.median, places.highest_at
    if high is None or at is None or not median or high < MOST_UNEVEN * median:
        return
    yield (
        f"chi2 is {high:.3g} in the part from row {at[0]}, column {at[1]}, and {median:.3g} in most parts: "
        "structure was removed there, or its noise is higher; give --variance if the noise is uneven"
    )


def _of_background(background: Background) -> Iterator[str]:
    shift = background.shift
    if shift is not None and abs(shift) > MOST_SHIFT:
        yield (
            f"the background moved by {shift:+.2f} standard deviations of its noise, 0 is expected: light "
            f"was {'added to' if shift > 0 else 'lost from'} the sky; check saturated or masked areas"
        )


def _of_seams(seams: Seams) -> Iterator[str]:
    share = seams.share_of_noise
    if share is not None and share > MOST_SEAM:
        yield (
            f"neighbouring tiles differ by {share:.2f} of the noise, at most {MOST_SEAM:g} is expected: they "
            "were fitted too briefly or see too little of each other; raise fit.iterations or tiles.halo"
        )


def _of_photograph(photograph: Photograph, denoised: bool) -> Iterator[str]:
    tone, colour = photograph.tone, photograph.colour
    if abs(tone.shift) > MOST_TONE:
        yield (
            f"the image became {'lighter' if tone.shift > 0 else 'darker'} by {abs(tone.shift):.2g} L* on "
            f"average, at most {MOST_TONE:g} is expected: values may be cut off at black or white"
        )
    if colour.mean_difference > MOST_COLOUR:
        yield (
            f"colours changed by {colour.mean_difference:.2g} dE2000 on average, at most {MOST_COLOUR:g} is "
            "expected: one channel was restored otherwise than the others"
        )
    if colour.largest_difference > MOST_BLOCK_COLOUR:
        row, column = tone.largest_at
        yield (
            f"the colour of a block changed by {colour.largest_difference:.2g} dE2000, at most "
            f"{MOST_BLOCK_COLOUR:g} is expected: an area was taken for noise or for a defect; the largest "
            f"change of tone is at row {row}, column {column}"
        )
    if photograph.edges is not None:
        yield from _of_edges(photograph.edges)
    if photograph.noise is not None and denoised:
        yield from _of_noise(photograph.noise)


def _of_edges(edges: Edges) -> Iterator[str]:
    over = max(
        edges.overshoot_after - edges.overshoot_before,
        edges.undershoot_after - edges.undershoot_before,
    )
    if over > MOST_OVERSHOOT:
        yield (
            f"edges overshoot by {over:.0%} of their height more than before, at most {MOST_OVERSHOOT:.0%} "
            "is expected: the restoration made halos"
        )
    if edges.rise_after > MOST_RISE * edges.rise_before:
        yield (
            f"edges rise over {edges.rise_after:.2f} pixels, {edges.rise_before:.2f} before: they were "
            "softened; raise fit.iterations, or mix a share of the input back with --strength"
        )


def _of_noise(noise: PatchNoise) -> Iterator[str]:
    if noise.before > LEAST_NOISE and noise.after > MOST_LEFT * noise.before:
        yield (
            f"flat patches have {noise.after:.2g} L* of noise, {noise.before:.2g} before: hardly any was "
            "removed; it was taken for texture, or there is none"
        )
