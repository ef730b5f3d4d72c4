"""Limits of one run of a job."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES = re.compile(r"([\d.]+)\s*([KMGT]?B)", re.IGNORECASE)


class Limits(BaseModel):
    """When a run of a job begins no further image; the next run goes on from there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int | None = Field(None, ge=1)
    """Most images that are restored."""
    hours: float | None = Field(None, gt=0)
    """Hours after which the run ends. Images under way are ended too, and resumed by the next run."""
    image_seconds: float | None = Field(None, gt=0)
    """Seconds after which an image is left to the next run, which resumes it."""
    failures: int | None = Field(None, ge=1)
    """Images that fail in this run before it ends."""
    free_disk: Annotated[
        int | None,
        WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}),
    ] = Field(None, ge=0)
    """Bytes that stay free on the disk of the results; a job file may give them as ``20 GB``."""

    @field_validator("free_disk", mode="before")
    @classmethod
    def _as_bytes(cls, value: Any) -> Any:
        if not isinstance(value, str) or value.isdigit():
            return value
        found = _BYTES.fullmatch(value.strip())
        if found is None:
            raise ValueError("expected an amount such as 20 GB")
        return round(float(found[1]) * _UNITS[found[2].upper()])
