"""Signatures of every kind, for the tests of the adapter and of replies."""

from typing import Any, Literal, Optional

import pydantic

from mipro_nb import InputField, OutputField, Signature


class Part(pydantic.BaseModel):
    name: str
    tags: list[str] = []


class Order(pydantic.BaseModel):
    """An order."""

    main: Part = pydantic.Field(description="the first one")
    spare: Optional[Part] = None  # noqa: UP045


class Tree(pydantic.BaseModel):
    children: list["Tree"] = []


class Open(pydantic.BaseModel):
    anything: dict[str, Any]


class Route(Signature):
    """Route the message."""

    message: str = InputField("as it was sent")
    year: int = InputField()
    team: Literal["billing", "bug"] = OutputField("who solves it")
    urgent: bool = OutputField()


PRODUCT = Signature("message -> product")
