"""Which flags or codes of a mask make a pixel bad, as a job or a command says, as overrides of the recipe."""

from __future__ import annotations

import json

from glassplate.flows.jobs.job import Job, JobInput


def flag_overrides(bits: object, codes: object) -> tuple[str, ...]:
    """The overrides of a recipe for the flags and the codes of bad pixels, where they are given."""
    given = {"dq_bits": bits, "dq_codes": codes}
    return tuple(
        f"companions.{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in given.items()
        if value is not None
    )


def flags_of(job: Job, entry: JobInput) -> tuple[str, ...]:
    """Overrides for the flags of bad pixels; an entry that gives flags takes no codes from the job."""
    owner = entry if entry.model_fields_set & {"dq_bits", "dq_codes"} else job
    return flag_overrides(owner.dq_bits, owner.dq_codes)
