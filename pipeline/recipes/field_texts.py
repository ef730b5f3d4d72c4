"""The explanation of each key of a settings class: the string below its field."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap


def field_texts(settings: type) -> dict[str, str]:
    """Return the docstring of each field that a class declares, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(settings)))
    fields = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    texts = {}
    for field, below in itertools.pairwise(fields):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts
