"""The lab as a whole, without Airflow (see test_airflow.py)."""

import json
import time

import psycopg
import pytest
import yaml

from crossfade_lab import testing
from crossfade_lab.processes import LabError
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
