"""Pages from templates: one file with its styles and scripts in it, which loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.files import write_atomically

SUFFIX = ".html"
# By this name in its head a page is known as glassplate's own, and may be replaced.
GENERATOR = "glassplate"
_MARK = f'<meta name="generator" content="{GENERATOR} '
# Bytes of a page in which that name is looked for.
_HEAD_BYTES = 1000


def write_page(target: Path, template: str, **values: Any) -> Path:
    """Fill a template, and write the page so that it appears whole.

    Parameters
    ----------
    target
        The file.
    template
        Name of a file in ``templates``.
    values
        What the template names. Texts are escaped.
    """
    page = (
        _environment()
        .get_template(template)
        .render(generator=f"{GENERATOR} {version('glassplate')}", **values)
    )
    write_atomically(target, page)
    return target


def check_page_target(
    target: Path,
    *,
    overwrite: bool,
    suffix: str = SUFFIX,
    is_own: Callable[[Path], bool] | None = None,
) -> None:
    """Refuse a name under which no page could be written, or a file that glassplate did not write.

    Parameters
    ----------
    overwrite
        Whether the user asked to replace any file.
    suffix
        The suffix that the name must have.
    is_own
        Whether a file is one that may be replaced; None: whether it is a page.

    Raises
    ------
    UsageError
    """
    if target.suffix.lower() != suffix:
        raise UsageError(f"{target}: its name must end with {suffix}; choose such a name")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}")
    if target.is_dir():
        raise UsageError(f"{target}: is a folder; choose another name")
    if target.exists() and not overwrite and not (is_own or is_page)(target):
        raise UsageError(
            f"{target}: exists and was not written by glassplate; choose another name, or give --overwrite"
        )


def is_page(path: Path) -> bool:
    """Whether a file is a page that glassplate wrote."""
    try:
        with path.open("rb") as file:
            return _MARK.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["file"] = _read
    return environment


def _read(name: str) -> str:
    return (resources.files(f"{__package__}.templates") / name).read_text("utf-8")
