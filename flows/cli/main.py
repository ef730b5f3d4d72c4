"""The command line: commands, exit codes, and errors of one line.

Nothing slow is imported here: torch, Prefect, Dask, Zarr and astropy come in inside the commands, so
that ``glassplate --help`` answers at once.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from glassplate.flows.cli import batch as commands_jobs
from glassplate.flows.cli import machine as commands_info
from glassplate.flows.cli import restore as commands_run
from glassplate.flows.cli import results as commands_results
from glassplate.flows.processes.signals import (
    Interrupted,
    asked_to_stop,
    end_now,
    end_within,
    interrupt_on_sigterm,
    no_more_interrupts,
    stopped_because,
)
from glassplate.flows.processes.supervision import INTERRUPTED, supervise
from glassplate.flows.report.text import one_line, reason
from glassplate.pipeline.errors import GlassplateError, is_disk_full

DEBUG = "--debug"

# Seconds that this process may take to end once the command is over: threads that wait for a file server that
# is gone would keep it for ever. Less after a request to stop.
END_S = 30.0
STOP_S = 2.0


class Commands(TyperGroup):
    """The group of all commands; turns every way to fail into a line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and end the process with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        debug = DEBUG in words

        def command() -> Any:
            return super(Commands, self).main(
                [word for word in words if word != DEBUG],
                "glassplate",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        code = _exit_code(command, debug=debug)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=Commands,
    help="Restore very large FITS and TIFF images with Deep Image Prior.",
    epilog="Errors are one line; --debug, anywhere, adds the traceback.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for commands in (commands_run, commands_jobs, commands_results, commands_info):
    commands.add_to(app)


@app.callback()
def _every_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("glassplate"))
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    else:
        return
    raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    supervise()
    interrupt_on_sigterm()
    if DEBUG in sys.argv:
        # of a job's images too, whose faults only Prefect's log would tell in full
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    elif not sys.warnoptions:
        # what libraries have to say to programmers is not for users; faults reach them as errors
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for the workers too
    code = 1
    # registered first, called last: what comes after it has hung in the threads of libraries
    atexit.register(lambda: end_now(code))
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = _interrupted()
    end_within(STOP_S if asked_to_stop() else END_S, code)
    no_more_interrupts()
    sys.exit(code)


def _exit_code(command: Callable[[], Any], *, debug: bool) -> int:
    """Run a command; say what went wrong on standard error."""
    try:
        code = command()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except GlassplateError as error:
        if asked_to_stop() and not isinstance(error, Interrupted):
            return _interrupted()
        if debug:
            traceback.print_exc()
        _complain(one_line(error))
        return error.exit_code
    except Exception as error:  # the last resort: a user is to see a line, not a stack
        if asked_to_stop():
            return _interrupted()
        usage = _usage_error(error)
        if usage is not None:
            _complain(usage)
            return 2
        if debug:
            traceback.print_exc()
        hint = "" if debug or is_disk_full(error) else f" (run it again with {DEBUG} to see where)"
        _complain(f"{reason(error)}{hint}")
        return 1
    if code == INTERRUPTED:  # typer makes Ctrl-C an exit code of its own
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    """Say that the command was stopped, or why it has stopped itself."""
    cause = stopped_because()
    _complain("interrupted" if cause is None else one_line(cause))
    return INTERRUPTED if cause is None else cause.exit_code


def _usage_error(error: Exception) -> str | None:
    """What is wrong with the command's words; None for any other error.

    By its methods: recent releases of typer carry their own copy of click, whose classes differ.
    """
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "glassplate")
    text = " ".join(describe().split())
    return f"{text} (see {path} --help)"


def _complain(text: str) -> None:
    # in one piece: other threads may write at the same time
    sys.stderr.write(f"glassplate: {text}\n")
    sys.stderr.flush()
