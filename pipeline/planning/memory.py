"""Memory and disk: projected before anything runs, and refused where they cannot fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from glassplate.models.fit.memory import projected_bytes, weight_bytes
from glassplate.pipeline.companions.exposures import EXPOSURE_BYTES
from glassplate.pipeline.dask_pool import workers_on
from glassplate.pipeline.errors import CapacityError
from glassplate.pipeline.open_pool import gpu_count, is_address
from glassplate.pipeline.planning.stack_record import Stacking
from glassplate.pipeline.planning.stacking import with_stacking
from glassplate.pipeline.planning.windows_in_memory import most_at_hand, most_restored
from glassplate.pipeline.pool import Pool
from glassplate.pipeline.sources.sample_windows import WINDOW

if TYPE_CHECKING:
    from glassplate.pipeline.planning.plan import Plan

GIB = 2**30

# Smallest core that is proposed: with the usual halo of 32 pixels three quarters of its window are context.
LEAST_CORE = 64

# Resident memory of a process that has imported what a worker needs, before it does any work
# (measured: 300 to 360 MiB with torch, zarr and astropy, the most with distributed too).
PROCESS_BYTES = 370 * 2**20

# Bytes of scratch memory for a pixel of a strip that is blended: float64 sums and images, weights,
# the input and its validity, for each channel.
BLEND_BYTES_PER_PIXEL = 64


# Bytes for a pixel of the estimate from which a residual is computed: the blend, and in float64 its copy
# with a border, two spectra, what comes back from them, and the spectrum of the PSF that is kept.
OPERATOR_BYTES_PER_PIXEL = BLEND_BYTES_PER_PIXEL + 64


# Bytes for a pixel of a strip that gets its colours: float64 light, chroma, XYZ, RGB and their temporaries.
COLOUR_BYTES_PER_PIXEL = 200

# Bytes for a pixel and plane of a window of the guide: as read, its validity, scaled in float64 and float32.
GUIDE_BYTES_PER_PIXEL = 24

# Bytes for a pixel and channel of a window at hand, beside its values as read: in float32 for the fit,
# validity, what a detector found, variance, witness.
WINDOW_BYTES_PER_PIXEL = 14

# Bytes kept for a pixel and channel of a window of the donor, which has all of them at hand: the
# measurement, its split, weights and input.
DONOR_BYTES_PER_PIXEL = 64


@dataclass(frozen=True)
class Capacity:
    """Projected use of a run."""

    host_bytes: int
    """Peak memory of the command and its workers together."""
    device_bytes: int
    """Peak memory of one worker on its GPU; 0 on the CPU."""
    disk_bytes: int
    """Disk below the result's folder, before compression, with the scratch windows."""
    stages: dict[str, int]
    """Peak memory of one worker at each stage, beyond the bare process."""


def project(plan: Plan, *, workers: int) -> Capacity:
    """Project the memory and disk of a plan.

    Parameters
    ----------
    workers
        Processes that work at once; 1 means the command does the work itself.
    """
    channels = plan.grid.window_shape[0]
    scale, layout = plan.layout.scale, plan.layout
    on_cpu = plan.numerics.device == "cpu"
    fitting = on_device = _fitting(plan)
    shard_side = min(layout.shard_side, max(layout.shape[1:]))
    shard_pixels = shard_side**2 * (channels + layout.alpha)
    strip_pixels = layout.chunk * min(layout.shard_side, layout.shape[2]) * channels
    itemsize = np.dtype(layout.dtype).itemsize
    extra = layout.fills + 4 * layout.uncertain
    stitching = shard_pixels * (itemsize + 8 + extra) * 2
    stitching += strip_pixels * BLEND_BYTES_PER_PIXEL * (1 + layout.uncertain)
    if plan.white is not None:
        stitching += strip_pixels // channels * COLOUR_BYTES_PER_PIXEL
    strip = (layout.chunk // scale, min(layout.shard_side, layout.shape[2]) // scale)
    stitching += _inspecting(plan, strip)
    if layout.mixes:
        # A looks beyond the strip, and twice as far where the border is repeated for it
        reach = 4 * plan.operator.support
        rows, columns = layout.chunk + reach, min(layout.shard_side, layout.shape[2]) + reach
        stitching += rows * columns * channels * OPERATOR_BYTES_PER_PIXEL
    stages = {
        "restore": _restoring(plan) + (fitting if on_cpu else _weights(plan)) + plan.resident_bytes,
        "stitch": stitching + plan.resident_bytes,
        "pyramid": shard_pixels * itemsize * 3 + strip_pixels * 4 * BLEND_BYTES_PER_PIXEL,
    }
    if plan.warm:
        pixels = plan.recipe.donor.windows * (channels + plan.guide_channels) * WINDOW**2
        windows = pixels * DONOR_BYTES_PER_PIXEL
        fit = projected_bytes(plan.problem, (channels, WINDOW, WINDOW), 1)
        stages["donor"] = windows + plan.resident_bytes + fit * on_cpu
        on_device = max(on_device, windows + fit)
    processes = 1 if workers == 1 else workers + 1
    host = processes * PROCESS_BYTES + workers * max(stages.values())
    scratch = len(plan.grid) * _restored_bytes(plan)
    return Capacity(
        host_bytes=int(host),
        device_bytes=0 if on_cpu else int(on_device),
        disk_bytes=int(layout.uncompressed_bytes + scratch),
        stages={name: int(value) for name, value in stages.items()},
    )


def _fitting(plan: Plan) -> int:
    """Memory of the device that the fits of a batch take."""
    if not plan.recipe.traits.fits:
        return 0
    at_hand = most_at_hand(plan.numerics.stack, plan.batch_size)
    return projected_bytes(plan.tile_problem, plan.grid.window_shape, at_hand)


def _weights(plan: Plan) -> int:
    """Memory of the host that networks on a GPU take: the donor's, and one that is made."""
    if not plan.recipe.traits.fits:
        return 0
    return 2 * weight_bytes(plan.problem, plan.grid.window_shape[0])


def _restoring(plan: Plan) -> int:
    """Memory that the windows of a batch take on the host: one is read, one written, others are at hand."""
    channels, height, width = plan.grid.window_shape
    stack, tiles = plan.numerics.stack, plan.batch_size
    pixels = height * width
    window = channels * pixels * np.dtype(plan.working_dtype).itemsize
    guide = GUIDE_BYTES_PER_PIXEL * plan.guide_channels * pixels
    reading = window * 6 + guide + _inspecting(plan, (height, width))
    each = window + WINDOW_BYTES_PER_PIXEL * channels * pixels + guide
    others = (most_at_hand(stack, tiles) - 1) * each
    # the one that is written is joined with its uncertainty, and again in a file's bytes
    restored = (most_restored(stack, tiles) + 2) * _restored_bytes(plan)
    return reading + others + restored


def _restored_bytes(plan: Plan) -> int:
    """Bytes of a restored window, with its uncertainty."""
    channels, height, width = plan.grid.window_shape
    pixels = channels * height * width * plan.layout.scale**2
    return pixels * np.dtype(plan.working_dtype).itemsize * (1 + plan.layout.uncertain)


def _inspecting(plan: Plan, shape: tuple[int, int]) -> int:
    """Memory that joining exposures and looking for defects take while a region of ``(h, w)`` is read."""
    detector = plan.spec.detector
    channels = plan.grid.window_shape[0]
    finding = 0 if detector is None else detector.projected_bytes(shape, channels)
    count = len(plan.spec.exposures)
    height, width = (side + 2 * (detector.margin if detector else 0) for side in shape)
    joining = EXPOSURE_BYTES * (1 + count) * channels * height * width if count else 0
    return finding + joining


def check_capacity(plan: Plan, store: Path, pool: Pool) -> None:
    """Refuse a plan that cannot fit.

    Raises
    ------
    CapacityError
        Naming what is projected, what there is, and what to lower.
    """
    capacity = project(plan, workers=pool.workers)
    _check_host(capacity, plan, pool.workers)
    # of the GPUs of workers elsewhere nothing is known here
    if capacity.device_bytes and not is_address(pool.name):
        _check_devices(capacity, plan, pool.workers)
    _check_disk(capacity, store)


def _check_host(capacity: Capacity, plan: Plan, workers: int) -> None:
    free = psutil.virtual_memory().available
    if capacity.host_bytes <= free:
        return

    def fits(other: Plan) -> bool:
        return project(other, workers=workers).host_bytes <= free

    ways = [
        "--workers",
        *_tiles_to_lower(plan, workers, fits),
        f"output.shard from {plan.recipe.output.shard}",
    ]
    raise CapacityError(
        f"{plan.spec.path}: projected memory {capacity.host_bytes / GIB:.1f} GiB for {workers} "
        f"worker(s) exceeds the {free / GIB:.1f} GiB that is free; lower {_either(ways)}"
    )


def _check_devices(capacity: Capacity, plan: Plan, workers: int) -> None:
    memory = device_memory(workers)
    gpu = overfilled(capacity.device_bytes, workers, memory)
    if gpu is None:
        return

    def fits(other: Plan) -> bool:
        needed = project(other, workers=workers).device_bytes
        return overfilled(needed, workers, memory) is None

    sharing = workers_on(gpu, workers, len(memory))
    ways = _tiles_to_lower(plan, workers, fits)
    if sharing > 1:
        ways.append(f"--workers from {workers}")
    raise CapacityError(
        f"{plan.spec.path}: projected memory {sharing * capacity.device_bytes / GIB:.1f} GiB for "
        f"{sharing} worker(s) of GPU {gpu} exceeds the {memory[gpu] / GIB:.1f} GiB that it has; "
        f"lower {_either(ways)}"
    )


def _check_disk(capacity: Capacity, store: Path) -> None:
    folder = next(parent for parent in store.absolute().parents if parent.is_dir())
    room = shutil.disk_usage(folder).free
    if capacity.disk_bytes > room:
        raise CapacityError(
            f"{store}: projected {capacity.disk_bytes / GIB:.2f} GiB of disk exceed the "
            f"{room / GIB:.2f} GiB free in {folder}; free some or choose another -o"
        )


def device_memory(workers: int) -> tuple[int, ...]:
    """Bytes of each GPU that so many local workers would use; none where torch sees no GPU.

    All that it has, whatever others take of it now: they may be gone when a fit begins, or come later, and
    a stack that finds too little is halved. To ask what is free would also open the GPU in this process,
    so that its workers could not where only one process may.
    """
    gpus = min(workers, gpu_count("cuda"))
    return tuple(torch.cuda.get_device_properties(gpu).total_memory for gpu in range(gpus))


def overfilled(device_bytes: int, workers: int, memory: Sequence[int]) -> int | None:
    """First GPU that is too small for the workers that share it; None where there is none.

    Parameters
    ----------
    device_bytes
        What each worker takes.
    workers
        Of a local pool.
    memory
        Bytes of each GPU that they use.
    """
    for gpu, room in enumerate(memory):
        if workers_on(gpu, workers, len(memory)) * device_bytes > room:
            return gpu
    return None


def smaller_core(plan: Plan, workers: int, fits: Callable[[Plan], bool]) -> int | None:
    """Largest halving of `tiles.core`, down to `LEAST_CORE`, with which a plan fits; None where none does."""
    wished = plan.recipe.tiles.stack
    # of smaller tiles there may be enough for a stack that was cut short
    stack = plan.numerics.stack if wished == "auto" else wished
    stacking = Stacking(stack, plan.numerics.together)
    core = plan.grid.core // 2
    while core >= LEAST_CORE:
        smaller = replace(plan, grid=replace(plan.grid, core=core))
        if fits(with_stacking(smaller, stacking, workers)):
            return core
        core //= 2
    return None


def _tiles_to_lower(plan: Plan, workers: int, fits: Callable[[Plan], bool]) -> list[str]:
    """What of the tiles could be lowered so that a plan fits."""
    stack, core = plan.numerics.stack, smaller_core(plan, workers, fits)
    ways = [] if stack == 1 else [f"tiles.stack from {stack}"]
    return [*ways, f"tiles.core from {plan.grid.core}" + ("" if core is None else f" to {core}")]


def _either(ways: Sequence[str]) -> str:
    *others, last = ways
    return f"{', '.join(others)} or {last}" if others else last
