"""Who is told when a validation failed: what a plan's `validate.notify` says, through the providers' notifiers."""

from crossfade_airflow.notifiers.validation import ValidationNotifier, notifiers_of

__all__ = ["ValidationNotifier", "notifiers_of"]
