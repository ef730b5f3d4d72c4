"""Whether the files of a finished result are those that its run wrote, by their checksums."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.provenance.documents import CHECKSUMS, provenance_path
from glassplate.pipeline.provenance.input_watch import CLOCK_NS


def find_damage(store: Path, *, under: str = "", thorough: bool = False) -> str | None:
    """What is wrong with the files of a finished result; None where nothing is.

    A chunk of nothing but the fill value has no file, and no checksum: it is not missing.

    Parameters
    ----------
    store
        A result whose run has ended.
    under
        Look only at files whose name in the store begins so, ``0/`` for example.
    thorough
        Whether to read every file. Otherwise only those are read that were written, moved or changed
        since the checksums were recorded: that costs nothing, and finds all but a failing disk.

    Returns
    -------
    damage
        One line: how many files are missing, damaged or foreign, and the first of them.
    """
    try:
        known = _read_checksums(store)
    except StoreError as error:
        return str(error)
    names = [name for name in known if name.startswith(under)]
    gone = [name for name in names if not (store / name).is_file()]
    if gone:
        return f"{len(gone)} file(s) missing, first {gone[0]}"
    foreign = [name for name in _chunks(store, known, under) if name not in known]
    if foreign:
        return f"{len(foreign)} file(s) that its run did not write, first {min(foreign)}"
    recorded = provenance_path(store, CHECKSUMS).stat().st_mtime_ns
    suspects = [name for name in names if thorough or _latest(store / name) > recorded - CLOCK_NS]
    damaged = [name for name in suspects if sha256_of(store / name) != known[name]]
    return f"{len(damaged)} file(s) damaged, first {damaged[0]}" if damaged else None


def check_undamaged(store: Path, *, under: str = "", thorough: bool = False) -> None:
    """Refuse a finished result that is damaged.

    Raises
    ------
    StoreError
        Saying what is wrong, as `find_damage`, and the way out.
    """
    damage = find_damage(store, under=under, thorough=thorough)
    if damage is not None:
        raise StoreError(
            f"{store}: is damaged, {damage}; its exports are left as they are: remove {store} and give the "
            "same restore command again"
        )


def count_checksums(store: Path) -> int:
    """How many files have a checksum.

    Raises
    ------
    StoreError
        If the checksums are missing or damaged.
    """
    return len(_read_checksums(store))


def _read_checksums(store: Path) -> dict[str, str]:
    """Checksum of each file by its name in the store."""
    path = provenance_path(store, CHECKSUMS)
    if not path.is_file():
        raise StoreError(f"{path.name} is missing")
    known = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator:
            raise StoreError(f"{path.name} is damaged")
        known[name] = digest
    return known


def _chunks(store: Path, known: dict[str, str], under: str) -> Iterator[str]:
    """Chunks and shards that are there, of every array that has a checksum: the files named by a number."""
    for name in known:
        if name.endswith("/zarr.json") and name.startswith(under):
            for path in (store / name).with_name("c").rglob("*"):
                if path.name.isdigit() and path.is_file():
                    yield path.relative_to(store).as_posix()


def _latest(path: Path) -> int:
    """When a file was last written, moved or given rights, in nanoseconds."""
    status = path.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
