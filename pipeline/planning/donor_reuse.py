"""Reuse of the donor of an earlier result, for the next exposure, frame or plane of the same scene.

Its weights are copied into the new result before anything is fitted, which from then on does not need the
earlier result.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from glassplate.models.fit.problem import Problem
from glassplate.models.fit.settings import DonorSettings, donor_network
from glassplate.models.networks.settings import NetworkSettings
from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.files import sha256_of, write_atomically
from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path
from glassplate.pipeline.provenance.identity import FileIdentity, file_identity
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.provenance.recorded_plan import RecordedDonor
from glassplate.pipeline.provenance.records import read_donor_records

WEIGHTS = "donor.npz"
BEFORE = "donor-before.npz"
"""File of the reused weights, in the provenance of the new result."""


@dataclass(frozen=True)
class Inherited:
    """The donor of an earlier result."""

    store: Path
    """The earlier result, as the user names it."""
    file: FileIdentity
    """Its file of weights."""
    network: Mapping[str, Any]
    """Settings of its network, as its manifest has them; an earlier release may have had other ones."""

    def recorded(self) -> RecordedDonor:
        """The donor in the manifest and in the summary of a plan."""
        return RecordedDonor(str(self.store.absolute()), self.file.sha256)


def find_donor(store: Path) -> Inherited:
    """Find the donor of a result.

    Raises
    ------
    UsageError
        If there is no such result, it has no donor, or its weights are damaged.
    """
    way_out = "name another result or drop --donor"
    try:
        manifest = read_manifest(store)
    except StoreError as error:
        raise UsageError(f"--donor {store}: is no result of glassplate; {way_out}") from error
    path = provenance_path(store, WEIGHTS)
    records = read_donor_records(store)
    if not records:
        raise UsageError(
            f"--donor {store}: has no donor, each of its tiles started from random weights; {way_out}"
        )
    if not path.is_file() or sha256_of(path) != records[-1].sha256:
        raise UsageError(
            f"--donor {store}: its weights {WEIGHTS} are missing or damaged; {way_out}"
        )
    return Inherited(store, file_identity(path), _network(manifest))


def _network(manifest: Manifest) -> Mapping[str, Any]:
    """Settings of the network of the donor of a result, by its recipe and its number of tiles."""
    network: Mapping[str, Any] = manifest.recipe["network"]
    asked = DonorSettings(network=manifest.recipe["donor"].get("network", "same"))
    settings = asked.for_tiles(manifest.tiles)
    if settings.network == "same":
        return network
    there = donor_network(NetworkSettings(), settings)
    own = ("kind", "channels", "fine_channels", "skip_channels")
    return {**network, **{key: getattr(there, key) for key in own}}


def recorded_donor(store: Path) -> Inherited | None:
    """The donor that a result has reused; None if it reused none, or has not begun."""
    try:
        manifest = read_manifest(store)
    except StoreError:
        return None
    file = manifest.identity.donor
    if file is None:
        return None
    return Inherited(Path(file.path).parents[1], file, _network(manifest))


def is_begun(store: Path) -> bool:
    """Whether there is a result, complete or not."""
    return provenance_path(store, MANIFEST).is_file()


def begun_with(store: Path) -> Path | None:
    """The earlier result whose donor a result has reused; None if it reused none."""
    taken = recorded_donor(store)
    return None if taken is None else taken.store


def inherit(donor: Path, store: Path) -> Inherited:
    """Find the donor of an earlier result or, if that result is gone, the copy of it in `store`.

    Raises
    ------
    UsageError
        As `find_donor`.
    """
    taken = recorded_donor(store)
    if taken is not None and taken.store == donor.absolute() and not donor.exists():
        copy = provenance_path(store, BEFORE)
        return replace(taken, file=replace(taken.file, path=str(copy.absolute())))
    return find_donor(donor)


def take_over(inherited: Inherited, store: Path) -> Path:
    """Copy the weights into a result, unless they are there already; return the path of the copy.

    Raises
    ------
    StoreError
        If neither the copy nor the original is intact.
    """
    here = provenance_path(store, BEFORE)
    if _is(here, inherited.file.sha256):
        return here
    origin = Path(inherited.file.path)
    if not _is(origin, inherited.file.sha256):
        raise StoreError(
            f"{here}: the weights taken over from {inherited.store} are missing or damaged, and so are "
            f"those there; remove {store} to start afresh"
        )
    write_atomically(here, origin.read_bytes())
    return here


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def check_inherited(inherited: Inherited, problem: Problem, channels: int, least: int) -> None:
    """Refuse weights from which the fits of a plan could not start.

    Parameters
    ----------
    inherited
        The reused donor.
    problem
        How a tile is fitted.
    channels
        Channels that one network paints.
    least
        `donor.tiles` of the recipe.

    Raises
    ------
    UsageError
        Naming what does not fit, and the way out.
    """
    named = f"--donor {inherited.store}"
    if problem.input not in ("blindspot", "cross-scale"):
        raise UsageError(
            f"{named}: fits with input {problem.input} start from random weights; drop --donor or choose a "
            "recipe that denoises or archive-upscale"
        )
    if least == 0:
        raise UsageError(
            f"{named}: donor.tiles 0 starts every tile from random weights; drop one of them"
        )
    here = json.loads(json.dumps(asdict(problem.network)))
    for key, value in here.items():
        was = inherited.network.get(key)
        if was != value:
            raise UsageError(
                f"{named}: its network.{key} is {was}, here it is {value}; take the recipe it was made "
                "with (with donor.network=same for both, if one image has more than 16 tiles and the other "
                "has not) or drop --donor"
            )
    from glassplate.models.donor.fit_donor import weight_shapes  # torch tells the shapes

    if _shapes(inherited) != weight_shapes(problem, channels):
        raise UsageError(
            f"{named}: its network paints another number of channels, or sees another number of guides, "
            f"than the {channels} and {problem.guide_channels} here; drop --donor"
        )


def _shapes(inherited: Inherited) -> dict[str, tuple[int, ...]]:
    """Shape of each weight, by the name of its parameter."""
    try:
        with np.load(inherited.file.path, allow_pickle=False) as arrays:
            return {name: arrays[name].shape for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"--donor {inherited.store}: its weights {WEIGHTS} are missing or damaged"
        ) from error
