"""What every section of a plan shares: unknown keys are refused, nothing changes once it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

ConnId = Annotated[str, Field(min_length=1, description="id of an Airflow connection")]

#: For the JSON schema: the validator takes one for a list of one.
one_or_many_schema = WithJsonSchema(
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)


class Section(BaseModel):
    """A part of a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
