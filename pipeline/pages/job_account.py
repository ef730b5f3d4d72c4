"""What the account of a job and its page have in common: the name of the file and the states of an image."""

from __future__ import annotations

from typing import Literal, TypeAlias

ACCOUNT = "job.jsonl"
"""Name of the account, in the folder of the results."""

State: TypeAlias = Literal["done", "skipped", "quarantined", "pending"]
STATES: tuple[State, ...] = ("done", "skipped", "quarantined", "pending")
"""What became of an image in the last run: each input has exactly one of these."""
