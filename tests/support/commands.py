"""Commands in this process."""

from dataclasses import dataclass

from typer.testing import CliRunner


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def run_command(*args):
    """Run a command in this process."""
    from glassplate.flows.cli.main import app

    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)
