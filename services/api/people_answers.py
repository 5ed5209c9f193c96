"""The JSON of people, pools and the audit trail."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.api.parameters import Text

Scope = Literal["read", "operate", "admin"]
Policy = Literal["round_robin", "load"]


class Person(BaseModel):
    """A user. `open_assigned`: how many signals that are neither cleared nor closed are assigned to them."""

    user_id: str
    name: str | None
    email: str | None
    scopes: list[Scope]
    created_at: dt.datetime
    disabled_at: dt.datetime | None
    open_assigned: int


class People(BaseModel):
    """Every user, by id. `me` is whose key asks, null for a key that is nobody's."""

    me: str | None
    items: list[Person]
    next_cursor: None


class PutPerson(BaseModel):
    """What a user is to be. One who is there becomes as said."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text | None, Field(None, description="as shown; else the id")]
    email: Annotated[Text | None, Field(None)]
    scopes: Annotated[list[Scope], Field(min_length=1, description="operate contains read, admin contains operate")]
    disabled: Annotated[bool, Field(False, strict=True, description="may not act, nor any key of theirs")]


class Pool(BaseModel):
    """People who share work. `given`: whose turn it is, in signals given out."""

    pool_id: str
    policy: Policy
    members: list[str]
    given: int
    created_at: dt.datetime


class Pools(BaseModel):
    """Every pool, by id."""

    items: list[Pool]
    next_cursor: None


class PutPool(BaseModel):
    """What a pool is to be. One that is there becomes as said; whose turn it is goes on."""

    model_config = ConfigDict(extra="forbid")

    policy: Annotated[Policy, Field(description="each in turn, or who has the fewest open signals")]
    members: Annotated[list[Text], Field(min_length=1, max_length=1000, description="user ids, in turn")]


class AuditItem(BaseModel):
    """Something that was done to the service itself."""

    entry: int
    at: dt.datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit trail, newest first."""

    items: list[AuditItem]
    next_cursor: str | None
