"""Endpoints of AWS DMS: given by ARN and checked, or made from a connection with settings that lose nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Literal

from crossfade.connect import Endpoint
from crossfade.engines.dms.connections import proved
from crossfade.engines.dms.refusals import Client, asking, pages
from crossfade.engines.dms.resource import Kind, Resource, require_ours
from crossfade.errors import PreconditionError
from crossfade.plan_dms import NewEndpoint

log = logging.getLogger(__name__)

EndpointSide = Literal["source", "target"]

ENGINES = frozenset({"postgres", "aurora-postgresql", "aurora-postgresql-serverless"})
_UNUSABLE = frozenset({"failed", "deleting", "modifying"})

#: DMS cannot tell these from the separators of its connection string ("Limitations on using a PostgreSQL database as a
#: source" in the user guide of AWS DMS).
FORBIDDEN_IN_PASSWORD = ":;+%"  # noqa: S105 (characters)

_KINDS: Mapping[EndpointSide, Kind] = {"source": "source endpoint", "target": "target endpoint"}
_TRUE = ("true", "1", "y")  #: as `settings_of` has it
_REPLICA = "SET session_replication_role='replica'"
#: PostgreSQLSettings of the endpoints that are made (user guide of AWS DMS: endpoint settings of PostgreSQL).
SETTINGS: Mapping[EndpointSide, Mapping[str, Any]] = {
    "source": {
        "CaptureDdls": False,  # it would put an event trigger and a table of its own on the source
        "FailTasksOnLobTruncation": True,
        "MapBooleanAsBoolean": True,
        "TrimSpaceInChar": False,
    },
    "target": {"AfterConnectScript": _REPLICA, "MapBooleanAsBoolean": True},
}
#: What the API has no structure for: a numeric without precision travels as text, not as numeric(28,6). On both sides.
ATTRIBUTES = "mapUnboundedNumericAsString=true"


class ForbiddenPassword(PreconditionError):
    """A password has characters that AWS DMS cannot handle."""

    def __init__(self, *, connection: str, characters: str) -> None:
        super().__init__(
            f"the password of the connection {connection!r} contains {' '.join(characters)}: AWS DMS cannot use a "
            f"password with any of {' '.join(FORBIDDEN_IN_PASSWORD)}. Give DMS's role another password, in the "
            "database and in the connection. Nothing was asked of AWS"
        )


class UnknownEndpoint(PreconditionError):
    """The plan names an endpoint that is not there."""

    def __init__(self, *, side: str, arn: str) -> None:
        super().__init__(
            f"AWS DMS has no endpoint {arn}, the plan's dms.{side}, in this account and region. Correct the ARN"
        )


def require_usable_password(login: Endpoint) -> None:
    """Refuse a password that DMS cannot read, without showing it. Raises `ForbiddenPassword`."""
    if bad := "".join(char for char in FORBIDDEN_IN_PASSWORD if char in login.password):
        raise ForbiddenPassword(connection=login.name, characters=bad)


def _one(dms: Client, by: str, value: str) -> Mapping[str, Any] | None:
    found = pages(
        dms,
        "describe_endpoints",
        "Endpoints",
        action="dms:DescribeEndpoints",
        subject=f"endpoint {value}",
        Filters=[{"Name": by, "Values": [value]}],
    )
    return found[0] if found else None


def endpoint_by_id(dms: Client, identifier: str) -> Mapping[str, Any] | None:
    """The endpoint of that identifier as AWS tells it, None where there is none."""
    return _one(dms, "endpoint-id", identifier)


def endpoint_by_arn(dms: Client, arn: str) -> Mapping[str, Any] | None:
    """The endpoint of that ARN as AWS tells it, None where there is none."""
    return _one(dms, "endpoint-arn", arn)


def given_endpoint(dms: Client, side: EndpointSide, arn: str, *, key: str = "") -> Resource:
    """
    Check an endpoint that the plan names by ARN.

    :param key: of the plan, below ``dms``; by default its side
    Raises `PreconditionError` where it is unknown, on the other side, not PostgreSQL, not usable, or lets triggers and
    foreign keys of the target fire. Settings that lose precision are in the result's notes.
    """
    told = endpoint_by_arn(dms, arn)
    if told is None:
        raise UnknownEndpoint(side=key or side, arn=arn)
    name = told["EndpointIdentifier"]
    if (kind := told["EndpointType"].lower()) != side:
        raise PreconditionError(
            f"dms.{key or side} of the plan is the endpoint {name}, which is a {kind} endpoint. Are source and target "
            "swapped? Correct the ARNs; nothing was started"
        )
    if told["EngineName"].lower() not in ENGINES:
        raise PreconditionError(
            f"the endpoint {name} is for {told['EngineName']}, not PostgreSQL. Name one whose engine is postgres or "
            f"aurora-postgresql in dms.{key or side}"
        )
    if (status := told.get("Status", "active").lower()) in _UNUSABLE:
        raise PreconditionError(f"the endpoint {name} is {status}. Wait until it is active, or repair it in AWS DMS")
    has = settings_of(told)
    if side == "target" and not _replica(str(has.get("afterconnectscript", ""))):
        raise PreconditionError(
            f"the target endpoint {name} lets triggers and foreign keys fire while rows are applied, which doubles "
            f'what triggers write. Set its PostgreSQLSettings.AfterConnectScript to "{_REPLICA}"'
        )
    return Resource(kind=_KINDS[side], identifier=name, arn=arn, made=False, notes=_notes(side, name, has))


def require_for_stream(dms: Client, arn: str, slot: str, *, key: str) -> None:
    """
    Check the source endpoint that the plan names for a task from a slot of ours.

    Raises `PreconditionError` where it reads another slot or makes its own, or lets DMS cut large objects in silence:
    nobody measures them on the way back.
    """
    told = endpoint_by_arn(dms, arn) or {}
    has = settings_of(told)
    which = f"the endpoint {told.get('EndpointIdentifier', arn)}, dms.{key} of the plan,"
    if (reads := has.get("slotname", "")) != slot:
        raise PreconditionError(
            f"{which} reads {f'the slot {reads}' if reads else 'a slot that DMS makes by itself'}. Set its "
            f"PostgreSQLSettings.SlotName to {slot}: the slot is made for it in the pause"
        )
    if has.get("failtasksonlobtruncation") not in _TRUE:
        raise PreconditionError(
            f"{which} lets DMS cut large objects that are over their limit, and go on. Set its "
            "PostgreSQLSettings.FailTasksOnLobTruncation to true"
        )


def _replica(script: str) -> bool:
    return re.search(r"session_replication_role\s*(=|to)\s*'?replica\b", script, re.IGNORECASE) is not None


def settings_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """PostgreSQLSettings over extra connection attributes, names in lower case, values as text in lower case."""
    found: dict[str, Any] = {}
    for part in re.split(r";(?=\s*\w+\s*=|\s*$)", told.get("ExtraConnectionAttributes") or ""):
        name, _, value = part.partition("=")
        if name.strip():
            found[name.strip().lower()] = value.strip().lower()
    for name, value in (told.get("PostgreSQLSettings") or {}).items():
        found[name.lower()] = str(value).lower()
    return found


def _notes(side: EndpointSide, name: str, has: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = {"mapbooleanasboolean": "booleans travel as text of five characters"}
    if side == "source":
        wanted["mapunboundednumericasstring"] = "numeric without precision is rounded to (28,6)"
        wanted["failtasksonlobtruncation"] = "large objects over their limit are cut with a warning only"
    return tuple(
        f"endpoint {name}: {setting} is not set: {why}"
        for setting, why in wanted.items()
        if has.get(setting) not in _TRUE
    )


def made_endpoint(
    dms: Client,
    side: EndpointSide,
    new: NewEndpoint,
    *,
    identifier: str,
    login: Endpoint,
    instance_arn: str,
    tags: Mapping[str, str],
    slot: str | None = None,
) -> Resource:
    """
    Make the endpoint, or make the one that is there the same; safe to call again.

    What cannot be read back, the password, is sent again where the last connection test did not succeed.
    :param login: host, database and role as DMS reaches them; user and password are the secret's where there is one
    :param slot: name of the slot that its task is to read, and neither to make nor to drop
    Raises `ForbiddenPassword` before AWS is asked, `PreconditionError` where another owner has that name.
    """
    if new.secret is None:
        require_usable_password(login)
    wanted = _wanted(side, new, login, slot)
    told = endpoint_by_id(dms, identifier)
    if told is None:
        log.info("creating %s endpoint %s for %s", side, identifier, login.address)
        with asking("dms:CreateEndpoint", f"endpoint {identifier}"):
            answer = dms.create_endpoint(
                EndpointIdentifier=identifier,
                EndpointType=side,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                **wanted,
            )
        return Resource(kind=_KINDS[side], identifier=identifier, arn=answer["Endpoint"]["EndpointArn"], made=True)
    arn: str = told["EndpointArn"]
    require_ours(dms, arn, identifier, tags)
    if _differs(told, wanted) or not proved(dms, instance_arn=instance_arn, endpoint_arn=arn):
        log.info("modifying %s endpoint %s for %s", side, identifier, login.address)
        with asking("dms:ModifyEndpoint", f"endpoint {identifier}"):
            dms.modify_endpoint(EndpointArn=arn, **wanted)
    return Resource(kind=_KINDS[side], identifier=identifier, arn=arn, made=True)


def _wanted(side: EndpointSide, new: NewEndpoint, login: Endpoint, slot: str | None) -> dict[str, Any]:
    settings = dict(SETTINGS[side]) | ({"SlotName": slot} if slot else {})
    wanted: dict[str, Any] = {
        "EngineName": "aurora-postgresql" if new.aurora else "postgres",
        "DatabaseName": login.dbname,
        "SslMode": new.tls,
        "PostgreSQLSettings": settings,
        "ExtraConnectionAttributes": ATTRIBUTES,
    }
    if new.certificate:
        wanted["CertificateArn"] = new.certificate
    if new.secret:
        settings["SecretsManagerSecretId"] = new.secret.id
        settings["SecretsManagerAccessRoleArn"] = new.secret.role
    else:
        wanted |= {
            "ServerName": login.host,
            "Port": login.port,
            "Username": login.user,
            "Password": login.password,
        }
    return wanted


def _differs(told: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    has = settings_of(told)
    settings = settings_of(wanted)
    plain = {
        k: v for k, v in wanted.items() if k not in ("Password", "PostgreSQLSettings", "ExtraConnectionAttributes")
    }
    secret = settings.pop("secretsmanagersecretid", "")  # given by its name, perhaps, and told by its ARN
    return (
        any(told.get(key) != value for key, value in plain.items())
        or any(has.get(key) != value for key, value in settings.items())
        or secret not in has.get("secretsmanagersecretid", "")
    )
