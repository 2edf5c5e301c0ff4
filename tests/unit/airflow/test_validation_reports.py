"""Where reports of validations are kept in Airflow, who may read them in a browser, and how a task leads to its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.api_fastapi import app as api
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.settings import engine
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crossfade.validation.report import save
from crossfade.validation.result import Mode, Report
from crossfade_airflow.validation_reports import (
    XCOM_KEY,
    ValidationReportLink,
    address,
    publish,
    reports_directory,
)

PLUGIN = Path(__file__).parents[3] / "plugins" / "crossfade_plugin.py"
NAME = "20260501T021503Z-3f0f6f5e"
OF_SHOP = f"/crossfade/validations/shop/{NAME}.html"


def report(plan: str = "shop") -> Report:
    return Report(
        id="3f0f6f5e",
        plan=plan,
        run_id="manual",
        mode=Mode.QUICK,
        started_at=datetime(2026, 5, 1, 2, 15, 3, tzinfo=UTC),
        finished_at=datetime(2026, 5, 1, 2, 15, 4, tzinfo=UTC),
        source="PostgreSQL 16",
        target="PostgreSQL 18",
    )


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where reports are kept."""
    monkeypatch.setenv("CROSSFADE_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


# ── where ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("configured", "found"),
    [
        (None, "file:///opt/airflow/reports"),
        ("", "file:///opt/airflow/reports"),
        ("kept/here", "file:///opt/airflow/kept/here"),
        ("/srv/reports", "file:///srv/reports"),
        ("file:///srv/reports", "file:///srv/reports"),
        ("memory://bucket/prefix", "memory://bucket/prefix"),
    ],
)
def test_reports_are_kept_in_airflow_s_home_or_where_the_variable_says(
    configured: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/opt/airflow")
    if configured is None:
        monkeypatch.delenv("CROSSFADE_REPORTS", raising=False)
    else:
        monkeypatch.setenv("CROSSFADE_REPORTS", configured)
    assert str(reports_directory()) == found


# ── the task ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Task:
    """As much of a running task as keeps XComs."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.told[key] = value


def test_only_verdict_and_path_are_told(directory: Path) -> None:
    task = Task()
    assert publish(report(), {"ti": task}) == task.told[XCOM_KEY]
    assert task.told == {XCOM_KEY: {"verdict": "ok", "path": f"file://{directory}/shop/{NAME}.html"}}


def test_a_report_that_cannot_be_saved_costs_no_verdict(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory.write_text("a file where the directory should be")
    task = Task()
    assert publish(report(), {"ti": task}) == {"verdict": "ok", "path": ""}
    assert "CROSSFADE_REPORTS" in caplog.text
    assert address(task.told[XCOM_KEY]) == ""


@pytest.mark.parametrize(
    "path", [f"file:///opt/reports/shop/{NAME}.html", f"s3://aws_default@bucket/prefix/shop/{NAME}.html"]
)
def test_the_link_is_relative_and_the_same_wherever_reports_are_kept(path: str) -> None:
    assert "/" + address({"verdict": "ok", "path": path}) == OF_SHOP


def test_a_task_that_wrote_no_report_has_no_link() -> None:
    assert address(None) == ""


# ── the browser ──────────────────────────────────────────────────────────────────────────────────────────────────


class OneDag(SimpleAuthManager):
    """Lets users read the DAGs that are named as their teams."""

    def is_authorized_dag(self, *, user: Any, method: str, details: DagDetails | None = None, **_: Any) -> bool:
        return method == "GET" and details is not None and details.id in user.teams


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    """The plugin's file, loaded as Airflow does it: on its own."""
    spec = importlib.util.spec_from_file_location("crossfade_plugin", PLUGIN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def metadata() -> None:
    """Airflow's database, in the home that this process has: it is asked for revoked logins and teams."""
    import_all_models()
    Base.metadata.create_all(engine)


@pytest.fixture
def browser(
    metadata: None, plugin: ModuleType, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TestClient]:
    """A browser before an API server; of a user who may read the given DAGs, or of nobody."""
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret that is long enough for a signature of sixty-four bytes"
    )
    manager = OneDag()
    monkeypatch.setattr(api._AuthManagerState, "instance", manager)
    server = FastAPI()
    for served in plugin.CrossfadePlugin.fastapi_apps:
        server.mount(served["url_prefix"], served["app"])

    def open_as(*dags: str, user: bool = True) -> TestClient:
        client = TestClient(server)
        if user:
            who = SimpleAuthManagerUser(username="alice", role="viewer", teams=list(dags))
            client.cookies.set("_token", manager.generate_jwt(who))
        return client

    save(report(), directory)
    save(report("other"), directory)
    return open_as


def test_who_may_read_the_plan_s_dag_sees_its_report(browser: Callable[..., TestClient], directory: Path) -> None:
    answer = browser("shop.migrate").get(OF_SHOP)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (directory / "shop" / f"{NAME}.html").read_bytes()
    json = browser("shop.migrate").get(OF_SHOP.replace(".html", ".json"))
    assert Report.model_validate_json(json.content) == report()


def test_a_report_may_run_nothing_and_load_nothing(browser: Callable[..., TestClient]) -> None:
    headers = browser("shop.migrate").get(OF_SHOP).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "frame-ancestors 'self'"} <= set(policy)
    assert not [part for part in policy if part.startswith("script-src")]
    assert headers["x-content-type-options"] == "nosniff"
    assert "no-store" in headers["cache-control"]


def test_nobody_sees_a_report_without_a_login(browser: Callable[..., TestClient]) -> None:
    assert browser(user=False).get(OF_SHOP).status_code == 401


def test_a_forged_login_is_refused(browser: Callable[..., TestClient]) -> None:
    client = browser(user=False)
    client.cookies.set("_token", "forged")
    assert client.get(OF_SHOP).status_code == 403


def test_who_may_read_another_plan_s_dag_does_not_see_the_report(browser: Callable[..., TestClient]) -> None:
    assert browser("other.migrate").get(OF_SHOP).status_code == 403
    assert browser("shop.guard").get(OF_SHOP).status_code == 403


@pytest.mark.parametrize(
    "asked",
    [
        f"/crossfade/validations/shop/{NAME.replace('3f', '4f')}.html",
        "/crossfade/validations/shop/secret.html",
        f"/crossfade/validations/shop/.{NAME}.17.part",
        "/crossfade/validations/shop/..%2Fother%2F" + NAME + ".html",
        "/crossfade/validations/shop/%2e%2e",
        "/crossfade/validations/%2e%2e/secret.html",
        "/crossfade/validations/..%2F..%2Fshop/" + NAME + ".html",
        f"/crossfade/validations/shop/{NAME}.html%0a",
        f"/crossfade/validations/shop/{NAME}.html%00",
        "/crossfade/openapi.json",
        "/crossfade/docs",
    ],
)
def test_nothing_but_saved_reports_of_the_plan_is_found(
    asked: str, browser: Callable[..., TestClient], directory: Path
) -> None:
    for secret in (directory / "secret.html", directory / "shop" / "secret.html", directory.parent / "secret.html"):
        secret.write_text("secret")
    answer = browser("shop.migrate", "...migrate", "../../shop.migrate").get(asked)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_only_reading_is_served(browser: Callable[..., TestClient]) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert browser("shop.migrate").request(method, OF_SHOP).status_code == 405


def test_the_plugin_brings_the_link_and_what_it_leads_to(plugin: ModuleType) -> None:
    found = plugin.CrossfadePlugin
    assert [type(link) for link in found.operator_extra_links] == [ValidationReportLink]
    assert [served["url_prefix"] for served in found.fastapi_apps] == ["/crossfade"]
