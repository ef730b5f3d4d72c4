"""Memory and disk that a plan needs: projected before anything runs, and refused where they do not fit."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from glassplate.models.fit.memory import projected_bytes, weight_bytes
from glassplate.pipeline.companions.exposures import EXPOSURE_BYTES
from glassplate.pipeline.errors import CapacityError, NoRoomError
from glassplate.pipeline.planning.stacking.network_stacking import with_stacking
from glassplate.pipeline.planning.stacking.network_stacking_record import Stacking
from glassplate.pipeline.planning.windows_in_memory import most_at_hand, most_restored
from glassplate.pipeline.pools.cluster import workers_on
from glassplate.pipeline.pools.open_pool import gpu_count, is_address
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.sources.sample_windows import WINDOW

if TYPE_CHECKING:
    from glassplate.pipeline.planning.plan import Plan

GIB = 2**30

# Smallest core that a refusal proposes: with a halo of 32 pixels, three quarters of its window are halo.
LEAST_CORE = 64

# Resident memory of a worker that has imported its libraries and done no work yet. Measured: 300 to 360 MiB
# with torch, zarr and astropy, the most with distributed too.
PROCESS_BYTES = 370 * 2**20

# Bytes for a pixel and channel of a strip that is blended: float64 sums and images, weights, the input and
# its validity.
BLEND_BYTES_PER_PIXEL = 64

# Bytes for a pixel of the estimate whose residual is computed: the blend, and in float64 its copy with a
# border, two spectra, their inverse transform, and the spectrum of the PSF, which is kept.
OPERATOR_BYTES_PER_PIXEL = BLEND_BYTES_PER_PIXEL + 64

# Bytes for a pixel of a strip that is coloured: float64 lightness, chroma, XYZ, RGB and temporaries.
COLOUR_BYTES_PER_PIXEL = 200

# Bytes for a pixel and plane of a window of the guide: as it is read, its validity, scaled in float64 and
# float32.
GUIDE_BYTES_PER_PIXEL = 24

# Bytes for a pixel and channel of a window in memory, beside its values as they are read: float32 values for
# the fit, validity, detected defects, variance, the exposure that is kept from the fit.
WINDOW_BYTES_PER_PIXEL = 14

# Bytes for a pixel and channel of a window of the donor, all of which are in memory: values, variance, valid
# map, another exposure.
DONOR_BYTES_PER_PIXEL = 14


@dataclass(frozen=True)
class Capacity:
    """Projected memory and disk of a run."""

    host_bytes: int
    """Peak memory of the command and its workers together."""
    device_bytes: int
    """Peak memory of one worker on its GPU; 0 on the CPU."""
    disk_bytes: int
    """Disk that the result takes, uncompressed, and its scratch windows."""
    stages: dict[str, int]
    """Peak memory of one worker at each stage, beyond `PROCESS_BYTES`."""


def project(plan: Plan, *, workers: int) -> Capacity:
    """Project the memory and disk of a plan.

    Parameters
    ----------
    workers
        Worker processes; with 1 the command does the work itself.
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
        # A reaches beyond the strip on both sides, twice as far where the border is extended
        reach = 4 * plan.operator.support
        rows, columns = layout.chunk + reach, min(layout.shard_side, layout.shape[2]) + reach
        stitching += rows * columns * channels * OPERATOR_BYTES_PER_PIXEL
    stages = {
        "restore": _restoring(plan) + (fitting if on_cpu else _weights(plan)) + plan.resident_bytes,
        "stitch": stitching + plan.resident_bytes,
        "pyramid": shard_pixels * itemsize * 3 + strip_pixels * 4 * BLEND_BYTES_PER_PIXEL,
    }
    if plan.warm:
        pixels = plan.donor_settings.windows * (channels + plan.guide_channels) * WINDOW**2
        windows = pixels * DONOR_BYTES_PER_PIXEL
        fit = projected_bytes(plan.donor_problem, (channels, WINDOW, WINDOW), 1)
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
    """Bytes that the fits of a batch take on the device."""
    if not plan.fits:
        return 0
    at_hand = most_at_hand(plan.numerics.stack, plan.batch_size)
    return projected_bytes(plan.tile_problem, plan.grid.window_shape, at_hand)


def _weights(plan: Plan) -> int:
    """Bytes that networks on a GPU take on the host: the donor's, and one that is being made."""
    if not plan.fits:
        return 0
    return 2 * weight_bytes(plan.problem, plan.grid.window_shape[0])


def _restoring(plan: Plan) -> int:
    """Bytes that the windows of a batch take on the host: one is read, one written, others wait."""
    channels, height, width = plan.grid.window_shape
    stack, tiles = plan.numerics.stack, plan.batch_size
    pixels = height * width
    window = channels * pixels * np.dtype(plan.working_dtype).itemsize
    guide = GUIDE_BYTES_PER_PIXEL * plan.guide_channels * pixels
    reading = window * 6 + guide + _inspecting(plan, (height, width))
    each = window + WINDOW_BYTES_PER_PIXEL * channels * pixels + guide
    others = (most_at_hand(stack, tiles) - 1) * each
    # two more for the one being written: joined with its uncertainty, and as the bytes of its file
    restored = (most_restored(stack, tiles) + 2) * _restored_bytes(plan)
    return reading + others + restored


def _restored_bytes(plan: Plan) -> int:
    """Bytes of a restored window and its uncertainty."""
    channels, height, width = plan.grid.window_shape
    pixels = channels * height * width * plan.layout.scale**2
    return pixels * np.dtype(plan.working_dtype).itemsize * (1 + plan.layout.uncertain)


def _inspecting(plan: Plan, shape: tuple[int, int]) -> int:
    """Bytes that combining exposures and finding defects take while a region ``(h, w)`` is read."""
    detector = plan.findings.detector
    channels = plan.grid.window_shape[0]
    finding = 0 if detector is None else detector.projected_bytes(shape, channels)
    count = len(plan.spec.exposures)
    height, width = (side + 2 * (detector.margin if detector else 0) for side in shape)
    joining = EXPOSURE_BYTES * (1 + count) * channels * height * width if count else 0
    return finding + joining


def check_capacity(plan: Plan, store: Path, pool: Pool) -> None:
    """Refuse a plan that does not fit into memory or on the disk.

    Raises
    ------
    CapacityError
        Naming what is projected, what is available, and what to lower.
    """
    capacity = project(plan, workers=pool.workers)
    _check_host(capacity, plan, pool.workers)
    # the GPUs of a scheduler elsewhere are not known here
    if capacity.device_bytes and not is_address(pool.name):
        _check_devices(capacity, plan, pool.workers)
    _check_disk(capacity, store)


def _check_host(capacity: Capacity, plan: Plan, workers: int) -> None:
    free = _free_bytes()
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


def _free_bytes() -> int:
    """Memory that the workers may have: what is free, and what those of this process hold already.

    Another image may be in their hands. The fits of this one follow its fits, and take the place of them.
    """
    free: int = psutil.virtual_memory().available
    for worker in multiprocessing.active_children():
        with suppress(psutil.NoSuchProcess):
            free += psutil.Process(worker.pid).memory_info().rss
    return free


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
        raise NoRoomError(
            f"{store}: projected {capacity.disk_bytes / GIB:.2f} GiB of disk exceed the "
            f"{room / GIB:.2f} GiB free in {folder}; free some or choose another -o"
        )


def device_memory(workers: int) -> tuple[int, ...]:
    """Total memory of each GPU that so many local workers would use, in bytes; empty without a GPU.

    The total and not the free memory: other programs may end or begin before a fit does, and a stack that
    finds too little is halved. Asking for the free memory would also open the GPU in this process, and lock
    out its workers where a GPU admits one process only.
    """
    gpus = min(workers, gpu_count("cuda"))
    return tuple(torch.cuda.get_device_properties(gpu).total_memory for gpu in range(gpus))


def overfilled(device_bytes: int, workers: int, memory: Sequence[int]) -> int | None:
    """Index of the first GPU that is too small for the workers that share it; None if all are large enough.

    Parameters
    ----------
    device_bytes
        Memory of each worker.
    workers
        Number of workers of a local pool.
    memory
        Memory of each GPU that they use.
    """
    for gpu, room in enumerate(memory):
        if workers_on(gpu, workers, len(memory)) * device_bytes > room:
            return gpu
    return None


def smaller_core(plan: Plan, workers: int, fits: Callable[[Plan], bool]) -> int | None:
    """Halve `tiles.core` until a plan fits, down to `LEAST_CORE`; return None where it never does."""
    setting = plan.recipe.tiles.stack
    # smaller tiles are more tiles, which may fill a stack that had too few
    stack = plan.numerics.stack if setting == "auto" else setting
    stacking = Stacking(stack, plan.numerics.together)
    core = plan.grid.core // 2
    while core >= LEAST_CORE:
        smaller = replace(plan, grid=replace(plan.grid, core=core))
        if fits(with_stacking(smaller, stacking, workers)):
            return core
        core //= 2
    return None


def _tiles_to_lower(plan: Plan, workers: int, fits: Callable[[Plan], bool]) -> list[str]:
    """Settings of the tiles that could be lowered so that a plan fits."""
    stack, core = plan.numerics.stack, smaller_core(plan, workers, fits)
    ways = [] if stack == 1 else [f"tiles.stack from {stack}"]
    return [*ways, f"tiles.core from {plan.grid.core}" + ("" if core is None else f" to {core}")]


def _either(ways: Sequence[str]) -> str:
    *others, last = ways
    return f"{', '.join(others)} or {last}" if others else last
