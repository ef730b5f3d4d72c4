"""What is measured on what: each study yields image, method and figures, one method after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from astropy.io import fits
from PIL import Image
from rivals import (
    Method,
    back_projected,
    biharmonic,
    bm3d,
    colour_variation,
    enlarged,
    gaussian,
    in_anscombe,
    joint_bilateral,
    levin,
    mean_over_shifts,
    median,
    nearest_hint,
    nlm,
    spread_hints,
    total_variation,
    unchanged,
)
from scipy import ndimage
from skimage import data as skimage_data
from skimage import io

from glassplate.models.colour import add_chroma, srgb_from_linear, srgb_to_lab
from glassplate.models.metrics import flux_ratio, mse, psnr

SIGMA = 25 / 255
CHANNEL_SIGMAS = np.array([10, 20, 40]) / 255
"""Noise of the channels of `channels`, in another order for each image."""
Wanted = Callable[[str], bool]
"""Whether an image, by its name, is to be measured."""
Study = Callable[[Path, dict[str, Method], Wanted], Iterator[tuple[str, str, dict[str, Any]]]]


def set9(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Photographs with white noise of 25/255, clipped; PSNR over all channels, result clipped."""
    paths = sorted((data / "std" / "set9").glob("*.png"))
    yield from with_white_noise({path.stem: path for path in paths}, ours, wanted)


def textures(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same of Kodak's photographs up to 12 that are not in Set9, and of grey images of fine texture."""
    images: dict[str, Path | np.ndarray] = {
        "barbara": data / "std" / "dip" / "restoration__barbara.png",
        "brick": skimage_data.brick(),
        "camera": skimage_data.camera(),
    }
    for number in range(4, 12):
        name = f"kodim{number:02}"
        images[name] = data / "std" / "kodak24" / f"{name}.png"
    yield from with_white_noise(images, ours, wanted)


def channels(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Four of Kodak's photographs with white noise of another standard deviation in each channel."""
    for number in (4, 5, 7, 8):
        name = f"kodim{number:02}"
        if not wanted(name):
            continue
        clean, crop = central(
            io.imread(data / "std" / "kodak24" / f"{name}.png").transpose(2, 0, 1) / 255
        )
        sigmas = np.roll(CHANNEL_SIGMAS, number)
        noise = np.random.default_rng(number).normal(0, 1, clean.shape)
        noisy = clean + sigmas[:, None, None] * noise
        methods = {"noisy": unchanged, "BM3D, each sigma": bm3d(sigmas), **ours}
        for title, method in methods.items():
            result, facts, spent = timed(method, noisy)
            each = [psnr(*planes, 1.0) for planes in zip(result, clean, strict=True)]
            figures = {"psnr_db": psnr(result, clean, 1.0), "channels_db": each, "crop": crop}
            yield name, title, {**figures, **spent, **facts}


def with_white_noise(
    images: Mapping[str, Path | np.ndarray], ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Crops of 8-bit images, grey or of three channels, with white noise of 25/255."""
    methods = {"noisy": unchanged, "NLM": nlm(SIGMA, 0.6), "BM3D": bm3d(SIGMA), **ours}
    for title, image in images.items():
        if not wanted(title):
            continue
        levels = io.imread(image) if isinstance(image, Path) else image
        clean, crop = central(np.atleast_3d(levels).transpose(2, 0, 1) / 255)
        noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape[1:] + clean.shape[:1])
        noisy = np.clip(clean + noise.transpose(2, 0, 1), 0, 1)
        for name, method in methods.items():
            result, facts, spent = timed(method, noisy)
            figures = {"psnr_db": psnr(np.clip(result, 0, 1), clean, 1.0), "crop": crop}
            figures |= calibration(result, clean, facts)
            yield title, name, {**figures, **spent, **facts}


def whole(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same photographs uncropped, those of several tiles, with the same noise."""
    methods = {"noisy": unchanged, "NLM": nlm(SIGMA, 0.6), "BM3D": bm3d(SIGMA), **ours}
    for path in sorted((data / "std" / "set9").glob("*.png")):
        clean = io.imread(path).transpose(2, 0, 1) / 255
        if not wanted(path.stem) or min(clean.shape[1:]) <= 256:
            continue
        noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape[1:] + clean.shape[:1])
        noisy = np.clip(clean + noise.transpose(2, 0, 1), 0, 1)
        for name, method in methods.items():
            result, facts, spent = timed(method, noisy)
            decibel = psnr(np.clip(result, 0, 1), clean, 1.0)
            yield path.stem, name, {"psnr_db": decibel, **spent, **facts}


def central(image: np.ndarray, side: int = 256) -> tuple[np.ndarray, list[int]]:
    """Rows and columns 128 to 384 where there are so many, else the centre; with the crop's edges."""
    edges = []
    for size in image.shape[1:]:
        start = 128 if size >= 128 + side else max(0, (size - side) // 2)
        edges += [start, min(start + side, size)]
    return image[:, edges[0] : edges[1], edges[2] : edges[3]], edges


def inpaint(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Photographs with holes: PSNR of what is filled alone, and of the image it completes."""
    methods = {"biharmonic": biharmonic, **ours}
    for name, clean, missing in holed(data / "std"):
        if not wanted(name):
            continue
        image = np.where(missing, np.nan, clean)
        for method_name, method in methods.items():
            result, facts, spent = timed(method, image)
            painted = np.clip(np.where(missing, result, clean), 0, 1)
            inside = np.broadcast_to(missing, clean.shape)
            figures = {
                "hole_psnr_db": psnr(painted[inside], clean[inside], 1.0),
                "psnr_db": psnr(painted, clean, 1.0),
                "missing": float(missing.mean()),
                **calibration(result, clean, facts, inside),
            }
            yield name, method_name, {**figures, **spent, **facts}


def guided(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A dim exposure with a better lit one of the same scene; a spot of light is in the guide alone.

    The dim one has Poisson noise of 40 electrons at white and a read noise of 3 of them. The guide is the
    grey image under light that falls off to the right, with a round spot that the scene has not, and noise
    of 2/255. The joint bilateral filter is given the best of three widths, by the truth. `leak` is the error
    that looks like the spot, as a share of it.
    """
    for name in ("F16_GT", "kodak12", "lena"):
        if not wanted(name):
            continue
        photograph = io.imread(data / "std" / "set9" / f"{name}.png").transpose(2, 0, 1) / 255
        clean, _ = central(photograph)
        rng = np.random.default_rng(0)
        dim = (rng.poisson(40 * clean) + rng.normal(0, 3, clean.shape)) / 40
        y, x = np.mgrid[: clean.shape[1], : clean.shape[2]]
        spot = 0.3 * np.exp(-((y - 90) ** 2 + (x - 150) ** 2) / (2 * 12**2))
        guide = clean.mean(0) * (1.2 - x / 400) + spot + rng.normal(0, 2 / 255, clean.shape[1:])
        filters = {
            f"joint bilateral {width}": joint_bilateral(guide, width)
            for width in (0.03, 0.06, 0.12)
        }
        methods = {"noisy": unchanged, "NLM": nlm(0.1, 0.6), **filters, **ours}
        for method_name, method in methods.items():
            facing = np.concatenate([dim, guide[None]]) if method_name in ours else dim
            result, facts, spent = timed(method, facing)
            error = result - clean
            centred = spot - spot.mean()
            leak = float((error.mean(0) * centred).sum() / (centred**2).sum())
            figures = {"psnr_db": psnr(np.clip(result, 0, 1), clean, 1.0), "leak": leak}
            yield name, method_name, {**figures, **spent, **facts}


def deartifact(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """JPEGs of photographs at three qualities: PSNR over all channels, result clipped.

    128x128 pixels, saved by libjpeg with colours at every second pixel. NLM and TV are given the best of
    several strengths for each image, by the truth; our own method the file.
    """
    for name, path in (
        ("barbara, grey", data / "std" / "dip" / "restoration__barbara.png"),
        ("lena", data / "std" / "set9" / "lena.png"),
        ("kodim05", data / "std" / "kodak24" / "kodim05.png"),
        ("F16_GT", data / "std" / "set9" / "F16_GT.png"),
    ):
        if not wanted(name):
            continue
        clean = np.atleast_3d(io.imread(path)).transpose(2, 0, 1)[:, 160:288, 160:288]
        for quality in (10, 20, 40):
            stored = clean[0] if len(clean) == 1 else clean.transpose(1, 2, 0)
            raw = imagecodecs.jpeg_encode(stored, level=quality)
            decoded = np.atleast_3d(imagecodecs.jpeg_decode(raw)).transpose(2, 0, 1) / 255
            tried = {
                "JPEG": [unchanged],
                "NLM": [nlm(0, strength=n / 255) for n in (2, 4, 6, 8, 10, 14, 18)],
                "TV": [colour_variation(n / 255) for n in (1, 2, 4, 6, 8, 12, 16)],
                "mean over shifts": [mean_over_shifts(quality)],
                **{method_name: [method] for method_name, method in ours.items()},
            }
            for method_name, methods in tried.items():
                facing = np.frombuffer(raw, np.uint8) if method_name in ours else decoded
                runs = [timed(method, facing) for method in methods]
                decibels_of = [psnr(np.clip(x, 0, 1), clean / 255, 1.0) for x, _, _ in runs]
                best = int(np.argmax(decibels_of))
                _, facts, spent = runs[best]
                figures = {"psnr_db": decibels_of[best], **spent, **facts}
                yield f"{name}, {quality}", method_name, figures


def colorize(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Photographs of which the lightness and squares of 3x3 true colours at random places are known.

    PSNR of a and b against a range of 200, and the mean CIE 1976 difference. All methods' chroma is shown
    beside the same lightness, as far as a screen can. The Gaussian is given the best of several widths, by
    the truth.
    """
    std = data / "std"
    for name, path in (
        ("F16_GT", std / "set9" / "F16_GT.png"),
        ("lena", std / "set9" / "lena.png"),
        ("kodim05", std / "kodak24" / "kodim05.png"),
    ):
        for share in (0.01, 0.03):
            if not wanted(name):
                continue
            rgb = io.imread(path)[160:288, 160:288].transpose(2, 0, 1)
            lab = srgb_to_lab(rgb / 255)
            light = np.where(lab[0] > 8, ((lab[0] + 16) / 116) ** 3, lab[0] / 903.2963)
            grey = np.rint(255 * srgb_from_linear(light)) / 255
            known, rng = np.zeros(grey.shape, bool), np.random.default_rng(0)
            for y, x in rng.integers(0, 126, (round(share * known.size / 9), 2)):
                known[y : y + 3, x : x + 3] = True
            hinted = np.stack([lab[0], *np.where(known, lab[1:], np.nan)])
            tried = {
                "grey": [lambda hinted: (0 * hinted[1:], {})],
                "nearest": [nearest_hint],
                "Gaussian": [spread_hints(radius) for radius in (2, 3, 5, 8, 12)],
                "Levin": [levin],
                **{method_name: [method] for method_name, method in ours.items()},
            }
            for method_name, methods in tried.items():
                painted = np.concatenate([rgb, 255 * known[None]]).astype("f8")
                facing = np.concatenate([255 * grey[None], painted])
                facing = facing if method_name in ours else hinted
                runs = [timed(method, facing) for method in methods]
                shown = [
                    srgb_to_lab(add_chroma(grey, np.nan_to_num(x)) if len(x) == 2 else x)
                    for x, _, _ in runs
                ]
                told = [psnr(x[1:], lab[1:], 200.0) for x in shown]
                best = int(np.argmax(told))
                _, facts, spent = runs[best]
                difference = float(np.sqrt(((shown[best] - lab) ** 2).sum(0)).mean())
                figures = {"chroma_psnr_db": told[best], "delta_e": difference}
                yield f"{name}, {share:.0%}", method_name, {**figures, **spent, **facts}


def holed(std: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image ``(c, y, x)`` in [0, 1] and missing pixels ``(y, x)``, all of 256x256.

    Half of the pixels of a texture; the text, the hole and the large pieces of the masks of the DIP
    paper, laid over photographs of which the truth is known.
    """
    texture = io.imread(std / "dip" / "restoration__barbara.png")[None] / 255
    half = np.random.default_rng(0).random((256, 256)) < 0.5
    yield "barbara, half", texture[:, 128:384, 256:512], half
    for mask, photograph, rows, columns in (
        ("kate", "F16_GT", 128, 128),
        ("vase", "kodak12", 32, 32),
        ("library", "kodak1", 128, 256),
    ):
        drawn = io.imread(std / "dip" / f"inpainting__{mask}_mask.png")
        drawn = drawn if drawn.ndim == 2 else drawn[..., :3].mean(-1)
        missing = drawn[rows : rows + 256, columns : columns + 256] < 128
        clean = io.imread(std / "set9" / f"{photograph}.png").transpose(2, 0, 1) / 255
        yield f"{photograph}, {mask}", clean[:, 128:384, 128:384], missing


def superres(folder: str, scale: int) -> Study:
    """Photographs made smaller by Pillow's antialiased bicubic filter, 8 bits, as the literature does it.

    PSNR of the Y channel (BT.601, rounded to 8 bits), `scale` pixels of the border left out, as there.
    `agreement` is what is left of the measurement's residual, in 8-bit levels.
    """

    def study(
        data: Path, ours: dict[str, Method], wanted: Wanted
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        methods = {
            "bicubic": enlarged(Image.Resampling.BICUBIC, scale),
            "Lanczos": enlarged(Image.Resampling.LANCZOS, scale),
            "back-projected": back_projected(scale),
            **ours,
        }
        for path in sorted((data / "std" / folder).glob("*.png")):
            if not wanted(path.stem):
                continue
            image = Image.open(path).convert("RGB")
            width, height = (n // scale for n in image.size)
            image = image.crop((0, 0, width * scale, height * scale))
            small = image.resize((width, height), Image.Resampling.BICUBIC)
            truth, y = (np.asarray(i).transpose(2, 0, 1) / 255 for i in (image, small))
            for name, method in methods.items():
                result, facts, spent = timed(method, y)
                inner = np.s_[scale:-scale, scale:-scale]
                seen = Image.fromarray(as_bytes(result)).resize(
                    small.size, Image.Resampling.BICUBIC
                )
                off = np.asarray(seen).transpose(2, 0, 1) / 255 - y
                figures = {
                    "y_psnr_db": psnr(luma(result)[inner], luma(truth)[inner], 255.0),
                    "agreement": 255 * float(np.sqrt(np.mean(off**2))),
                    "size": [height * scale, width * scale],
                }
                yield path.stem, name, {**figures, **spent, **facts}

    return study


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 as MATLAB's rgb2ycbcr has it, from 8-bit values; (3, y, x) in [0, 1] to (y, x)."""
    levels = as_bytes(image).transpose(2, 0, 1).astype(np.float64)
    return 16 + np.tensordot([65.481, 128.553, 24.966], levels, 1) / 255


def as_bytes(image: np.ndarray) -> np.ndarray:
    """(c, y, x) in [0, 1] to (y, x, c) of 8 bits."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def impulse(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Crops of 128x128 of which a tenth, and three tenths, of all values are black or white."""
    for name in ("F16_GT", "baboon", "kodak3", "lena"):
        photograph = io.imread(data / "std" / "set9" / f"{name}.png").transpose(2, 0, 1) / 255
        clean = photograph[:, 192:320, 192:320]
        for share in (0.1, 0.3):
            title = f"{name}, {share:.0%}"
            if not wanted(title):
                continue
            rng = np.random.default_rng(0)
            hit = rng.random(clean.shape) < share
            noisy = np.where(hit, rng.random(clean.shape) < 0.5, clean)
            methods = {"noisy": unchanged, "median 3x3": median(3), "median 5x5": median(5), **ours}
            for method_name, method in methods.items():
                result, facts, spent = timed(method, noisy)
                figures = {"psnr_db": psnr(np.clip(result, 0, 1), clean, 1.0)}
                yield title, method_name, {**figures, **spent, **facts}


def xmm(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """X-ray counts of 20 ks against the independent rest of the exposure.

    The plain gain is that of the brightest sources; weighted by the inverse of the counts expected, it
    is that of the whole field.
    """
    methods = {
        "noisy": unchanged,
        "Gaussian 0.6 px": in_anscombe(gaussian(0.6)),
        "NLM": in_anscombe(nlm(1.0)),
        "TV": in_anscombe(total_variation(1.0)),
        **ours,
    }
    for path in sorted((data / "astro" / "pairs" / "xmm").glob("20ks_*")):
        field = path.name.split("_")[1]
        if not wanted(field):
            continue
        [whole] = path.parent.glob(f"full_{field}_*")
        (y, y_s), (full, full_s) = counts(path), counts(whole)
        scale = y_s / (full_s - y_s)
        truth, variance = (full - y) * scale, (full - y) * scale**2
        # the truth is Poisson: its counts are the estimate of its variance
        weight = 1 / (ndimage.gaussian_filter(full * y_s / full_s, (0, 3, 3)) + 0.05)
        before: tuple[float, float] | None = None
        for name, method in methods.items():
            x, facts, spent = timed(method, y)
            error = mse(x, truth) - float(variance.mean())
            weighted = float(np.mean(weight * ((x - truth) ** 2 - variance)))
            before = before or (error, weighted)
            figures = {
                "gain_db": decibels(before[0], error),
                "weighted_gain_db": decibels(before[1], weighted),
                "flux_ratio": flux_ratio(x, truth),
                "own_flux_ratio": flux_ratio(x, y),
            }
            yield field, name, {**figures, **spent, **facts}


def counts(path: Path) -> tuple[np.ndarray, float]:
    """Counts ``(1, y, x)`` and exposure in seconds."""
    with fits.open(path) as hdus:
        return np.asarray(hdus[0].data, np.float64)[None], float(hdus[0].header["EXPOSURE"])


def decam(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each of five resampled exposures of a night against the mean of the other four.

    The gain is that of the sky, where the seeing, which differs, does not matter; the flux that of the
    sources.
    """
    night = decam_night(data)
    sky, source = night.sky, night.source
    for place, exposure in enumerate(night.names):
        if not wanted(exposure):
            continue
        y, others = night.exposures[place], np.delete(night.exposures, place, 0)
        truth, variance = others.mean(0), others.var(0, ddof=1) / len(others)
        sigma = 1.4826 * np.median(np.abs(y - np.median(y)))
        methods = {
            "noisy": unchanged,
            "Gaussian 1.5 px": gaussian(1.5),
            "NLM": nlm(sigma),
            "TV": total_variation(sigma),
            **ours,
        }
        before = None
        for name, method in methods.items():
            x, facts, spent = timed(method, y)
            error = mse(x, truth, sky) - float(variance[sky].mean())
            before = before or error
            figures = {
                "gain_db": decibels(before, error),
                "flux_ratio": flux_ratio(x, truth, source),
                "own_flux_ratio": flux_ratio(x, y, source),
            }
            yield exposure, name, {**figures, **spent, **facts}


def exposures(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Three exposures of a night together against the mean of the other two.

    The gain is over their plain mean, on the sky, and on the sky and the sources; NLM and TV get that mean
    and are told its noise. Ours get the three.
    """
    night = decam_night(data)
    for name in ("abc", "abd", "bcd"):
        if not wanted(name):
            continue
        places = ["abcde".index(letter) for letter in name]
        three, others = night.exposures[places], np.delete(night.exposures, places, 0)
        truth, variance = others.mean(0), others.var(0, ddof=1) / len(others)
        mean = three.mean(0)
        sigma = 1.4826 * np.median(np.abs(mean - np.median(mean)))
        methods = {
            "plain mean": unchanged,
            "Gaussian 1.5 px": gaussian(1.5),
            "NLM": nlm(sigma),
            "TV": total_variation(sigma),
            **ours,
        }
        before = None
        for method_name, method in methods.items():
            x, facts, spent = timed(method, three[:, 0] if method_name in ours else mean)
            errors = [
                mse(x, truth, where) - float(variance[where].mean())
                for where in (night.sky, night.sky | night.source)
            ]
            before = before or errors
            figures = {
                "gain_db": decibels(before[0], errors[0]),
                "whole_gain_db": decibels(before[1], errors[1]),
                "flux_ratio": flux_ratio(x, truth, night.source),
                "own_flux_ratio": flux_ratio(x, mean, night.source),
            }
            yield name, method_name, {**figures, **spent, **facts}


def judged(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where a fit to one exposure is stopped, by held-out pixels and by a second exposure.

    A square of 128x128 pixels of each of three exposures, judged by the next one where one judges, against
    the mean of the other three, which nothing has seen. `lost_db` is what the best record of the same fit
    would have been better by.
    """
    night = decam_night(data)
    square = (..., slice(64, 192), slice(64, 192))
    sky = night.sky[square]
    for place, name in enumerate("abc"):
        if not wanted(name):
            continue
        pair = night.exposures[[place, place + 1], 0]
        others = np.delete(night.exposures, [place, place + 1], 0)[square]
        truth, variance = others.mean(0), others.var(0, ddof=1) / len(others)
        before = mse(pair[:1][square], truth, sky) - float(variance[sky].mean())
        for method_name, method in ours.items():
            x, facts, spent = timed(method, pair[square])
            looks = facts.pop("looks")
            gains = {
                iteration: decibels(before, mse(look, truth, sky) - float(variance[sky].mean()))
                for iteration, look in looks.items()
            }
            chosen = facts["best_iteration"]
            best = max(gains, key=lambda iteration: gains[iteration] or 0)
            figures = {
                "gain_db": gains[chosen],
                "lost_db": gains[best] - gains[chosen],
                "oracle_iteration": best,
                "gains_db": gains,
                "flux_ratio": flux_ratio(x, truth, night.source[square]),
            }
            yield name, method_name, {**figures, **spent, **facts}


@dataclass(frozen=True)
class Night:
    """Five resampled DECam exposures on one grid, and where their stack has sky and sources."""

    exposures: np.ndarray
    """(5, 1, y, x)"""
    sky: np.ndarray
    """(1, y, x) bool"""
    source: np.ndarray
    """(1, y, x) bool"""
    names: tuple[str, ...]


def decam_night(data: Path) -> Night:
    """Read the night OBS04."""
    folder = data / "astro" / "pairs" / "decam_i_2nights"
    paths = sorted(folder.glob("DEC-OBS04?.mini.fits"))
    images = np.stack([np.asarray(fits.getdata(path), np.float64) for path in paths])[:, None]
    stack = np.asarray(fits.getdata(folder / "Stack-DEC-OBS04.fits"), np.float64)[None]
    spread = 1.4826 * np.median(np.abs(stack - np.median(stack)))
    smooth = ndimage.gaussian_filter(stack, (0, 1, 1))
    names = tuple(path.name.split(".")[0][-1] for path in paths)
    return Night(images, smooth < 3 * spread, smooth > 5 * spread, names)


def calibration(
    result: np.ndarray, truth: np.ndarray, facts: dict[str, Any], where: Any = ...
) -> dict[str, Any]:
    """Share of errors within one and two of the standard deviations stated; takes these out of the facts.

    Of normal errors well stated, 0.683 and 0.954.
    """
    stated = facts.pop("uncertainty", None)
    if stated is None:
        return {}
    within = np.abs(result - truth)[where] / stated[where]
    return {f"inside_{n}": float((within <= n).mean()) for n in (1, 2)}


def decibels(before: float, after: float) -> float | None:
    """Gain in mean squared error; None where the reference's noise exceeds what is left."""
    return 10 * float(np.log10(before / after)) if before > 0 and after > 0 else None


def timed(method: Method, image: np.ndarray) -> tuple[np.ndarray, dict[str, Any], dict[str, float]]:
    """Apply a method; seconds of the clock and of the processor, which a busy machine does not lengthen."""
    clock, processor = time.perf_counter(), time.process_time()
    result, facts = method(image)
    spent = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}
    return result, facts, {key: round(value, 3) for key, value in spent.items()}
