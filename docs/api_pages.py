"""Make the pages of the API reference while mkdocs builds the site: one for each folder with code.

A page holds one mkdocstrings directive for each module of its folder. A module that is added, moved or
removed needs no change here.
"""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("models", "pipeline", "flows")
# The folders install as glassplate.models and so on. mkdocstrings reads the source without importing it, and
# finds it under these names through links in a temporary folder.
NAMED = tempfile.TemporaryDirectory(prefix="glassplate-docs-")


@event_priority(100)  # before mkdocstrings reads its options
def on_config(config: MkDocsConfig) -> None:
    """Point mkdocstrings at the source, and add the reference and the design notes to the navigation."""
    root = Path(NAMED.name) / "glassplate"
    root.mkdir()
    for name in PACKAGES:
        (root / name).symlink_to(REPOSITORY / name, target_is_directory=True)
    (root / "__init__.py").symlink_to(REPOSITORY / "interface" / "__init__.py")
    plugin: Any = config.plugins["mkdocstrings"]
    plugin.config.handlers["python"]["paths"] = [NAMED.name]
    menu: Any = config.nav
    menu.append({"Design notes": [f"design/{path.name}" for path in design_notes()]})
    pages = ["glassplate", *folders()]
    menu.append({"API reference": [{name: f"api/{name}.md"} for name in pages]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages to those of docs/."""
    files.append(File.generated(config, "api/glassplate.md", content="::: glassplate\n"))
    for name, modules in folders().items():
        files.append(File.generated(config, f"api/{name}.md", content=page(name, modules)))


def design_notes() -> list[Path]:
    """Return the design notes, with their index first."""
    notes = sorted((REPOSITORY / "docs" / "design").glob("*.md"))
    return sorted(notes, key=lambda path: path.name != "README.md")


def folders() -> dict[str, list[str]]:
    """Return the modules of each folder with code, by the folder's dotted name."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            module = path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".")
            folder, _, name = module.rpartition(".")
            found.setdefault(folder, []).extend([] if name == "__init__" else [name])
    return {folder: names for folder, names in sorted(found.items()) if names}


def page(folder: str, modules: list[str]) -> str:
    """Return the Markdown of the page of one folder."""
    init = REPOSITORY / folder.replace(".", "/") / "__init__.py"
    text = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
    directives = "\n\n".join(f"::: glassplate.{folder}.{name}" for name in modules)
    return f"# glassplate.{folder}\n\n{text}\n\n{directives}\n"
