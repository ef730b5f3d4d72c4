"""The reference libraries of W3C PROV and RO-Crate read the documents."""

from prov.model import ProvDocument
from rocrate.rocrate import ROCrate

from glassplate.pipeline.provenance.folder import provenance_path


def test_the_prov_library_reads_prov_json(store):
    text = provenance_path(store, "prov.json").read_text()
    document = ProvDocument.deserialize(content=text)
    kinds = {type(record).__name__ for record in document.get_records()}
    assert {"ProvEntity", "ProvActivity", "ProvAgent", "ProvUsage", "ProvGeneration"} <= kinds


def test_the_rocrate_library_reads_the_crate(store):
    crate = ROCrate(str(store / "provenance"))
    action = next(e for e in crate.get_entities() if e.type == "CreateAction")
    assert action["instrument"]["softwareVersion"]
    assert len(action["object"][0]["sha256"]) == 64
    for part in crate.root_dataset["hasPart"]:
        assert (store / "provenance" / part.id).is_file(), part.id
