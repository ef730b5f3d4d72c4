"""What the images of one run of a job share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glassplate.flows.accounts.account import Account
from glassplate.flows.jobs.running.budget import Budget
from glassplate.flows.jobs.running.pages import JobPage
from glassplate.flows.jobs.running.settled import RunFacts
from glassplate.flows.jobs.sequence import DonorSequence
from glassplate.flows.report.job_log import JobLog
from glassplate.flows.report.progress import Display
from glassplate.pipeline.pools.pool import Pool


@dataclass(frozen=True)
class JobRun:
    """What the images of one run of a job share; it stays within this process."""

    facts: RunFacts
    pool: Pool
    display: Display
    log: JobLog
    account: Account
    budget: Budget
    context: Mapping[str, str]
    """Written to the manifests: the flow run and the job."""
    taken: frozenset[Path] = frozenset()
    """Results of all images of the job."""
    donors: DonorSequence | None = None
    """Of a sequence, whose images are restored one after the other."""
    page: JobPage | None = None
    """None if nobody looks at the run."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the run must end early."""
