"""What a run is made from, and whether there is a complete result of the same already.

Nothing is planned here, so that a result that is complete is found without torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.planning.donor_reuse import Inherited, inherit
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.identity import RunIdentity, identify
from glassplate.pipeline.provenance.identity_check import check_same
from glassplate.pipeline.provenance.input_watch import InputWatch, stamps_of
from glassplate.pipeline.provenance.manifest import Manifest, finished_manifest
from glassplate.pipeline.run.request import RestoreRequest, RunResult, check_request
from glassplate.pipeline.sources.unpack import forget_unpacked


def complete_result(request: RestoreRequest) -> RunResult | None:
    """The result of an earlier run of the same request, if nothing of it is left to do; reads the inputs.

    Returns
    -------
    result
        None if there is no result, its run has not ended, some of its tiles are missing, or the export is
        not there as it was written.

    Raises
    ------
    ChangedError
        If the result is of another request.
    StoreError
        If it is damaged.
    SourceError, UsageError, CapacityError
        As `restore`.
    """
    start = time.monotonic()
    finished = finished_manifest(request.store)
    if finished is None:
        return None
    with check_request(request) as opened:
        request = replace(request, spec=opened.spec)
        try:
            check_finished(request, finished, identify_inputs(request, opened).identity)
        finally:
            forget_unpacked(request.spec)
    if wants_export(request, finished):
        return None
    return already_complete(request, finished, start)


def check_finished(request: RestoreRequest, finished: Manifest, identity: RunIdentity) -> None:
    """Refuse a complete result that is of another request or damaged."""
    check_same(request.store, finished, identity, request.recipe, any_version=request.any_version)
    check_undamaged(request.store)


@dataclass(frozen=True)
class Inputs:
    """What a run is made from, as it was when the session began."""

    identity: RunIdentity
    watch: InputWatch
    donor: Inherited | None


def identify_inputs(request: RestoreRequest, opened: SourceFiles) -> Inputs:
    """Hash the inputs of a request, whose files are open."""
    donor = None if request.donor is None else inherit(request.donor, request.store)
    # the time stamps are read before the files are hashed, so that a change meanwhile shows
    stamps = stamps_of(request.spec.files)
    opened.check_unchanged()
    identity = identify(request.spec, request.recipe, None if donor is None else donor.file)
    return Inputs(identity, InputWatch(stamps, identity), donor)


def wants_export(request: RestoreRequest, manifest: Manifest) -> bool:
    """Whether an export is asked for that is not there as it was written."""
    return request.export is not None and not manifest.has_export(request.export)


def already_complete(request: RestoreRequest, manifest: Manifest, start: float) -> RunResult:
    """The result of a run that was complete before; `start` is when this one began, ``time.monotonic()``."""
    return RunResult(
        store=request.store,
        status="complete",
        tiles=manifest.tiles,
        done=manifest.tiles,
        quarantined=0,
        already_complete=True,
        seconds=time.monotonic() - start,
        summary=manifest.final_summary,
        export=request.export,
    )
