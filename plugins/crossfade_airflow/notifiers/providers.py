"""
The notifiers of Airflow's providers, one for each entry of a plan's `validate.notify`, made of text that is final.

To be sent by ``notify``: called as callbacks they would render their text as a template, and it comes from databases.
Each is imported where it is made, as that takes up to a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.plan_notify import Notify, NotifyEmail, NotifySlack, NotifySns
from crossfade.validation.told import Notice, as_html, as_slack, as_text

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier


def provider_notifier(entry: Notify, notice: Notice) -> BaseNotifier:
    """The provider's notifier of an entry. Raises `ImportError` where its package is missing. Connects to nothing."""
    if isinstance(entry, NotifySlack):
        return _slack(entry, notice)
    if isinstance(entry, NotifySns):
        return _sns(entry, notice)
    return _email(entry, notice)


def _slack(entry: NotifySlack, notice: Notice) -> BaseNotifier:
    from airflow.providers.slack.notifications.slack import SlackNotifier

    return SlackNotifier(
        slack_conn_id=entry.slack,
        channel=entry.channel,
        text=as_slack(notice),
        username="Crossfade",
        unfurl_links=False,
        unfurl_media=False,
    )


def _sns(entry: NotifySns, notice: Notice) -> BaseNotifier:
    from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

    return SnsNotifier(
        aws_conn_id=entry.aws,
        target_arn=entry.sns,
        region_name=entry.region,  # SNS takes a topic only in its own, whatever the connection says
        subject=notice.subject,
        message=as_text(notice),
    )


def _email(entry: NotifyEmail, notice: Notice) -> BaseNotifier:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return SmtpNotifier(
        smtp_conn_id=entry.smtp,
        from_email=entry.sender,
        to=list(entry.email),
        subject=notice.subject,
        html_content=as_html(notice),
    )
