"""Checksums of the files of a result: writing them, and finding damaged files by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.files import sha256_of, write_atomically
from glassplate.pipeline.provenance.folder import CHECKSUMS, provenance_path
from glassplate.pipeline.provenance.input_watch import CLOCK_NS


def write_checksums(store: Path, known: Mapping[str, str]) -> None:
    """Write the SHA-256 of every array file, in the format of ``sha256sum``.

    Parameters
    ----------
    store
        A result whose pixels are all written.
    known
        SHA-256 by name in the store, of files that need not be read again.
    """
    digests = dict(known)
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store).as_posix()
        if path.is_file() and name not in digests and _is_listed(name):
            digests[name] = sha256_of(path)
    lines = [f"{digests[name]}  {name}\n" for name in sorted(digests)]
    write_atomically(provenance_path(store, CHECKSUMS), "".join(lines))


def _is_listed(name: str) -> bool:
    """Whether a file has a checksum.

    The scratch has none, and neither has what is written after the checksums: the attributes of the group
    (its status) and the provenance, which ``sha256sum`` could not list in itself.
    """
    return not name.startswith((".scratch/", "provenance/")) and name != "zarr.json"


def find_damage(store: Path, *, under: str = "", thorough: bool = False) -> str | None:
    """Describe the damage to the files of a finished result; None if there is none.

    A chunk that contains only the fill value has no file and no checksum: it is not missing.

    Parameters
    ----------
    store
        A result whose run has ended.
    under
        Check only files whose name in the store begins with this, for example ``0/``.
    thorough
        Whether to read every file. Otherwise only files are read that were written, moved or changed
        after the checksums were recorded: this costs nothing and finds everything but a failing disk.

    Returns
    -------
    damage
        One line: the number of files that are missing, damaged or foreign, and the first of them.
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
        With the damage that `find_damage` describes, and the way out.
    """
    damage = find_damage(store, under=under, thorough=thorough)
    if damage is not None:
        raise StoreError(
            f"{store}: is damaged, {damage}; its exports are left as they are: remove {store} and give the "
            "same restore command again"
        )


def count_checksums(store: Path) -> int:
    """Count the files that have a checksum.

    Raises
    ------
    StoreError
        If the checksums are missing or damaged.
    """
    return len(_read_checksums(store))


def _read_checksums(store: Path) -> dict[str, str]:
    """Read the checksum of each file by its name in the store."""
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
    """Yield the existing chunks and shards of every array with a checksum: files named by a number."""
    for name in known:
        if name.endswith("/zarr.json") and name.startswith(under):
            for path in (store / name).with_name("c").rglob("*"):
                if path.name.isdigit() and path.is_file():
                    yield path.relative_to(store).as_posix()


def _latest(path: Path) -> int:
    """Return the time of the last change of content, name or permissions, in nanoseconds."""
    status = path.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
