"""The repository as a whole: pins, hooks, and nothing of the machine it was written on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def files() -> list[Path]:
    """Every text file that is, or could be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in found if path.is_file() and b"\0" not in path.read_bytes()[:8000]]


def test_no_file_names_a_place_of_one_machine_or_an_index_of_packages() -> None:
    private = re.compile(r"/wor[k]/|/roo[t]/|--(?:extra-)?index-ur[l]|/opt/(?:pypi|wheels)")  # does not find itself
    found = {str(path.relative_to(ROOT)): private.findall(path.read_text(errors="replace")) for path in files()}
    assert not {file: names for file, names in found.items() if names}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pins_and_nothing_else(file: str) -> None:
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        assert line == "-r requirements.txt" or re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[\w.]+( ; .*)?", line), (
            line
        )


def test_no_package_is_pinned_twice() -> None:
    assert not pins("requirements.txt").keys() & pins("requirements-dev.txt").keys()


@pytest.mark.parametrize("project", ["pyproject.toml", "lab/pyproject.toml"])
def test_every_dependency_is_pinned_within_its_range(project: str) -> None:
    declared = tomllib.loads((ROOT / project).read_text())
    run, everything = pins("requirements.txt"), pins("requirements.txt") | pins("requirements-dev.txt")
    wanted = [
        (text, run if project == "pyproject.toml" else everything) for text in declared["project"]["dependencies"]
    ]
    wanted += [(text, everything) for text in declared.get("dependency-groups", {}).get("dev", [])]
    for text, pinned in wanted:
        requirement = Requirement(text)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, f"{text}: run make requirements"


def test_hooks_run_the_commands_of_make_lint() -> None:
    dry = subprocess.run(["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"], "nothing is fetched"
    for hook in hooks[0]["hooks"]:
        assert hook["entry"].removesuffix(" --force-exclude") in dry, hook["id"]


def test_every_target_of_the_makefile_that_is_for_people_is_in_its_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "lab", "test", "test-unit", "lint", "format", "requirements", "schema", "clean"):
        assert f"  make {target} " in shown


def test_the_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text[:200]
    assert re.search(r"^ *Copyright \d{4} The Crossfade authors$", text, re.MULTILINE)
    assert "[yyyy]" not in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
