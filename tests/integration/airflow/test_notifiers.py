"""Who is told of a failed validation, through the providers' notifiers: what a Slack, a topic and a mailbox receive."""

from __future__ import annotations

import email
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import boto3
import pytest
import structlog
from aiosmtpd.controller import Controller
from airflow.sdk import DAG, BaseNotifier, BaseOperator
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, MaskSecret, TaskState, XComResult
from airflow.sdk.log import mask_secret
from moto.server import ThreadedMotoServer

from crossfade.errors import Unreachable
from crossfade.plan import Plan, parse_plan
from crossfade.validation.result import CheckResult, ColumnDifference, Mode, Report, RowDifference, TableResult, Verdict
from crossfade.validation.verdicts import MismatchFound, require_ok
from crossfade_airflow.notifiers import notifiers_of, validation
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_airflow.validation_reports import XCOM_KEY

TOKEN = "xoxb-not-to-be-seen"
SECRET = "hunter2-not-to-be-seen"
VALUE = "4111 1111 1111 1111"
EVIL = "public.{{ 7 * 7 }}<b>&\r\nBcc: evil@shop.example"
REPORT = Report(
    id="3f0f6f5e",
    plan="shop",
    run_id="manual",
    mode=Mode.FULL,
    started_at=datetime(2026, 5, 1, 2, 15, 3, tzinfo=UTC),
    finished_at=datetime(2026, 5, 1, 2, 25, 4, tzinfo=UTC),
    source="shop_source: shop on db-1, PostgreSQL 16.4",
    target="shop_target: shop on db-2, PostgreSQL 18.1",
    checks=(CheckResult(name="roles", title="roles", verdict=Verdict.MISMATCH, lines=(f"password {SECRET}",)),),
    tables=(
        TableResult(
            table=EVIL,
            verdict=Verdict.MISMATCH,
            method="key ranges",
            rows=(10, 10),
            differences=(
                RowDifference(
                    kind="differs",
                    key=(("id", VALUE),),
                    columns=(ColumnDifference(name="card", on_source=VALUE, on_target="{{ ti }}"),),
                ),
            ),
        ),
    ),
)
PATH = "file:///opt/reports/shop/20260501T021503Z-3f0f6f5e.html"
TASK_PAGE = "https://airflow.example/dags/shop.validate/runs/manual/tasks/validate"
REPORT_PAGE = "https://airflow.example/crossfade/validations/shop/20260501T021503Z-3f0f6f5e.html"


def plan(*notify: dict[str, Any]) -> Plan:
    return parse_plan(
        {
            "source": "shop_source",
            "target": "shop_target",
            "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
            "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
            "validate": {"notify": list(notify)},
        },
        name="shop",
    )


def context(error: BaseException | None) -> dict[str, Any]:
    """As much of a failed task's context as a callback reads."""
    ti = SimpleNamespace(
        dag_id="shop.validate", run_id="manual", task_id="validate", map_index=-1, log_url=f"{TASK_PAGE}?try_number=1"
    )
    return {"ti": ti, "task": None, "exception": error}


def mismatch() -> MismatchFound:
    with pytest.raises(MismatchFound) as caught:
        require_ok(REPORT)
    return caught.value


def tell(*notify: dict[str, Any], error: BaseException | None = None) -> None:
    """As Airflow calls the callbacks of a task."""
    for callback in notifiers_of(plan(*notify)):
        callback(context(error or mismatch()))


class Supervisor:
    """Stands for the process beside a task: keeps what it is sent, and knows the task's XCom."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, msg: Any) -> Any:
        self.sent.append(msg)
        if isinstance(msg, GetXCom):
            assert (msg.task_id, msg.key) == ("validate", XCOM_KEY)
            return XComResult(key=msg.key, value={"verdict": "mismatch", "path": PATH})
        return None


class Slack(ThreadingHTTPServer):
    """Takes messages as the Slack API does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.posted: list[tuple[str, str, dict[str, Any]]] = []


class Answer(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Authorization"], body))
        answer = {"ok": True} if body["channel"] == "#databases" else {"ok": False, "error": "channel_not_found"}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nowhere."""


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """The connection `slack` leads to it."""
    with Slack() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        extra = {"base_url": f"http://127.0.0.1:{server.server_port}/api/"}
        connection = {"conn_type": "slack", "password": TOKEN, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK", json.dumps(connection))
        yield server
        server.shutdown()


SLACK = {"slack": "slack", "channel": "#databases"}


class Mailbox(Controller):
    """A mail server on a free port; keeps what it takes."""

    def __init__(self) -> None:
        super().__init__(self, hostname="127.0.0.1", port=0)
        self.got: list[Any] = []

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        return "250 OK"


def smtp(port: int) -> str:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@shop.example", "retry_limit": 0}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """The connection `smtp_default` leads to it."""
    server = Mailbox()
    server.start()
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", smtp(server.port))
    yield server
    server.stop()


EMAIL = {"email": ["team@shop.example", "boss@shop.example"]}


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refused() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def supervisor(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Supervisor:
    """In a task of an Airflow that knows its address, and a secret."""
    beside = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", beside, raising=False)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    mask_secret(SECRET)
    caplog.set_level(logging.INFO)
    return beside


# ── what arrives ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_slack_is_told_in_text_that_is_neither_template_nor_markup(slack: Slack, caplog: Any) -> None:
    tell(SLACK)
    ((path, authorization, body),) = slack.posted
    assert (path, authorization, body["channel"]) == ("/api/chat.postMessage", f"Bearer {TOKEN}", "#databases")
    assert body["text"].splitlines() == [
        "*validation of shop: mismatch, 2 problems*",
        "1 table: 1 mismatch; 1 row differing; mode full",
        "Source: shop_source: shop on db-1, PostgreSQL 16.4",
        "Target: shop_target: shop on db-2, PostgreSQL 18.1",
        "Ended: 2026-05-01 02:25 UTC",
        f"Report: {REPORT_PAGE}",
        f"Task: {TASK_PAGE}?try_number=1",
        "- roles: password ***",
        "- public.{{ 7 * 7 }}&lt;b&gt;&amp; Bcc: evil@shop.example: 1 row differs",
    ]
    assert "the Slack channel #databases was told" in caplog.text
    assert TOKEN not in caplog.text and VALUE not in json.dumps(body)


def test_a_topic_gets_subject_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        access = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        there = {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-west-1"}
        sns, sqs = (boto3.client(service, **access, **there) for service in ("sns", "sqs"))
        topic = sns.create_topic(Name="nightly")["TopicArn"]
        queue = sqs.create_queue(QueueName="read")["QueueUrl"]
        sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=topic.replace(":sns:", ":sqs:").replace("nightly", "read")
        )
        # another region than the topic's: it is the topic that counts
        extra = {**there, "region_name": "us-east-1"}
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS", json.dumps(connection))
        tell({"sns": topic, "aws": "aws"})
        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    finally:
        server.stop()
    body = json.loads(message["Body"])
    assert body["Subject"] == "Crossfade: validation of shop: mismatch, 2 problems"
    assert body["Message"].splitlines()[-2:] == [
        "- roles: password ***",
        "- public.{{ 7 * 7 }}<b>& Bcc: evil@shop.example: 1 row differs",
    ]
    assert VALUE not in body["Message"]


def test_a_mailbox_gets_escaped_html_and_no_header_from_a_table_s_name(mailbox: Mailbox) -> None:
    tell({**EMAIL, "from": "crossfade@shop.example"})
    (envelope,) = mailbox.got
    assert envelope.mail_from == "crossfade@shop.example"
    assert envelope.rcpt_tos == ["team@shop.example", "boss@shop.example"]
    message = email.message_from_bytes(envelope.content, policy=policy.default)
    assert {name: message[name] for name in ("Subject", "From", "To", "Bcc")} == {
        "Subject": "Crossfade: validation of shop: mismatch, 2 problems",
        "From": "crossfade@shop.example",
        "To": "team@shop.example, boss@shop.example",
        "Bcc": None,
    }
    page = message.get_body(("html",)).get_content()
    assert "<li>public.{{ 7 * 7 }}&lt;b&gt;&amp; Bcc: evil@shop.example: 1 row differs</li>" in page
    assert f'<a href="{REPORT_PAGE}">Report</a>' in page
    assert VALUE not in page and SECRET not in page


def test_the_connection_says_who_writes_where_the_plan_does_not(mailbox: Mailbox) -> None:
    tell(EMAIL)
    assert [envelope.mail_from for envelope in mailbox.got] == ["airflow@shop.example"]


def test_what_is_no_verdict_is_told_with_its_cause(slack: Slack) -> None:
    tell(SLACK, error=Unreachable(name="shop_source", address="db-1:5432", reason=f"{SECRET} was refused"))
    assert slack.posted[0][2]["text"].splitlines() == [
        "*validation of shop: failed*",
        "Unreachable: cannot connect to shop_source (db-1:5432): *** was refused. "
        "Check the connection 'shop_source': host, port, database, user, password, TLS and firewall",
        f"Task: {TASK_PAGE}?try_number=1",
    ]


def test_nothing_leads_to_an_airflow_that_does_not_know_its_address(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    tell(SLACK)
    assert "http" not in slack.posted[0][2]["text"]


# ── who cannot be told ───────────────────────────────────────────────────────────────────────────────────────────


def test_one_that_cannot_be_told_is_logged_and_the_others_are_told(
    slack: Slack, mailbox: Mailbox, refused: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", smtp(refused))
    tell(
        {"slack": "missing", "channel": "#databases"},
        {"sns": "arn:aws:sns:eu-west-1:123456789012:nightly", "aws": "none"},
        {"email": "a@shop.example", "smtp": "nobody"},
        {"slack": "slack", "channel": "#gone"},
        SLACK,
        EMAIL,
    )
    assert [body["channel"] for *_, body in slack.posted].count("#databases") == 1
    assert len(mailbox.got) == 1
    said = "\n".join(record.message for record in caplog.records if record.levelno >= logging.ERROR)
    missing = "was not told of the validation: UnusableConnection: the connection"
    for line in (
        f"the Slack channel #databases {missing} 'missing', which validate.notify names, does not exist",
        f"the SNS topic arn:aws:sns:eu-west-1:123456789012:nightly {missing} 'none', which",
        "the e-mail to a@shop.example was not told of the validation: ConnectionRefusedError:",
        "the Slack channel #gone was not told of the validation: SlackApiError:",
        "channel_not_found",
    ):
        assert line in said
    assert TOKEN not in caplog.text


def test_nobody_is_waited_for_beyond_the_limit(
    slack: Slack, silent: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SILENT", smtp(silent))
    monkeypatch.setattr(validation, "PATIENCE", 1.0)
    tell({"email": "a@shop.example", "smtp": "silent"}, SLACK)
    assert len(slack.posted) == 1
    assert "the e-mail to a@shop.example was not told within 1 s (connection 'silent')" in caplog.text


def test_a_provider_that_is_not_installed_is_named(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.slack.notifications.slack", None)
    tell(SLACK, EMAIL)
    assert "the Slack channel #databases was not told of the validation: ModuleNotFoundError" in caplog.text
    assert len(mailbox.got) == 1


# ── the task ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Fails(BaseOperator):
    """Ends as a validation does that found a difference."""

    def __init__(self, *, error: BaseException, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: Any) -> None:
        raise self.error


def run_task(callbacks: list[BaseNotifier], error: BaseException) -> str:
    """Airflow's own task runner: it reports a state, and then calls the callbacks. The state that it ends with."""
    with DAG("shop.validate", schedule=None):
        task = Fails(
            task_id="validate", error=error, retries=2, retry_policy=RETRY_ONLY_TRANSIENT, on_failure_callback=callbacks
        )
    kept = dict.fromkeys(DagRun.model_fields)
    run = {**kept, "dag_id": "shop.validate", "run_id": "manual", "run_type": "manual", "state": "running"}
    run |= {"run_after": datetime.now(UTC), "consumed_asset_events": []}
    ti = task_runner.RuntimeTaskInstance.model_construct(
        id=uuid4(),
        task=task,
        task_id="validate",
        dag_id="shop.validate",
        run_id="manual",
        try_number=1,
        map_index=-1,
        max_tries=2,
        start_date=datetime.now(UTC),
        _ti_context_from_server=TIRunContext(dag_run=DagRun(**run), max_tries=2, should_retry=True),
    )
    context, log = ti.get_template_context(), structlog.get_logger("task")
    state, _, raised = task_runner.run(ti, context, log)
    context["exception"] = raised
    task_runner.finalize(ti, state, context, log, raised)
    return str(state.value)


class Broken(BaseNotifier):
    """Always raises."""

    def notify(self, context: Any) -> None:
        raise RuntimeError("broken")


@pytest.fixture
def runner() -> Iterator[None]:
    """Airflow's runner replaces the handler of SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("runner")
def test_a_task_that_failed_for_good_tells_once_and_stays_failed(slack: Slack, supervisor: Supervisor) -> None:
    callbacks = [Broken(), *notifiers_of(plan({"email": "a@shop.example", "smtp": "missing"}, SLACK))]
    assert run_task(callbacks, mismatch()) == "failed"
    assert [msg.state.value for msg in supervisor.sent if isinstance(msg, TaskState)] == ["failed"]
    ((_, _, body),) = slack.posted
    assert body["text"].startswith("*validation of shop: mismatch, 2 problems*\n")
    assert f"\nReport: {REPORT_PAGE}\nTask: {TASK_PAGE}?try_number=1\n" in body["text"]
    sent = repr([msg for msg in supervisor.sent if not isinstance(msg, MaskSecret)])
    assert TOKEN not in sent and VALUE not in sent


@pytest.mark.usefixtures("runner")
def test_a_task_that_is_tried_again_tells_nobody(slack: Slack) -> None:
    error = Unreachable(name="shop_source", address="db-1:5432", reason="refused")
    assert run_task(notifiers_of(plan(SLACK)), error) == "up_for_retry"
    assert slack.posted == []
