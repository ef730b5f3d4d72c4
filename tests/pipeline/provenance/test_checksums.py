"""The checksums are those that sha256sum computes."""

import hashlib

from glassplate.pipeline.provenance.folder import provenance_path


def test_checksums_agree_with_sha256sum(store):
    lines = provenance_path(store, "checksums.sha256").read_text().splitlines()
    names = [line.split("  ", 1)[1] for line in lines]
    assert names == sorted(names)
    assert any(name.startswith("0/c/") for name in names)
    assert any(name.startswith("quality/") for name in names)
    for line in lines:
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((store / name).read_bytes()).hexdigest() == digest
