"""Every module and every public name has a docstring."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

PACKAGES = (
    "glassplate",
    "glassplate.models",
    "glassplate.pipeline",
    "glassplate.flows",
    "glassplate.configs",
)
MODULES = sorted(
    {
        name
        for package in PACKAGES
        for name in [
            package,
            *(
                module.name
                for module in pkgutil.walk_packages(
                    importlib.import_module(package).__path__, f"{package}."
                )
            ),
        ]
    }
)


def public_names(module):
    """Yield the public functions and classes that a module defines, and their public methods."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for key, member in vars(value).items():
                function = member.fget if isinstance(member, property) else member
                function = getattr(function, "__func__", function)
                if not key.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{key}", function


def test_all_modules_are_found():
    assert {
        "glassplate.pipeline.recipes.recipe",
        "glassplate.models.fit.loop",
        "glassplate.flows",
    } <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(name)
    missing = [
        key
        for key, value in public_names(module)
        if not (value.__doc__ or "").strip() or _made_by_dataclass(value)
    ]
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    assert missing == [], f"{name}: without a docstring: {missing}"


def _made_by_dataclass(value):
    """Return whether the docstring is the signature that `dataclass` inserts where none is written."""
    return inspect.isclass(value) and value.__doc__.startswith(f"{value.__name__}(")
