"""The documentation: commands and options exist, links lead somewhere, examples run.

Each bash example runs in a folder of its own that holds the files of `example_files`, with fits of three
iterations. An HTML comment right before an example changes that: `<!-- not run: REASON -->`, or
`<!-- run with: OPTIONS -->` for options that every `glassplate restore` of it needs here.
"""

from __future__ import annotations

import ast
import importlib.resources
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from command_server import command_server
from example_files import write_examples

from glassplate.pipeline.recipe import known_keys, load_recipe, parse_recipe, recipe_names

REPOSITORY = Path(__file__).resolve().parent.parent
GUIDE = sorted((REPOSITORY / "docs").glob("*.md"))
NOTES = sorted((REPOSITORY / "docs" / "design").glob("*.md"))
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *GUIDE,
    *NOTES,
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Recipes and jobs that examples give names to; everything else must be shipped.
OWN_FILES = {"mine.yaml", "job.yaml"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of one language, in order."""
    return [text for kind, text in FENCE.findall(page.read_text("utf-8")) if kind == language]


def command_lines(page: Path, program: str) -> list[list[str]]:
    """Calls of a program in the bash examples of a page, as words."""
    lines = [
        line
        for text in blocks(page, "bash")
        for line in text.replace("\\\n", " ").splitlines()
        if re.match(rf"(\$ )?(\.venv/bin/)?{program}\b", line)
    ]
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [
        call[: next((i for i, w in enumerate(call) if w in {">", "|", "&&"}), None)]
        for call in words
    ]


def glassplate(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(Path(sys.executable).with_name("glassplate")), *words]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Options of each command, as its --help shows them."""
    names = re.findall(r"^\W*([a-z]+)  ", glassplate("--help").stdout, re.MULTILINE)
    texts = {name: glassplate(name, "--help").stdout for name in names}
    return {name: set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", t)) for name, t in texts.items()}


def test_the_help_was_understood(options):
    assert {"restore", "plan", "batch", "serve", "inspect", "verify", "export"} <= set(options)
    assert {"--recipe", "--set", "-o", "--scale"} <= options["restore"]


@pages
def test_commands_and_options_exist(page, options):
    for call in command_lines(page, "glassplate"):
        assert call[1] in options, f"{page.name}: {' '.join(call)}"
        used = {word.split("=")[0] for word in call[2:] if re.match(r"--?[a-z]", word)}
        assert used <= options[call[1]] | {"--help"}, f"{page.name}: {' '.join(call)}"


@pages
def test_recipes_and_settings_exist(page):
    for call in command_lines(page, "glassplate"):
        after = dict(itertools.pairwise(call))
        recipe = after.get("--recipe", after.get("recipes", "draft"))
        if recipe not in OWN_FILES:
            assert recipe in recipe_names(), f"{page.name}: {' '.join(call)}"
        settings = [b for a, b in itertools.pairwise(call) if a == "--set"]
        scale = int(after["--scale"]) if "--scale" in after else None
        load_recipe(recipe if recipe in recipe_names() else "draft", settings, scale=scale)


@pages
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {call[1] for call in command_lines(page, "make")} <= targets


@pages
def test_links_lead_somewhere(page):
    text = re.sub(FENCE, "", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name}: {link}"


@pages
def test_yaml_examples_are_taken(page):
    from glassplate.flows.jobs.job import Job

    for text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if "inputs" in document:
            Job.model_validate(document)
        else:
            parse_recipe(document, page.name)


def test_every_page_is_in_the_index():
    for index, others in (
        (REPOSITORY / "docs" / "index.md", GUIDE),
        (NOTES[-1].with_name("README.md"), NOTES),
    ):
        text = index.read_text("utf-8")
        missing = [p.name for p in others if p != index and f"({p.name})" not in text]
        assert missing == [], f"{index} does not link {missing}"


class TestSite:
    """The site that `make docs` builds."""

    def test_the_menu_names_every_page_of_the_guide(self):
        menu = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))["nav"]
        named = [page for section in menu for pages in section.values() for page in pages]
        assert sorted(named) == [page.name for page in GUIDE]

    @pytest.mark.slow
    def test_builds_without_a_warning_and_loads_nothing_from_elsewhere(self, tmp_path):
        pytest.importorskip("mkdocs", reason="the extra docs is not installed")
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, "--site-dir", tmp_path / "site"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=REPOSITORY,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        loaded = r'<(?:script|link|img)\b[^>]*\b(?:src|href)="(https?:[^"]*)"'
        pages = [page.read_text("utf-8") for page in (tmp_path / "site").rglob("*.html")]
        assert len(pages) > len(GUIDE) + len(NOTES)
        assert [link for page in pages for link in re.findall(loaded, page)] == []


class TestRecipeKeys:
    page = REPOSITORY / "docs" / "recipes.md"

    def test_are_all_documented(self):
        text = self.page.read_text("utf-8")
        assert [key for key in known_keys() if f"| `{key}` |" not in text] == []

    def test_are_documented_as_they_are(self):
        made = subprocess.run(
            [sys.executable, REPOSITORY / "docs" / "recipe_keys.py", "--check"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    def test_each_says_what_it_means(self):
        rows = re.findall(r"^\| `[\w.]+` \|.*\|$", self.page.read_text("utf-8"), re.MULTILINE)
        assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an image and its result, of three levels, as the examples assume."""
    folder = tmp_path_factory.mktemp("examples")
    values = np.random.default_rng(0).normal(100, 5, (600, 80)).astype(np.float32)
    fits.writeto(folder / "image.fits", values)
    words = ("restore", "image.fits", "-o", "image.zarr", "--recipe", "identity")
    done = glassplate(*words, "--pool", "inline", "--progress", "none", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


class TestPythonExamples:
    @pages
    def test_compile(self, page):
        for text in blocks(page, "python"):
            compile(text, page.name, "exec")

    @pytest.mark.parametrize("name", ["results.md", "python.md"])
    def test_run_in_order(self, name, folder, monkeypatch, capsys):
        monkeypatch.chdir(folder)
        names: dict[str, object] = {"__name__": "example"}
        for text in blocks(REPOSITORY / "docs" / name, "python"):
            exec(compile(text, name, "exec"), names)
        assert "nan" not in capsys.readouterr().out


BASH = re.compile(
    r"^(?:<!-- (not run|run with): (.+?) -->\n)?```(?:bash|sh|console)\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)
BASH_EXAMPLES = [
    pytest.param(page, found[2] or "", found[3], id=f"{page.name}:{found[3].splitlines()[0][:60]}")
    for page in PAGES
    for found in BASH.finditer(page.read_text("utf-8"))
    if found[1] != "not run"
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with every file that the bash examples read."""
    folder = tmp_path_factory.mktemp("inputs")
    write_examples(folder)
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder with the command `glassplate`."""
    with command_server(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.mark.slow
class TestBashExamples:
    @pytest.mark.parametrize(("page", "options", "text"), BASH_EXAMPLES)
    def test_run(self, page, options, text, inputs, folder, commands, tmp_path):
        work = tmp_path / "work"
        shutil.copytree(inputs, work)
        if "image.zarr" in text and "-o image.zarr" not in text:
            shutil.copytree(folder / "image.zarr", work / "image.zarr")
            shutil.copy2(folder / "image.fits", work / "image.fits")
        write_job(page, work)
        environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "EXTRA_OPTIONS": options,
            "GLASSPLATE_SCRATCH": str(tmp_path),
        }
        script = text.replace("/data/tmp", str(tmp_path))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            env=environment,
            cwd=work,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_failing_example_is_noticed(self, commands, tmp_path):
        environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
        command = ["bash", "-c", "glassplate restore missing.fits -o missing.zarr"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        assert done.returncode == 2
        assert "missing.fits" in done.stderr


def write_job(page: Path, folder: Path) -> None:
    """Write the first job of a page as job.yaml, with short fits in this process."""
    jobs = [yaml.safe_load(text) for text in blocks(page, "yaml")]
    for job in [job for job in jobs if "inputs" in job][:1]:
        short = {"pool": "inline", "device": "cpu", "set": {"fit.iterations": 3}}
        (folder / "job.yaml").write_text(yaml.safe_dump({**job, **short}), "utf-8")


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Every string in the code; a star stands for each value that an f-string fills in."""
    found = []
    for package in ("models", "pipeline", "flows"):
        folder = Path(str(importlib.resources.files(f"glassplate.{package}")))
        for file in sorted(folder.rglob("*.py")):
            found += [_text(node) for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    return [text for text in found if text]


class TestTrouble:
    """Each heading of trouble.md quotes a message of the program."""

    page = REPOSITORY / "docs" / "trouble.md"

    def test_quotes_messages_that_exist(self, messages):
        quoted = re.findall(r"^### `(.*)`$", self.page.read_text("utf-8"), re.MULTILINE)
        assert len(quoted) >= 20
        stars = {quote: re.sub(r"<[^>]*>", "*", quote) for quote in quoted}
        invented = [q for q, star in stars.items() if not any(star in text for text in messages)]
        assert invented == []


def _text(node: ast.AST) -> str:
    """The text of a string or f-string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else "*" for p in node.values)
        return re.sub(r"\*+", "*", "".join(parts))
    return ""
