"""What a restoration did, as a document of PREMIS 3: its files, one event, and the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from glassplate.pipeline.provenance.manifest import Manifest

_SPACE = "http://www.loc.gov/premis/v3"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = f"{_SPACE} http://www.loc.gov/standards/premis/v3/premis.xsd"
# The Library of Congress's word for a change of content: eventType, and its address.
_EVENT_TYPES = "http://id.loc.gov/vocabulary/preservation/eventType"
_MODIFICATION = f"{_EVENT_TYPES}/mod"

# Names of formats by the suffix of a file.
_FORMATS = {
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".fits", ".fit", ".fts"), "FITS"),
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG 2000"),
    ".png": "PNG",
    ".webp": "WebP",
    ".jxl": "JPEG XL",
}


@dataclass(frozen=True)
class PremisFile:
    """A file that the event is about."""

    name: str
    """Identifies it within the document; a path in the bag, or the name of a file outside."""
    bytes: int
    sha256: str

    @property
    def format(self) -> str:
        """Name of its format, by its suffix."""
        return _FORMATS.get(Path(self.name).suffix.lower(), "unknown")


def premis_document(
    manifest: Manifest, inputs: Sequence[PremisFile], outcomes: Sequence[PremisFile], note: str
) -> bytes:
    """The document as XML.

    Parameters
    ----------
    manifest
        Of a run that has ended.
    inputs
        The image that was restored, then the files that went with it.
    outcomes
        The restored image, then what else is in the bag of it.
    note
        What the outcome is, for people.
    """
    ElementTree.register_namespace("premis", _SPACE)
    ElementTree.register_namespace("xsi", _XSI)
    root = ElementTree.Element(f"{{{_SPACE}}}premis", {"version": "3.0"})
    root.set(f"{{{_XSI}}}schemaLocation", _SCHEMA)
    for file in inputs:
        _add_file(root, file)
    for file in outcomes:
        _add_file(root, file, made_from=inputs[0], event=manifest.run_id)
    _add_event(root, manifest, inputs, outcomes, note)
    _add_agent(root, _software(manifest))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return bytes(text) + b"\n"


def _software(manifest: Manifest) -> tuple[str, str]:
    return "glassplate", manifest.identity.versions.get("glassplate", "unknown")


def _add(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_SPACE}}}{name}")
    element.text = text
    return element


def _identify(parent: ElementTree.Element, name: str, kind: str, value: str) -> ElementTree.Element:
    """An identifier of two elements: ``nameType`` and ``nameValue``."""
    element = _add(parent, name)
    _add(element, f"{name}Type", kind)
    _add(element, f"{name}Value", value)
    return element


def _add_file(
    root: ElementTree.Element,
    file: PremisFile,
    made_from: PremisFile | None = None,
    event: str | None = None,
) -> None:
    element = _add(root, "object")
    element.set(f"{{{_XSI}}}type", "premis:file")
    _identify(element, "objectIdentifier", "file name", file.name)
    facts = _add(element, "objectCharacteristics")
    fixity = _add(facts, "fixity")
    _add(fixity, "messageDigestAlgorithm", "SHA-256")
    _add(fixity, "messageDigest", file.sha256)
    _add(facts, "size", str(file.bytes))
    designation = _add(_add(facts, "format"), "formatDesignation")
    _add(designation, "formatName", file.format)
    if made_from is not None and event is not None:
        relation = _add(element, "relationship")
        _add(relation, "relationshipType", "derivation")
        _add(relation, "relationshipSubType", "has source")
        _identify(relation, "relatedObjectIdentifier", "file name", made_from.name)
        _identify(relation, "relatedEventIdentifier", "glassplate run", event)


def _add_event(
    root: ElementTree.Element,
    manifest: Manifest,
    inputs: Sequence[PremisFile],
    outcomes: Sequence[PremisFile],
    note: str,
) -> None:
    name, version = _software(manifest)
    event = _add(root, "event")
    _identify(event, "eventIdentifier", "glassplate run", manifest.run_id)
    kind = _add(event, "eventType", "modification")
    kind.set("authority", "eventType")
    kind.set("authorityURI", _EVENT_TYPES)
    kind.set("valueURI", _MODIFICATION)
    ended = [session.ended for session in manifest.sessions if session.ended]
    _add(event, "eventDateTime", ended[-1] if ended else manifest.created)
    detail = _add(event, "eventDetailInformation")
    task = manifest.recipe.get("task", "unknown")
    _add(
        detail,
        "eventDetail",
        f"Digital restoration by {name} {version}: recipe {manifest.recipe_name}, task {task}, run "
        f"{manifest.run_id}; SHA-256 of the recipe {manifest.identity.recipe_sha256}. No training data: the "
        "networks are fitted to this image alone.",
    )
    outcome = _add(event, "eventOutcomeInformation")
    _add(outcome, "eventOutcome", "success" if manifest.status == "complete" else manifest.status)
    _add(_add(outcome, "eventOutcomeDetail"), "eventOutcomeDetailNote", note)
    agent = _identify(event, "linkingAgentIdentifier", "software", f"{name} {version}")
    _add(agent, "linkingAgentRole", "executing program")
    for role, files in (("source", inputs), ("outcome", outcomes)):
        for file in files:
            link = _identify(event, "linkingObjectIdentifier", "file name", file.name)
            _add(link, "linkingObjectRole", role)


def _add_agent(root: ElementTree.Element, software: tuple[str, str]) -> None:
    name, version = software
    agent = _add(root, "agent")
    _identify(agent, "agentIdentifier", "software", f"{name} {version}")
    _add(agent, "agentName", name)
    _add(agent, "agentType", "software")
    _add(agent, "agentVersion", version)
