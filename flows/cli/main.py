"""The entry point: all commands, their exit codes, and errors on one line.

No slow package is imported here. The commands import torch, Prefect, Dask, Zarr and astropy themselves, so
that ``glassplate --help`` answers at once.
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from glassplate.flows.cli import (
    assess,
    batch,
    doctor,
    inspect,
    plan,
    preview,
    recipes,
    report,
    restore,
    results,
    schema,
)
from glassplate.flows.processes.signals import (
    Interrupted,
    exit_after,
    exit_now,
    interrupt_on_sigterm,
    stop_cause,
    stop_interrupting,
    stop_requested,
)
from glassplate.flows.processes.supervision import INTERRUPTED, supervise
from glassplate.flows.report.text import reason
from glassplate.pipeline.errors import GlassplateError, is_disk_full
from glassplate.pipeline.text import one_line

DEBUG, HELP = "--debug", "--help"

# Seconds that this process may take to exit once the command is over, and once it was asked to stop. Threads
# that wait for a lost file server would keep it for ever.
EXIT_S = 30.0
STOPPED_EXIT_S = 2.0


class Commands(TyperGroup):
    """The group of all commands, which turns every failure into one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its exit code."""
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
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (
    restore,
    plan,
    batch,
    inspect,
    preview,
    results,
    report,
    assess,
    recipes,
    schema,
    doctor,
):
    module.add_to(app)


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
    if HELP in sys.argv:  # answered at once: there is nothing to supervise
        app()
    supervise()
    interrupt_on_sigterm()
    if DEBUG in sys.argv:
        # the tracebacks of a job's images too, which only Prefect's log holds
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    elif not sys.warnoptions:
        # warnings of libraries are for programmers; users see errors
        warnings.simplefilter("ignore")
        import logging  # slow, and not needed for --help

        logging.getLogger().addHandler(logging.NullHandler())
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for the workers of a pool
    code = 1
    # registered first, called last: the interpreter's later clean-up has hung in threads of libraries
    atexit.register(lambda: exit_now(code))
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = _interrupted()
    exit_after(STOPPED_EXIT_S if stop_requested() else EXIT_S, code)
    stop_interrupting()
    sys.exit(code)


def _exit_code(command: Callable[[], Any], *, debug: bool) -> int:
    """Run a command, print its error to standard error, and return its exit code."""
    try:
        code = command()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except GlassplateError as error:
        if stop_requested() and not isinstance(error, Interrupted):
            return _interrupted()
        if debug:
            traceback.print_exc()
        _print_error(one_line(error))
        return error.exit_code
    except Exception as error:  # users see one line in place of a traceback
        if stop_requested():
            return _interrupted()
        if (usage := _usage_error(error)) is not None:
            _print_error(usage)
            return 2
        if debug:
            traceback.print_exc()
        hint = "" if debug or is_disk_full(error) else f" (run it again with {DEBUG} to see where)"
        _print_error(f"{reason(error)}{hint}")
        return 1
    if code == INTERRUPTED:  # typer turns Ctrl-C into its own exit code
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    """Print that the command was interrupted, or why it has stopped itself; return the exit code."""
    cause = stop_cause()
    _print_error("interrupted" if cause is None else one_line(cause))
    return INTERRUPTED if cause is None else cause.exit_code


def _usage_error(error: Exception) -> str | None:
    """Message for an error in the arguments of the command; None for any other error.

    It is recognised by its methods, because recent releases of typer have their own copy of click.
    """
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "glassplate")
    text = " ".join(describe().split()).replace("Value error, ", "")
    if "unexpected extra argument" in text and path.endswith(" restore"):
        text += "; restore takes one image, a job takes many: glassplate batch"
    return f"{text} (see {path} --help)"


def _print_error(text: str) -> None:
    # in one piece, because other threads may write at the same time
    sys.stderr.write(f"glassplate: {text}\n")
    sys.stderr.flush()
