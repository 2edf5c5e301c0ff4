"""The plan's section ``validate.notify``: who is told of a validation that failed. Secrets are the connections'."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, field_validator

from crossfade.plan_section import ConnId, Section

#: As browsers take it for an address. It is written into headers: no space, no line break.
_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](-*[A-Za-z0-9])*(\.[A-Za-z0-9](-*[A-Za-z0-9])*)*"
_TOPIC = r"arn:aws(-[a-z]+)*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}"


def _address(text: str) -> str:
    if len(text) > 254 or not re.fullmatch(_ADDRESS, text):
        raise ValueError(f"{text!r} is no e-mail address: write it without a name, such as team@example.com")
    return text


def _topic(text: str) -> str:
    if text.endswith(".fifo"):
        raise ValueError(f"{text!r} is a FIFO topic, which takes only messages of a group: name a standard one")
    if not re.fullmatch(_TOPIC, text):
        raise ValueError(f"{text!r} is no topic's ARN: arn:aws:sns:<region>:<account, 12 digits>:<name>")
    return text


Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": f"^{_ADDRESS}$"})]
Topic = Annotated[str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": f"^{_TOPIC}$"})]


def or_one(schema: dict[str, Any]) -> None:
    """For the JSON schema of a list: the validator takes one for a list of one."""
    many = {key: schema.pop(key) for key in ("type", "items", "minItems") if key in schema}
    schema["anyOf"] = [many["items"], many]


class _Notify(Section):
    @property
    def connection(self) -> str:
        """Id of the Airflow connection that it goes through."""
        raise NotImplementedError


class NotifySlack(_Notify):
    """A message in a Slack channel."""

    slack: ConnId
    """Airflow connection of type slack: the bot's token."""
    channel: str = Field(pattern=r"^#?[^\s#]+$", max_length=81)
    """Name or id; in quotes, as YAML takes # for a comment."""

    @field_validator("channel", mode="before")
    @classmethod
    def _in_quotes(cls, value: Any) -> Any:
        if value is None:
            raise ValueError('no channel is named: YAML takes # for a comment, write "#databases" in quotes')
        return value

    @property
    def connection(self) -> str:
        """Id of the Airflow connection."""
        return self.slack

    def __str__(self) -> str:
        return f"the Slack channel {self.channel}"


class NotifySns(_Notify):
    """A message to a topic of Amazon SNS."""

    sns: Topic
    """ARN of the topic, which also says its region."""
    aws: ConnId = "aws_default"
    """Airflow connection of type aws: credentials or role."""

    @property
    def connection(self) -> str:
        """Id of the Airflow connection."""
        return self.aws

    @property
    def region(self) -> str:
        """The topic's."""
        return self.sns.split(":")[3]

    def __str__(self) -> str:
        return f"the SNS topic {self.sns}"


class NotifyEmail(_Notify):
    """An e-mail."""

    email: tuple[Address, ...] = Field(min_length=1, json_schema_extra=or_one)
    """Address, or addresses."""
    smtp: ConnId = "smtp_default"
    """Airflow connection of type smtp."""
    sender: Address | None = Field(default=None, alias="from")
    """Default: the connection's extra ``from_email``."""

    @field_validator("email", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def connection(self) -> str:
        """Id of the Airflow connection."""
        return self.smtp

    def __str__(self) -> str:
        return f"the e-mail to {', '.join(self.email)}"


_KINDS = {"slack": "NotifySlack", "sns": "NotifySns", "email": "NotifyEmail"}


def _which_kind(given: Any) -> str | None:
    """Which class reads this entry: so that an error is about that kind's keys alone."""
    if isinstance(given, _Notify):
        return type(given).__name__
    found = [name for key, name in _KINDS.items() if isinstance(given, dict) and key in given]
    return found[0] if len(found) == 1 else None


Notify = Annotated[
    Annotated[NotifySlack, Tag("NotifySlack")]
    | Annotated[NotifySns, Tag("NotifySns")]
    | Annotated[NotifyEmail, Tag("NotifyEmail")],
    Discriminator(
        _which_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"who is told needs exactly one of {', '.join(_KINDS)}",
    ),
]
