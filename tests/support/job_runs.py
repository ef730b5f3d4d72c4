"""Runs of jobs without Prefect and its server: the same images, account and limits, in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from glassplate.flows.accounts.account import Account
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.lazy_pool import LazyPool
from glassplate.flows.jobs.running.budget import Budget
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.known import known_facts
from glassplate.flows.jobs.running.outcomes import failed
from glassplate.flows.jobs.running.pages import JobPage
from glassplate.flows.jobs.running.run_images import run_images
from glassplate.flows.jobs.running.settled import RunFacts
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.flows.jobs.running.work import restore_one
from glassplate.flows.report.job_log import open_log
from glassplate.flows.report.job_report import JobReport
from glassplate.flows.report.progress import SilentDisplay


@dataclass
class JobRunner:
    """Runs a job as the flow does, and knows what was worked on."""

    faults: dict = field(default_factory=dict)
    """Errors to raise in place of the work on an image, by the name of its file, one for each attempt."""
    worked_on: list = field(default_factory=list)
    """Names of the files that the last run restored, or tried to."""
    clock: object = time.monotonic
    pool: str = "inline"

    def __call__(self, job, *, retry_failed=False):
        """Run a job; return its report."""
        self.worked_on = []
        account = Account(job.output)
        found = find_images(job, known_facts(account))
        with open_log(job.output / "job.log", job.log, job.log_level, "run") as log:
            run = JobRun(
                facts=RunFacts(job, "run", retry_failed),
                pool=LazyPool(self.pool, workers=None, device="cpu", images=len(found.images)),
                display=SilentDisplay(),
                log=log,
                account=account,
                budget=Budget(job.limits, job.output, self.clock),
                context={},
                page=JobPage(job.output, log),
                taken=frozenset(store for image in found.images for store in image.stores),
            )
            outcomes = run_images(run, found.images, run.pool, lambda look: self._work(look, run))
            page = run.page.write() if found.images else ""
        reports = tuple(outcome.report for outcome in outcomes)
        return JobReport(reports, 1.0, others=tuple(map(str, found.others)), page=str(page))

    def _work(self, look, run):
        name = look.image.spec.path.name
        self.worked_on.append(name)
        begun_at = run.budget.now()
        try:
            if self.faults.get(name):
                raise self.faults[name].pop(0)
            return restore_one(look, run, lambda event: run.budget.check(begun_at))
        except Exception as error:
            return failed(look, verdict_of(error), 0.0)


def lines_of(job):
    """The account of a job by the name of each image's file."""
    import json

    text = (job.output / "job.jsonl").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert len({entry["name"] for entry in entries}) == len(entries), "one line for each image"
    return {entry["image"].rpartition("/")[2]: entry for entry in entries}


def check_sums(report, job):
    """Every input has exactly one state, on the screen and in the account."""
    sums = report.sums()
    assert sum(sums.values()) == len(report.images)
    states = [entry["state"] for entry in lines_of(job).values()]
    assert {state: states.count(state) for state in sums} == sums
    return {state: count for state, count in sums.items() if count}
