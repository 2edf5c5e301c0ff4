"""What can be said of Dockerfile and docker-compose.yaml where no container engine runs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossfade.plan import Plan, load_plan
from crossfade.plan_routers import ConffileSwitch
from crossfade.routers.pgbouncer_ini import destinations
from crossfade_lab.airflow import USERS
from crossfade_lab.pgbouncer import ADMIN
from crossfade_lab.shop.data import Logins, sizes

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = ("init", "api-server", "scheduler", "dag-processor", "triggerer", "worker")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:-)?")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(ROOT / "include" / "migrations" / "shop.yaml")


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What a service mounts, by the place where it appears."""
    return {mount.split(":")[1]: mount.split(":")[0] for mount in service.get("volumes", [])}


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, ROOT / "docker-compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_nothing_of_the_past_is_in_it() -> None:
    assert "version" not in COMPOSE


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_an_image_or_something_to_build_it_from(name: str) -> None:
    service = SERVICES[name]
    assert service["image"]
    if "build" in service:
        assert (ROOT / service["build"] / "Dockerfile").is_file()
    else:
        assert re.fullmatch(r"[a-z]+:[\w.-]+", service["image"]), "an official image, with its version"


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_and_volume_that_is_mounted_exists(name: str) -> None:
    for inside, outside in mounts(SERVICES[name]).items():
        assert inside.startswith("/")
        if outside.startswith("./"):
            assert (ROOT / outside).exists()
        else:
            assert outside in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_whoever_is_waited_for_can_become_what_is_waited_for(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert wanted["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "init"])
def test_every_service_that_stays_says_whether_it_is_healthy(name: str) -> None:
    assert "test" in SERVICES[name]["healthcheck"]


def test_secrets_come_from_the_environment_and_every_one_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    needed = {name for name, default in VARIABLE.findall(text) if not default}
    example = dict(
        line.split("=") for line in (ROOT / ".env.example").read_text().splitlines() if not line.startswith("#")
    )
    assert needed == example.keys()
    assert not any(example.values())
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|FERNET", key):
                assert VARIABLE.match(value), key


def test_an_env_file_stays_out_of_git() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", AIRFLOW)
def test_every_connection_of_the_plan_is_provided_and_leads_to_a_service(name: str, plan: Plan) -> None:
    wanted = {plan.source, plan.target, plan.source_from_target, plan.target_from_source}
    wanted |= {admin for router in plan.routers for admin in router.admin}
    for conn_id in wanted - {None}:
        connection = json.loads(SERVICES[name]["environment"][f"AIRFLOW_CONN_{str(conn_id).upper()}"])
        assert connection["host"] in SERVICES
        assert connection["conn_type"] == "postgres"
        assert connection["login"] == (ADMIN if "pgbouncer" in connection["host"] else "crossfade")
        assert VARIABLE.match(connection["password"])
        assert connection["schema"] == ("pgbouncer" if "pgbouncer" in connection["host"] else "shop")


def test_the_poolers_share_with_the_worker_the_file_that_the_plan_rewrites(plan: Plan) -> None:
    switch = plan.routers[0].switch
    assert not isinstance(switch, ConffileSwitch)
    directory = str(Path(switch.file).parent)
    assert {mounts(SERVICES[name])[directory] for name in ("worker", "pgbouncer-1", "pgbouncer-2")} == {"pgbouncer"}
    built = (ROOT / "docker" / "pgbouncer" / "Dockerfile").read_text()
    assert f"--chown=50000:0 --chmod=664 databases.ini {switch.file}" in built
    assert f"%include {switch.file}\n" in (ROOT / "docker" / "pgbouncer" / "pgbouncer.ini").read_text()


def test_the_poolers_start_on_the_source_under_the_name_the_plan_uses(plan: Plan) -> None:
    found = destinations((ROOT / "docker" / "pgbouncer" / "databases.ini").read_text())
    assert {name: (to.host, to.port, to.dbname) for name, to in found.items()} == {
        name: ("source", 5432, "shop") for name in plan.routers[0].database
    }


def test_the_pooler_lets_clients_be_paused_and_does_not_run_as_root() -> None:
    settings = (ROOT / "docker" / "pgbouncer" / "pgbouncer.ini").read_text()
    assert {"pool_mode = transaction", "server_login_retry = 1", f"admin_users = {ADMIN}"} <= set(settings.splitlines())
    assert "\nUSER 6432:0\n" in (ROOT / "docker" / "pgbouncer" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["source", "target"])
def test_both_servers_can_publish_and_subscribe(name: str) -> None:
    assert "wal_level=logical" in SERVICES[name]["command"]
    assert f"/docker-entrypoint-initdb.d/{name}.sh" in mounts(SERVICES[name])


def test_the_volume_of_a_server_is_where_its_image_keeps_data() -> None:
    for name, image in (("source", "postgres:16"), ("target", "postgres:18"), ("metadata", "postgres:16")):
        assert SERVICES[name]["image"] == image
        place = "/var/lib/postgresql" if image == "postgres:18" else "/var/lib/postgresql/data"
        assert mounts(SERVICES[name])[place] == name


def test_whoever_may_approve_can_log_in(plan: Plan) -> None:
    users = SERVICES["api-server"]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    assert dict(user.split(":") for user in users.split(",")) == USERS
    assert set(plan.cutover.approvers) <= USERS.keys()
    for user in USERS:
        assert f"{user.upper()}_PASSWORD" in SERVICES["api-server"]["environment"]
        assert f'"{user}"' in (ROOT / "docker" / "airflow" / "api-server.sh").read_text()


@pytest.mark.parametrize("script", sorted((ROOT / "docker").rglob("*.sh")), ids=lambda path: path.name)
def test_every_script_parses_runs_and_stops_at_its_first_error(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail\n" in script.read_text()


def test_the_source_is_filled_with_every_number_of_rows_that_the_sample_wants() -> None:
    script = (ROOT / "docker" / "postgres" / "source.sh").read_text()
    assert set(re.findall(r"--set (\w+)=\$\(\(", script)) == sizes(1000).keys()
    for file in re.findall(r"--file /sample/shop/(\S+)", script):
        assert (ROOT / "lab" / "crossfade_lab" / "shop" / file).is_file()


def test_the_pooler_knows_every_login_of_the_shop() -> None:
    script = (ROOT / "docker" / "pgbouncer" / "entrypoint.sh").read_text()
    for user in Logins().applications():
        assert f'login {user} "${user.upper()}_PASSWORD"' in script
        assert f"{user.upper()}_PASSWORD" in SERVICES["pgbouncer-1"]["environment"]


def test_a_new_env_file_holds_a_secret_for_every_line_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    for name in ("docker/new-env.sh", ".env.example"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    subprocess.run(["bash", tmp_path / "docker" / "new-env.sh"], check=True, capture_output=True)
    made = tmp_path / ".env"
    lines = [line.split("=", 1) for line in made.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]{40,}=?", secret) for _, secret in lines)
    assert len({secret for _, secret in lines}) == len(lines)
    assert made.stat().st_mode & 0o077 == 0
    before = made.read_text()
    subprocess.run(["bash", tmp_path / "docker" / "new-env.sh"], check=True, capture_output=True)
    assert made.read_text() == before
