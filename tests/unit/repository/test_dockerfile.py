"""The images copy what exists, and nothing that the build context leaves out."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILES = {".": ROOT / "Dockerfile", "docker/pgbouncer": ROOT / "docker" / "pgbouncer" / "Dockerfile"}


def instructions(file: Path) -> list[str]:
    """The instructions, each on one line."""
    return file.read_text().replace("\\\n", " ").splitlines()


def copied(context: str) -> list[str]:
    """What COPY takes from the build context."""
    found = []
    for line in instructions(DOCKERFILES[context]):
        if line.startswith("COPY ") and "--from=" not in line:
            words = [word for word in line.split()[1:] if not word.startswith("--")]
            found += words[:-1]
    return found


@pytest.mark.parametrize(("context", "source"), [(c, source) for c in DOCKERFILES for source in copied(c)])
def test_what_is_copied_exists(context: str, source: str) -> None:
    assert (ROOT / context / source).exists()


@pytest.mark.parametrize("source", copied("."))
def test_what_is_copied_is_in_the_build_context(source: str) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert any(source == rule or source.startswith(rule + "/") for rule in kept)
    assert not any(fnmatch(source, rule) for rule in rules[1:] if not rule.startswith("!"))


def test_the_image_is_of_the_pinned_airflow() -> None:
    (pinned,) = re.findall(r"^apache-airflow==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    bases = [line.split()[1] for line in instructions(ROOT / "Dockerfile") if line.startswith("FROM ")]
    assert set(bases) == {f"apache/airflow:{pinned}-python3.11"}


def test_the_wheel_is_built_from_everything_that_its_configuration_names() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [
        *build["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        build["project"]["readme"],
        *build["project"]["license-files"],
        "pyproject.toml",
    ]
    assert set(needed) <= set(copied("."))


def test_airflow_s_loader_finds_only_the_plugin_itself() -> None:
    plugins = [source for source in copied(".") if source.startswith("plugins/") and not source.endswith("_airflow")]
    assert sorted(plugins) == ["plugins/.airflowignore", "plugins/crossfade_plugin.py"]
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "crossfade_airflow" not in final


def test_the_client_programs_are_of_the_target_s_version() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "postgresql-client-18" in text
    assert "PG_BIN=/usr/lib/postgresql/18/bin" in text
    assert "image: postgres:18" in (ROOT / "docker-compose.yaml").read_text()
