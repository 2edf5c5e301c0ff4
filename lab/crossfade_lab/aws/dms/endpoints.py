"""Endpoints: what DMS accepts about a PostgreSQL endpoint, and the login that it resolves to."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from moto.dms.models import Endpoint as MotoEndpoint

from crossfade_lab.aws.dms import names
from crossfade_lab.aws.dms.account import UnusableSecret, read_secret
from crossfade_lab.aws.dms.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    ValidationException,
)

ENGINES: Mapping[str, str] = {"postgres": "PostgreSQL", "aurora-postgresql": "Amazon Aurora PostgreSQL"}
SSL_MODES: Mapping[str, str] = {"none": "prefer", "require": "require"}
CONNECT_SECONDS = 5

#: DMS assembles a connection string of its own and cannot keep these apart from its separators ("Limitations on using
#: a PostgreSQL database" in the AWS DMS user guide).
FORBIDDEN_IN_PASSWORD = ":;+%"

_LOGIN_KEYS = {"ServerName": "server_name", "Port": "port", "Username": "username", "Password": "password"}
_BOOLEAN = {
    "CaptureDdls", "FailTasksOnLobTruncation", "HeartbeatEnable", "TrimSpaceInChar", "MapBooleanAsBoolean",
    "MapJsonbAsClob", "DisableUnicodeSourceFilter", "MapUnboundedNumericAsString",
}  # fmt: skip
_INTEGER = {"MaxFileSize", "ExecuteTimeout", "HeartbeatFrequency", "Port"}
_TEXT = {
    "AfterConnectScript", "BabelfishDatabaseName", "DatabaseMode", "DatabaseName", "DdlArtifactsSchema",
    "HeartbeatSchema", "LoadUsingCSV", "MapLongVarcharAs", "Password", "PluginName", "SecretsManagerAccessRoleArn",
    "SecretsManagerSecretId", "ServerName", "ServiceAccessRoleArn", "SlotName", "Username", "AuthenticationMethod",
}  # fmt: skip
_CHOICES: Mapping[str, set[str]] = {
    "PluginName": {"no-preference", "test-decoding", "pglogical"},
    "DatabaseMode": {"default", "babelfish"},
    "MapLongVarcharAs": {"wstring", "clob", "nclob"},
    "AuthenticationMethod": {"password"},
}


class CannotConnect(Exception):
    """A database did not let DMS in; the message is the one that DMS would show, without secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """What a worker needs to reach one side."""

    host: str
    port: int
    dbname: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    settings: dict[str, Any]

    def as_spec(self) -> dict[str, Any]:
        """Its form in a task's spec.json."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def connect(self) -> psycopg.Connection:
        """An autocommit connection.

        :raises CannotConnect: with DMS's words and the server's reason
        """
        if set(self.password) & set(FORBIDDEN_IN_PASSWORD):
            raise CannotConnect(_failure("The connection string cannot be parsed: invalid password"))
        try:
            return psycopg.connect(
                host=self.host,
                port=self.port,
                dbname=self.dbname,
                user=self.user,
                password=self.password,
                sslmode=self.sslmode,
                connect_timeout=CONNECT_SECONDS,
                application_name="AWS DMS",
                autocommit=True,
            )
        except psycopg.Error as error:
            raise CannotConnect(_failure(str(error).strip())) from None


def _failure(reason: str) -> str:
    return (
        "Test Endpoint failed: Application-Status: 1020912, Application-Message: Failed to connect Network error has "
        f"occurred, Application-Detailed-Message: RetCode: SQL_ERROR SqlState: 08001 NativeError: 101 Message: {reason}"
    )


class Endpoint(MotoEndpoint):
    """One side of a migration.

    :param options: the parameters of CreateEndpoint by moto's names
    """

    def __init__(self, *, region_name: str, account_id: str, **options: Any) -> None:
        kind = options["endpoint_type"]
        if kind not in ("source", "target"):
            raise ValidationException(
                f"1 validation error detected: Value '{kind}' at 'endpointType' failed to satisfy constraint: "
                "Member must satisfy enum value set: [source, target]"
            )
        options["endpoint_identifier"] = names.identifier(options["endpoint_identifier"], "EndpointIdentifier")
        _require_engine(options["engine_name"])
        super().__init__(
            **options,
            engine_display_name=ENGINES[options["engine_name"]],
            status="active",
            external_id=None,
            account_id=account_id,
            region_name=region_name,
        )
        self.endpoint_arn = names.arn(
            "endpoint", region=region_name, account=account_id, suffix=options.get("resource_identifier")
        )
        self.region, self.account = region_name, account_id
        self.ssl_mode = self.ssl_mode or "none"
        self.postgre_sql_settings: dict[str, Any] = dict(self.postgre_sql_settings or {})
        self._take_login_from_settings()
        self.require_consistent()

    def modify(self, changes: Mapping[str, Any], *, exact_settings: bool) -> None:
        """Take new values; settings are merged unless `exact_settings`.

        :param changes: attributes of this object by moto's names, without those that were not given
        :raises DmsClientError: for what DMS refuses, with nothing changed
        """
        before = dict(self.__dict__)
        try:
            self.__dict__.update(changes)
            if "endpoint_identifier" in changes:
                self.endpoint_identifier = names.identifier(changes["endpoint_identifier"], "EndpointIdentifier")
            if "engine_name" in changes:
                _require_engine(self.engine_name)
                self.engine_display_name = ENGINES[self.engine_name]
            if "postgre_sql_settings" in changes:
                old = {} if exact_settings else before["postgre_sql_settings"]
                self.postgre_sql_settings = {**old, **changes["postgre_sql_settings"]}
                self._take_login_from_settings()
            self.require_consistent()
        except Exception:
            self.__dict__ = before
            raise

    def _take_login_from_settings(self) -> None:
        """The login may be given inside of PostgreSQLSettings; it is kept in one place."""
        settings = self.postgre_sql_settings
        for key, attribute in {**_LOGIN_KEYS, "DatabaseName": "database_name"}.items():
            if key in settings:
                setattr(self, attribute, settings.pop(key))

    def require_consistent(self) -> None:
        """Refuse combinations that DMS refuses."""
        check_settings(self.settings)
        if self.ssl_mode not in SSL_MODES:
            raise InvalidParameterValueException(
                f"SslMode {self.ssl_mode} is not available here: no certificates can be imported. Use none or require"
            )
        by_secret = self.settings.get("SecretsManagerSecretId"), self.settings.get("SecretsManagerAccessRoleArn")
        in_clear = [key for key, attribute in _LOGIN_KEYS.items() if getattr(self, attribute)]
        if any(by_secret) and not all(by_secret):
            raise InvalidParameterCombinationException(
                "SecretsManagerSecretId and SecretsManagerAccessRoleArn must be given together"
            )
        if any(by_secret) and in_clear:
            raise InvalidParameterCombinationException(
                f"SecretsManagerSecretId cannot be combined with {', '.join(in_clear)}"
            )
        if not any(by_secret) and len(in_clear) < len(_LOGIN_KEYS):
            missing = [key for key in _LOGIN_KEYS if key not in in_clear]
            raise InvalidParameterCombinationException(f"The endpoint needs {', '.join(missing)}, or a secret")
        if not self.database_name:
            raise InvalidParameterCombinationException("The endpoint needs DatabaseName")

    @property
    def settings(self) -> dict[str, Any]:
        """PostgreSQLSettings over what ExtraConnectionAttributes say."""
        return {**parse_attributes(self.extra_connection_attributes or ""), **self.postgre_sql_settings}

    def login(self) -> Login:
        """The login as of now; a secret is read anew each time.

        :raises CannotConnect: when the secret cannot be read
        """
        settings = self.settings
        secret_id = settings.pop("SecretsManagerSecretId", None)
        role = settings.pop("SecretsManagerAccessRoleArn", None)
        known: Mapping[str, Any] = {
            "host": self.server_name, "port": self.port, "username": self.username, "password": self.password
        }  # fmt: skip
        if secret_id is not None:
            try:
                known = read_secret(secret_id, role=role or "", account=self.account, region=self.region)
            except UnusableSecret as error:
                raise CannotConnect(f"Test Endpoint failed: {error}") from None
        return Login(
            host=str(known["host"]),
            port=int(known["port"]),
            dbname=self.database_name,
            user=str(known["username"]),
            password=str(known["password"]),
            sslmode=SSL_MODES[self.ssl_mode or "none"],
            settings=settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """The structure of the API: without the password, the type in upper case as AWS answers it."""
        description: dict[str, Any] = super().to_dict()
        description["EndpointType"] = self.endpoint_type.upper()
        if self.postgre_sql_settings or not self.username:
            description["PostgreSQLSettings"] = {"DatabaseName": self.database_name, **self.postgre_sql_settings}
        return {name: value for name, value in description.items() if value is not None}


def _require_engine(name: str) -> None:
    if name not in ENGINES:
        raise InvalidParameterValueException(f"Engine {name} is not available here. Available: {', '.join(ENGINES)}")


def parse_attributes(text: str) -> dict[str, Any]:
    """ExtraConnectionAttributes (`name=value;…`) as PostgreSQLSettings: first letter in upper case, values typed.

    :raises InvalidParameterValueException: for a part that is not name=value, or not of the setting's type
    """
    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in re.split(r";(?=\s*\w+\s*=|\s*$)", text))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise InvalidParameterValueException(f"Invalid extra connection attributes: {part!r} is not name=value")
        key = name[0].upper() + name[1:]
        found[key] = _typed(key, value)
    return found


def _typed(key: str, value: str) -> Any:
    if key in _BOOLEAN and value.lower() in ("true", "false", "1", "0", "y", "n"):
        return value.lower() in ("true", "1", "y")
    if key in _INTEGER and value.isdecimal():
        return int(value)
    return value


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse unknown names, wrong types and wrong values of PostgreSQLSettings.

    :raises InvalidParameterValueException: naming the setting
    """
    for key, value in settings.items():
        kind = bool if key in _BOOLEAN else int if key in _INTEGER else str if key in _TEXT else None
        if kind is None:
            raise InvalidParameterValueException(f"Unknown endpoint setting {key}")
        if type(value) is not kind:
            raise InvalidParameterValueException(f"Endpoint setting {key} must be {kind.__name__}: {json.dumps(value)}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InvalidParameterValueException(f"Endpoint setting {key} must be one of {sorted(_CHOICES[key])}")
