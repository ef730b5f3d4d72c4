"""The documentation: commands and options exist, links lead somewhere, messages are those of the program."""

from __future__ import annotations

import ast
import importlib.resources
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from doc_pages import FENCE, GUIDE, NOTES, PAGES, REPOSITORY, TUTORIALS, blocks

from glassplate.pipeline.recipes.recipe import known_keys, load_recipe, parse_recipe, recipe_names

# Recipes and jobs that examples give names to; everything else must be shipped.
OWN_FILES = {"mine.yaml", "job.yaml"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


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


def glassplate(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(Path(sys.executable).with_name("glassplate")), *words]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Options of each command, as its --help shows them."""
    names = re.findall(r"^\W*([a-z]+)  ", glassplate("--help").stdout, re.MULTILINE)
    texts = {name: glassplate(name, "--help").stdout for name in names}
    return {name: set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", t)) for name, t in texts.items()}


@pytest.mark.slow
def test_the_help_was_understood(options):
    assert {"restore", "plan", "batch", "serve", "inspect", "verify", "export"} <= set(options)
    assert {"--recipe", "--set", "-o", "--scale"} <= options["restore"]


@pytest.mark.slow
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
        if recipe not in OWN_FILES and not recipe.startswith("--"):
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
def test_paths_exist(page):
    """The files and folders of the repository that a page names are there."""
    folders = "interface|models|pipeline|flows|configs|tests|benchmarks|examples"
    named = re.findall(rf"`((?:{folders})/[\w/.-]+)`", page.read_text("utf-8"))
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_nothing_refers_to_a_document_that_is_not_here():
    outside = re.compile(r"\b(?:DESIGN|STYLE|LAYOUT)(?:\.md| section|, decision)")
    folders = ("interface", "models", "pipeline", "flows", "configs", "benchmarks", "examples")
    files = [path for name in folders for path in (REPOSITORY / name).rglob("*.*")]
    texts = [path for path in files if path.suffix in {".py", ".yaml", ".md"}]
    assert [path for path in [*texts, *PAGES] if outside.search(path.read_text("utf-8"))] == []


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
        (REPOSITORY / "docs" / "index.md", [*GUIDE, *TUTORIALS]),
        (NOTES[-1].with_name("README.md"), NOTES),
    ):
        text = index.read_text("utf-8")
        missing = [p.name for p in others if p != index and f"{p.name})" not in text]
        assert missing == [], f"{index} does not link {missing}"


class TestSite:
    """The site that `make docs` builds."""

    def test_the_menu_names_every_page_of_the_guide(self):
        menu = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))["nav"]
        named = [page for section in menu for pages in section.values() for page in pages]
        folder = REPOSITORY / "docs"
        pages = [str(page.relative_to(folder)) for page in [*GUIDE, *TUTORIALS]]
        assert sorted(named) == sorted(pages)

    @pytest.mark.slow
    def test_builds_without_a_warning_and_loads_nothing_from_elsewhere(self, tmp_path):
        pytest.importorskip("mkdocs", reason="the extra docs is not installed")
        # without the listings of all code, the index of its words, and signatures formatted one by one: half
        # of the time, and nothing in them can lead anywhere
        config = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
        for needless in ("show_source: true", "separate_signature: true"):
            assert needless in config
            config = config.replace(needless, needless.replace("true", "false"))
        config = config.replace("  - search\n", "")
        config = config.replace("docs_dir: docs", f"docs_dir: {REPOSITORY / 'docs'}")
        config = config.replace("- docs/api_pages.py", f"- {REPOSITORY / 'docs' / 'api_pages.py'}")
        (tmp_path / "mkdocs.yml").write_text(config, "utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, "--config-file", tmp_path / "mkdocs.yml", "--site-dir", tmp_path / "site"],
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


class TestNotebooks:
    def test_are_made_from_the_pages_as_they_are(self):
        made = subprocess.run(
            [sys.executable, REPOSITORY / "docs" / "notebooks.py", "--check"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    @pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
    def test_have_the_code_that_the_tests_of_the_page_run(self, page):
        cells = json.loads(page.with_suffix(".ipynb").read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        python = [text for text in code if not text.startswith("%%")]
        assert python == [text.rstrip("\n") for text in blocks(page, "python")]
        assert all("<!--" not in "".join(cell["source"]) for cell in cells)


class TestRecipeKeys:
    page = REPOSITORY / "docs" / "recipes.md"

    def test_are_all_documented(self):
        text = self.page.read_text("utf-8")
        assert [key for key in known_keys() if f"| `{key}` |" not in text] == []

    @pytest.mark.slow
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


class TestFaults:
    """The note of the faults names tests, and they exist."""

    page = REPOSITORY / "docs" / "design" / "026-faults-and-tests.md"

    def rows(self) -> list[tuple[int, list[str]]]:
        """The number of each fault and its tests."""
        rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", self.page.read_text("utf-8"), re.MULTILINE)
        return [(int(number), re.findall(r"`(tests/[^`]+::\w+)`", cell)) for number, cell in rows]

    def test_are_all_there_with_a_test_each(self):
        assert [number for number, tests in self.rows() if tests] == list(range(1, 40))

    def test_all_tests_that_are_named_exist(self):
        named = re.findall(r"`(tests/[^`]*)`", self.page.read_text("utf-8"))
        assert len(named) == sum(len(tests) for _, tests in self.rows())
        there = {file: names_of_tests(REPOSITORY / file) for file, _, _ in map(parted, named)}
        assert [name for name in named if parted(name)[2] not in there[parted(name)[0]]] == []


def parted(name: str) -> tuple[str, str, str]:
    """The file of a test, a separator, and its name in the file."""
    return name.partition("::")


def names_of_tests(path: Path) -> set[str]:
    """Tests of a file, as pytest names them: those of a class after its name."""
    if not path.is_file():
        return set()
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        within = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        functions = (one for one in within if isinstance(one, ast.FunctionDef))
        found |= {prefix + one.name for one in functions if one.name.startswith("test_")}
    return found


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

    @pytest.mark.slow
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
