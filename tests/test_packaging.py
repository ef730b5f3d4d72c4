"""The wheel: what is in it, what is not, and that it is what the other tests run against."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from glassplate.pipeline.recipes.recipe import load_recipe, recipe_names

# The folder `interface` is the package itself, the others are packages in it.
FOLDERS = ("models", "pipeline", "flows", "configs")
PACKAGED = ("interface", *FOLDERS, "pyproject.toml", "README.md", "LICENSE")


def build_wheel(repository: Path, folder: Path) -> Path:
    """Build the wheel from a copy of what goes into it."""
    tree = folder / "tree"
    tree.mkdir()
    for name in PACKAGED:
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def wheel(repository, tmp_path_factory) -> Path:
    """The wheel under test: the one that `make test` installed, else one built now."""
    given = os.environ.get("GLASSPLATE_WHEEL")
    return (
        repository / given if given else build_wheel(repository, tmp_path_factory.mktemp("wheel"))
    )


@pytest.fixture(scope="session")
def names(wheel) -> list[str]:
    """Files in the wheel."""
    return zipfile.ZipFile(wheel).namelist()


class TestWheel:
    @pytest.mark.slow
    def test_holds_one_name_at_the_top(self, names):
        tops = {name.split("/")[0] for name in names}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"glassplate"}

    def test_holds_every_module_and_recipe_of_the_tree(self, repository, names):
        wanted = {
            f"glassplate/{path.relative_to(repository).as_posix()}"
            for folder in FOLDERS
            for pattern in ("*.py", "*.yaml", "*.html", "*.css", "*.js", "py.typed")
            for path in (repository / folder).rglob(pattern)
        }
        wanted |= {f"glassplate/{path.name}" for path in (repository / "interface").glob("*.py")}
        wanted.add("glassplate/py.typed")
        inside = {name for name in names if name.startswith("glassplate/")}
        assert inside == wanted

    def test_says_that_it_is_typed(self, names):
        for folder in ("models", "pipeline", "flows"):
            assert f"glassplate/{folder}/py.typed" in names

    def test_carries_the_licence(self, wheel, names):
        licence = next(name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
        assert b"Apache License" in zipfile.ZipFile(wheel).read(licence)

    def test_does_not_ask_for_what_is_only_compared_with(self, wheel, names):
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = zipfile.ZipFile(wheel).read(metadata).decode()
        needed = [
            line for line in text.splitlines() if "Requires-Dist" in line and "extra" not in line
        ]
        assert not any("bm3d" in line or "scikit-image" in line for line in needed)
        assert any("torch" in line for line in needed)


def test_every_folder_with_code_is_a_listed_package(repository):
    """A folder that is not listed works in an editable install and is missing from the wheel."""
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        f"glassplate.{path.parent.relative_to(repository).as_posix().replace('/', '.')}"
        for folder in FOLDERS
        for path in (repository / folder).rglob("*.py")
    }
    assert sorted(settings["packages"]) == sorted({"glassplate", *found})


@pytest.mark.skipif(
    "GLASSPLATE_WHEEL" not in os.environ, reason="only make test installs the wheel"
)
def test_the_suite_runs_against_the_installed_wheel(repository):
    for folder in FOLDERS:
        module = importlib.import_module(f"glassplate.{folder}")
        assert repository / folder != Path(module.__file__).parent
        assert Path(module.__file__).is_relative_to(sys.prefix)


def test_the_command_is_installed():
    (entry,) = {
        (point.name, point.value)
        for point in importlib.metadata.entry_points(group="console_scripts")
        if point.name == "glassplate"
    }
    assert entry == ("glassplate", "glassplate.flows.cli.main:main")
    assert callable(importlib.import_module("glassplate.flows.cli.main").main)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads(name):
    load_recipe(name)


def test_the_promised_recipes_are_shipped():
    promised = {
        "astro-denoise",
        "archive-colorize",
        "archive-deartifact",
        "archive-denoise",
        "archive-fill",
        "archive-impulse",
        "archive-repair",
        "astro-repair",
        "archive-upscale",
        "astro-deconvolve",
        "draft",
        "reference",
        "identity",
    }
    assert promised <= set(recipe_names())


@pytest.fixture(scope="module")
def project(repository) -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def test_the_version_is_in_the_changelog(repository, project):
    heading = rf"^## {re.escape(project['version'])}\b"
    assert re.search(heading, (repository / "CHANGELOG.md").read_text(), re.M)


def test_the_citation_agrees_with_the_project(repository, project):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}
    assert required <= set(citation)
    assert citation["title"].startswith(f"{project['name']}: ")
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Repository"]
    assert citation["keywords"] == project["keywords"]


def test_pre_commit_runs_tools_of_the_project(repository):
    """Each hook is local, and its tool is one that the extra dev installs."""
    config = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())
    assert {source["repo"] for source in config["repos"]} == {"local"}
    hooks = {hook["id"]: hook["entry"].split() for hook in config["repos"][0]["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "codespell", "mypy"}
    assert {Path(words[0]).parent for words in hooks.values()} == {Path(".venv/bin")}
    tools = {Path(words[0]).name for words in hooks.values()} - {"python"}
    assert tools == {"ruff", "codespell"}
    assert hooks["mypy"][1:] == ["-m", "mypy"]


def read_pins(path: Path) -> dict[str, str]:
    """Return the version of each distribution that a constraints file names."""
    entries = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return {
        canonicalize_name(entry.split("==")[0]): entry.split("==")[1] for entry in entries if entry
    }


@pytest.fixture(scope="module")
def pins(repository) -> dict[str, str]:
    """Versions of constraints.txt."""
    return read_pins(repository / "constraints.txt")


@pytest.fixture(scope="module", params=["dev", "docs"])
def installed(request) -> dict[str, str]:
    """Versions of what glassplate with one of its extras needs, directly or not."""
    if request.param == "docs":
        pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    return _closure("glassplate", (request.param,))


class TestConstraints:
    @pytest.mark.slow
    def test_pin_everything_that_gets_installed(self, pins, installed):
        assert set(installed) - set(pins) - {"glassplate"} == set()

    def test_agree_with_what_is_installed(self, pins, installed):
        wrong = {
            name: (pins[name], version)
            for name, version in installed.items()
            if name in pins and version.split("+")[0] != pins[name]
        }
        assert wrong == {}

    def test_of_the_oldest_versions_are_the_floors_of_the_project(self, repository, project):
        floors = {}
        for text in project["dependencies"]:
            requirement = Requirement(text)
            (floor,) = [part.version for part in requirement.specifier if part.operator == ">="]
            floors[canonicalize_name(requirement.name)] = Version(floor)
        oldest = read_pins(repository / "constraints-oldest.txt")
        assert {name: Version(version) for name, version in oldest.items()} == floors

    @pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
    def test_name_no_machine(self, repository, name):
        text = (repository / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*-", text, re.M)


def _closure(name: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed distributions that `name` needs, directly or not."""
    found: dict[str, str] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        current, extra = waiting.pop()
        if (canonicalize_name(current), extra) in asked:
            continue
        asked.add((canonicalize_name(current), extra))
        distribution = importlib.metadata.distribution(current)
        found[canonicalize_name(current)] = distribution.version
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, e) for e in ("", *requirement.extras)]
    return found
