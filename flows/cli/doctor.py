"""`glassplate doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from glassplate.flows.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(doctor)


def doctor(
    as_json: options.AsJson = False,
    no_flow: Annotated[bool, typer.Option("--no-flow", help="Do not run a Prefect flow.")] = False,
) -> int:
    """Check this machine, and measure its speed.

    The checks measure the device, restore a small image, estimate the speed of each recipe, and run a
    Prefect flow. The exit code is 1 if a check fails.
    """
    from glassplate.flows.cli.checks import run_checks

    findings = run_checks(with_flow=not no_flow)
    ok = all(finding.ok for finding in findings)
    if as_json:
        from glassplate.flows.cli.documents import print_document

        print_document({"ok": ok, "findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            typer.echo("\n".join(finding.lines()))
    return 0 if ok else 1
