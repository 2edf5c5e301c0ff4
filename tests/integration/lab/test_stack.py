"""The lab as a whole, without Airflow (see test_airflow.py)."""

import json
import time

import psycopg
import pytest
import yaml

from crossfade_lab import testing
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import Engine
from crossfade_lab.stack import Lab


def test_a_lab_can_be_taken_over_by_another_process_and_stopped() -> None:
    with testing.scratch_directory() as directory:
        lab = Lab(directory / "lab", detached=False)
        lab.up(500, airflow=False, tell=lambda _: None)
        try:
            assert lab.serving() is lab.source
            for endpoint in lab.endpoints():
                with psycopg.connect(endpoint, prepare_threshold=None) as connection:
                    assert connection.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)
            plan = yaml.safe_load((lab.plans / "shop.yaml").read_text())
            assert plan["routers"][0]["switch"] == {"file": str(lab.databases), "via": "local"}
            known = json.loads((lab.directory / "lab.json").read_text())
            assert known["connections"]["shop_source"]["port"] == lab.source.port
            assert (lab.directory / "lab.json").stat().st_mode & 0o077 == 0
            with pytest.raises(LabError, match="up already"):
                Lab(lab.directory).up(500)
        finally:
            begin = time.monotonic()
            Lab(lab.directory).down()
        assert time.monotonic() - begin < 10
        assert not any(part.running for part in lab.parts())


def test_a_lab_for_dms_has_a_local_aws_and_logins_of_its_own() -> None:
    with testing.scratch_directory() as directory:
        lab = Lab(directory / "lab", detached=False)
        lab.up(500, engine=Engine.DMS, airflow=False, tell=lambda _: None)
        try:
            again = Lab(lab.directory)
            assert again.engine is Engine.DMS
            assert [part.where for part in again.parts() if part.name == "local AWS" and part.running] == [lab.aws.url]
            dms = again.aws.client("dms")
            assert dms.describe_replication_tasks()["ReplicationTasks"] == []
            known = again.connections()
            extra = known["aws_default"]["extra"]
            assert isinstance(extra, dict) and extra["endpoint_url"] == lab.aws.url
            for side in ("source", "target"):
                told = known[f"shop_dms_{side}"]
                with psycopg.connect(
                    host=str(told["host"]), port=int(str(told["port"])), user=str(told["login"]),
                    password=str(told["password"]), dbname=str(told["schema"]),
                ) as connection:  # fmt: skip
                    query = "SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user"
                    assert connection.execute(query).fetchone() == (False, side == "source")
            assert yaml.safe_load((lab.plans / "shop_dms.yaml").read_text())["engine"] == "dms"
        finally:
            Lab(lab.directory).down()
        assert not any(part.running for part in lab.parts())
