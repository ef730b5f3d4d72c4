"""What a fit takes: memory by formula, proved against measurement in the tests."""

from __future__ import annotations

from glassplate.models.problem import Problem


def projected_bytes(problem: Problem, window_shape: tuple[int, int, int], count: int) -> int:
    """Memory that one call of `fit_batch` takes beyond the bare process, from above.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of the largest window, in pixels of the measurement.
    count
        Windows of the batch; they are fitted one after another, so only their pixels add up.
    """
    c, h, w = window_shape
    s = problem.operator.scale
    pixels = h * w * s * s
    multiple = 2 ** (problem.network.scales + 1)
    rows, columns = (-(-n * s // multiple) * multiple for n in (h, w))
    padded = rows * columns
    wide, skip = problem.network.channels, problem.network.skip_channels
    bytes_each = 2 if problem.numerics.precision == "bf16" else 4
    features = 12 * (wide + skip) * bytes_each * padded * 4 // 3
    maps = 24 * c * 4 * pixels + 4 * problem.fit.input_depth * 4 * pixels
    return features + maps + 2 * count * c * pixels * 8 + (64 << 20)
