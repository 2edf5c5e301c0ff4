"""A typo in one plan's YAML hurts that plan's DAG file and no other."""

import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path):
    """A DAG folder and a plan folder with the plans `alpha` and `beta`, and the static DAG files."""
    dags, plans = tmp_path / "dags", tmp_path / "plans"
    shutil.copytree(REPOSITORY / "dags", dags, ignore=shutil.ignore_patterns("shop*.py", "__pycache__"))
    plans.mkdir()
    for name in ("alpha", "beta"):
        (dags / f"{name}.py").write_text((REPOSITORY / "dags" / "shop.py").read_text().replace("shop", name))
        shutil.copy(REPOSITORY / "include" / "migrations" / "shop.yaml", plans / f"{name}.yaml")
    return dags, plans


def test_the_import_error_names_file_and_key_and_the_other_plan_is_unaffected(parse, folders):
    dags, plans = folders
    broken = plans / "beta.yaml"
    broken.write_text(broken.read_text().replace("max_bytes:", "max_byte:"))

    found = parse(dags, plans)

    assert set(found.import_errors) == {"beta.py"}
    error = found.import_errors["beta.py"]
    assert "beta.yaml: lag.max_byte: unknown key. Did you mean 'max_bytes'?" in error
    assert {"alpha.migrate", "abort"} <= found.dags.keys()
    assert "beta.migrate" not in found.dags


def test_a_missing_plan_is_named_too(parse, folders):
    dags, plans = folders
    (plans / "beta.yaml").unlink()

    found = parse(dags, plans)

    assert "beta.yaml: there is no such file" in found.import_errors["beta.py"]
    assert "alpha.migrate" in found.dags
