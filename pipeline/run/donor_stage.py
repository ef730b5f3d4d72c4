"""Phase 0 of a run: fit the donor from whose weights the tiles start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassplate.pipeline.events import StageAdvanced, StageStarted
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.planning.donor_reuse import WEIGHTS, take_over
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.journal import Journal
from glassplate.pipeline.provenance.records import donor_journal, read_donor_records
from glassplate.pipeline.run.state import Run, error_of, refuse_damaged_source
from glassplate.pipeline.tiles.donor import DonorFile, DonorTask, donor_is, make_donor


def prepare_donor(run: Run) -> None:
    """Fit the donor, unless an earlier session of the run did or the tiles need none."""
    if not run.plan.warm:
        return
    path = provenance_path(run.store, WEIGHTS)
    for record in read_donor_records(run.store, run.run_id):
        file = DonorFile(path, record.sha256)
        if donor_is(file):
            run.donor = file
            return
    task = DonorTask(run.plan, path, _taken_over(run))
    total = run.plan.donor_iterations
    run.listener(StageStarted(run.store, "donor", total))

    def on_progress(message: Mapping[str, Any]) -> None:
        run.listener(StageAdvanced(run.store, "donor", message["done"], total))

    with Journal(donor_journal(run.store), run.run_id) as journal:
        for _, outcome in run.pool.map(make_donor, [task], on_progress):
            run.inputs.check()
            if isinstance(outcome, Failure):
                refuse_damaged_source(outcome)
                raise error_of(outcome)(
                    f"{run.store}: fitting the donor failed: {outcome.reason}; give the same command "
                    "again, or start every tile from random weights with --set donor.tiles=0"
                )
            journal.append(outcome.to_json())
            run.donor = DonorFile(path, outcome.sha256)


def _taken_over(run: Run) -> DonorFile | None:
    """Copy the weights of an earlier result into this one, where the plan takes them over."""
    donor = run.plan.donor
    return None if donor is None else DonorFile(take_over(donor, run.store), donor.file.sha256)
