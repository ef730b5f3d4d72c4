"""What may become of an image of a job."""

from __future__ import annotations

from typing import Literal, TypeAlias

State: TypeAlias = Literal["done", "skipped", "quarantined", "pending"]
STATES: tuple[State, ...] = ("done", "skipped", "quarantined", "pending")
"""What became of an image in the last run: each input has exactly one of these."""

Status: TypeAlias = Literal[
    "restored", "done before", "changed", "partial", "quarantined", "pending"
]
"""The same in more detail."""
