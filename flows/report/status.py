"""What may become of an image of a job, in more detail than its state."""

from __future__ import annotations

from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "restored", "done before", "changed", "partial", "quarantined", "pending"
]
"""Each belongs to one `glassplate.pipeline.pages.job_account.State`."""
