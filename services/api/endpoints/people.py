"""`/v1/people` and `/v1/pools`: who may act on signals, and who shares work."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from services.api import people_answers as shapes
from services.api.answers import answer, page
from services.api.auth import require
from services.api.database import Connection, writing
from services.api.parameters import Parameters
from services.api.paths import SEGMENT
from services.common import people
from services.common.keys import Key
from services.common.people import PersonRefused
from services.common.problems import FieldError, bad_parameter, not_found

router = APIRouter(prefix="/v1", tags=["people"], dependencies=[Depends(require("read"))])

Reader = Annotated[Key, Depends(require("read"))]
Administrator = Annotated[Key, Depends(require("admin"))]
UserId = Annotated[str, Path(description="user id: the name that profiles use for them")]
PoolId = Annotated[str, Path(description="pool id")]


@router.get("/people", responses={200: {"model": shapes.People}})
async def list_people(request: Request, parameters: Annotated[Parameters, Query()], key: Reader) -> Response:
    """Every user, with how much they have on hand."""
    async with Connection(request) as connection:
        found = await people.users(connection)
        loads = await people.open_assigned(connection, [person.user_id for person in found])
    items = [msgspec.structs.asdict(person) | {"open_assigned": loads.get(person.user_id, 0)} for person in found]
    return answer({"me": key.user} | page(items, None))


@router.put(f"/people/{{user_id:{SEGMENT}}}", responses={200: {"model": shapes.Person}})
async def put_person(request: Request, user_id: UserId, wanted: shapes.PutPerson, key: Administrator) -> Response:
    """Make a user, or make one as said. Keys of theirs are made with `ebbtide keys create --user`."""
    async with writing(request.app.state.engine) as connection:
        try:
            made = await people.put_user(
                connection,
                user_id,
                scopes=wanted.scopes,
                name=wanted.name,
                email=wanted.email,
                disabled=wanted.disabled,
                by=key.actor,
            )
        except PersonRefused as error:
            raise bad_parameter(FieldError(error.field, error.detail)) from error
        loads = await people.open_assigned(connection, [user_id])
    return answer(msgspec.structs.asdict(made) | {"open_assigned": loads.get(user_id, 0)})


@router.get("/pools", responses={200: {"model": shapes.Pools}})
async def list_pools(request: Request, parameters: Annotated[Parameters, Query()]) -> Response:
    """Every pool."""
    async with Connection(request) as connection:
        found: list[Any] = [*await people.pools(connection)]
    return answer(page(found, None))


@router.put(f"/pools/{{pool_id:{SEGMENT}}}", responses={200: {"model": shapes.Pool}})
async def put_pool(request: Request, pool_id: PoolId, wanted: shapes.PutPool, key: Administrator) -> Response:
    """Make a pool, or make one as said."""
    async with writing(request.app.state.engine) as connection:
        try:
            made = await people.put_pool(
                connection, pool_id, policy=wanted.policy, members=wanted.members, by=key.actor
            )
        except PersonRefused as error:
            raise bad_parameter(FieldError(error.field, error.detail)) from error
    return answer(made)


@router.delete(f"/pools/{{pool_id:{SEGMENT}}}", status_code=204, response_class=Response)
async def remove_pool(request: Request, pool_id: PoolId, key: Administrator) -> Response:
    """Remove a pool. What it gave out stays with whom it was given to."""
    async with writing(request.app.state.engine) as connection:
        if not await people.remove_pool(connection, pool_id, by=key.actor):
            raise not_found(f"no pool {pool_id!r}; GET /v1/pools lists those that there are")
    return Response(status_code=204)
