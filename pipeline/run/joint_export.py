"""The export of several results of one FITS file, each of another HDU, to one file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from glassplate.pipeline.events import Listener, StageStarted, ignore_event
from glassplate.pipeline.export.export import write_export
from glassplate.pipeline.provenance.manifest import ExportRecord, read_manifest, write_manifest
from glassplate.pipeline.store.lock import locked


def export_jointly(stores: Sequence[Path], target: Path, listener: Listener = ignore_event) -> None:
    """Write a FITS file with the restored pixels of each result, and record it in their manifests.

    A file that is there as it was written for these results is left alone.

    Parameters
    ----------
    stores
        Results whose runs have ended, of different HDUs of one file.
    target
        File with a suffix of FITS.
    listener
        Receives the events of the export.

    Raises
    ------
    UsageError, StoreError, CapacityError
        As `glassplate.pipeline.export.export.export`.
    """
    doing = f"export of {len(stores)} results"
    with ExitStack() as locks:
        for store in sorted(stores):
            locks.enter_context(locked(store, doing))
        locks.enter_context(locked(target, doing, other="name for the export"))
        manifests = {store: read_manifest(store) for store in stores}
        if target.is_file():
            there = ExportRecord.of(target)
            if all(manifest.has_record(there) for manifest in manifests.values()):
                return
        listener(StageStarted(stores[0], "export", 1))
        write_export(stores, target, listener=listener)
        written = ExportRecord.of(target)
        for store, manifest in manifests.items():
            write_manifest(store, manifest.with_record(written))
