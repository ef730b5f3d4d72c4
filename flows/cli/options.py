"""Options of the commands, each declared once.

Options that several commands share come in groups, which are dataclasses. `grouped` turns a command whose
parameters are such groups into one whose parameters are options, as typer needs it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, get_type_hints

import typer

from glassplate.flows.report.progress_kind import ProgressKind
from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from glassplate.pipeline.recipes.recipe import Recipe

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]
Exit = TypeVar("Exit")

# The largest `operator.scale` of a recipe.
MOST_SCALE = 16

Result = Annotated[Path, typer.Argument(metavar="OUT.zarr", help="A result.", show_default=False)]
JobFile = Annotated[
    Path, typer.Argument(metavar="JOB.yaml", help="A job file.", show_default=False)
]
Progress = Annotated[ProgressKind, typer.Option("--progress", help="How progress is shown.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and no progress.")]


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The recipe, and where its fits start from."""

    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="A shipped recipe or a YAML file. Default: astro-denoise for FITS, archive-denoise "
            "for other formats.",
        ),
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override one value of the recipe; may be repeated."
        ),
    ] = None
    scale: Annotated[
        str | None, typer.Option("--scale", metavar="N", help="Super-resolution factor, 2 to 16.")
    ] = None
    dq_bits: Annotated[
        str | None,
        typer.Option(
            "--dq-bits",
            metavar="FLAGS",
            help="Flags of the mask that make a pixel bad, such as 4+16 or CR,NO_DATA. Default: those of its "
            "observatory.",
        ),
    ] = None
    dq_codes: Annotated[
        str | None,
        typer.Option(
            "--dq-codes",
            metavar="CODES",
            help="The same for a mask of codes instead of flags, such as 1,2,5.",
        ),
    ] = None
    donor: Annotated[
        Path | None,
        typer.Option(
            "--donor",
            metavar="PREVIOUS.zarr",
            help="Start from the donor of an earlier result of a similar scene.",
        ),
    ] = None

    def load(self, source: Path) -> tuple[str, Recipe]:
        """Return the name and the settings of the recipe; the format of `source` gives the default.

        Raises
        ------
        UsageError
            If the recipe, a key or a value is invalid.
        SourceError
            If the default is needed and `source` cannot be read or its format is unknown.
        """
        from glassplate.flows.jobs.flags import flag_overrides
        from glassplate.flows.jobs.images import default_recipe
        from glassplate.pipeline.recipes.recipe import load_recipe

        name = self.recipe or default_recipe(source)
        overrides = [*(self.overrides or ()), *flag_overrides(self.dq_bits, self.dq_codes)]
        return name, load_recipe(name, overrides, scale=_parse_scale(self.scale))


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """The workers that fit the tiles, and their device."""

    pool: Annotated[
        str,
        typer.Option(
            "--pool",
            metavar="auto|inline|local|ADDRESS",
            help="Where the work is done: in this process, in local processes, or by the workers of a "
            "Dask scheduler.",
        ),
    ] = "auto"
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Local processes. Default: one for each GPU, or for each core.",
        ),
    ] = None
    device: Annotated[DeviceName, typer.Option("--device", help="Device that fits the tiles.")] = (
        "auto"
    )


def grouped(command: Callable[..., Exit]) -> Callable[..., Exit]:
    """Replace each parameter of a command that is a group of options by the options of the group."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            )

    @functools.wraps(command)
    def expanded(**given: Any) -> Exit:
        made = {
            name: group(
                **{field.name: given.pop(field.name) for field in dataclasses.fields(group)}
            )
            for name, group in groups.items()
        }
        return command(**made, **given)

    # typer reads both
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _parameters(group: Any) -> list[inspect.Parameter]:
    """The fields of a group of options as parameters of a function."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def _parse_scale(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_SCALE):
        raise UsageError(f"--scale {text}: expected a whole number from 2 to {MOST_SCALE}")
    return int(text)


def parse_place(text: str | None) -> tuple[int, int] | None:
    """Row and column of a pixel, as in ``120,40``."""
    if text is None:
        return None
    row, separator, column = text.partition(",")
    if not (
        separator and row.isascii() and row.isdigit() and column.isascii() and column.isdigit()
    ):
        raise UsageError(f"--at {text}: expected ROW,COLUMN, two whole numbers from 0")
    return int(row), int(column)
