"""Sentences about artificial sources that a restoration does something to, with the likely cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glassplate.pipeline.assess.injection.recovery import PurityRow, RecoveryRow

# Share of the flux that may be lost or gained, standard errors beyond which it is no accident, width that may
# be gained, and shares of sources that may be missed or be false beyond those in the input. astro-denoise and
# its guard keep 0.98 to 1.01 of stars of signal to noise 8 and more, and 0.87 to 0.98 of 5
# (benchmarks/quality.py stars).
MOST_LOST, SIGMAS = 0.05, 2.0
MOST_WIDER = 0.1
MOST_MISSED, MOST_FALSE = 0.15, 0.1
# Fewest sources or detections from which a share is told.
FEWEST = 5


def recovery_causes(rows: Sequence[RecoveryRow], purity: Sequence[PurityRow]) -> tuple[str, ...]:
    """Say what is far from its expected value, and why it may be; empty where nothing is."""
    sentences: list[str] = []
    for row in rows:
        sentences += _of_row(row)
    for one in purity:
        sentences += _of_purity(one)
    return tuple(sentences)


def _of_row(row: RecoveryRow) -> Iterator[str]:
    named = (
        f"{'points' if row.kind == 'point' else 'galaxies'} of signal to noise {row.significance}"
    )
    kept, error = row.kept, row.kept_error
    if row.sources < FEWEST:
        return
    if kept is not None and error is not None and abs(kept - 1) > max(MOST_LOST, SIGMAS * error):
        yield (
            f"{named} keep {kept:.2f} of their flux (+- {error:.2f}), 1 is expected: "
            + (
                "they were partly taken for noise; set fit.guard, or lower it, or raise fit.iterations"
                if kept < 1
                else "noise around them was taken for their light; raise fit.guard where it is set"
            )
        )
    before, after = row.before, row.after
    if before.completeness - after.completeness > MOST_MISSED:
        yield (
            f"{before.completeness:.0%} of the {named} are found in the input and "
            f"{after.completeness:.0%} in the result: faint sources were removed; set fit.guard, or lower it"
        )
    if (
        before.width is not None
        and after.width is not None
        and after.width - before.width > MOST_WIDER
    ):
        yield (
            f"{named} became {after.width / before.width - 1:.0%} wider, at most {MOST_WIDER:.0%} is "
            "expected: they were softened; raise fit.iterations"
        )


def _of_purity(row: PurityRow) -> Iterator[str]:
    if row.after is None or row.detections_after < FEWEST:
        return
    before = 1.0 if row.before is None else row.before
    if before - row.after > MOST_FALSE:
        yield (
            f"of the detections near signal to noise {row.significance}, {row.after:.0%} are true in the "
            f"result and {before:.0%} in the input: noise was made into sources; raise fit.guard "
            "where it is set"
        )
