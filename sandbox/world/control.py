"""The switches of the practice cluster: GET/PUT/DELETE /sandbox/faults[/NAME], GET/PUT /sandbox/clock. JSON."""

from __future__ import annotations

import json
from typing import Any, Protocol

from aiohttp import web

from sandbox.world.clock import Clock
from sandbox.world.faults import FaultError, Faults

Object = dict[str, Any]


class Controlled(Protocol):
    """What of a world can be switched."""

    faults: Faults
    clock: Clock


def answer(value: Object, code: int = 200) -> web.Response:
    return web.json_response(value, status=code)


def _refuse(text: str, code: int = 400) -> web.Response:
    return answer({"error": text}, code)


async def body(request: web.BaseRequest) -> Object:
    """Raises FaultError."""
    raw = await request.read()
    try:
        value = json.loads(raw or b"{}")
    except ValueError:
        raise FaultError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise FaultError("the body must be a JSON object")
    return value


async def handle(world: Controlled, request: web.BaseRequest) -> web.Response:
    """Answer a request below /sandbox/."""
    parts = request.raw_path.partition("?")[0].strip("/").split("/")[1:]
    try:
        if parts and parts[0] == "faults" and len(parts) <= 2:
            return await _faults(world, request, parts[1] if len(parts) == 2 else "")
        if parts == ["clock"]:
            return await _clock(world, request)
    except FaultError as error:
        return _refuse(str(error))
    return _refuse("there is nothing here; try /sandbox/faults or /sandbox/clock", 404)


async def _faults(world: Controlled, request: web.BaseRequest, name: str) -> web.Response:
    faults = world.faults
    if name and name not in faults.names:
        return _refuse(f"there is no fault {name!r}; there are: {', '.join(faults.names)}", 404)
    if request.method == "PUT" and name:
        faults.set(name, await body(request))
    elif request.method == "DELETE":
        faults.clear(name)
    elif request.method != "GET":
        return _refuse("use GET, PUT or DELETE", 405)
    if name:
        fault = faults.get(name)
        return answer({"name": name, "on": fault is not None, "parameters": fault.params if fault else {}})
    return answer({"faults": faults.all(), "names": list(faults.names)})


async def _clock(world: Controlled, request: web.BaseRequest) -> web.Response:
    if request.method == "PUT":
        speed = (await body(request)).get("speed")
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise FaultError("speed must be a number")
        try:
            world.clock.set_speed(float(speed))
        except ValueError as error:
            raise FaultError(str(error)) from None
    elif request.method != "GET":
        return _refuse("use GET or PUT", 405)
    return answer({"speed": world.clock.speed, "elapsed": round(world.clock.elapsed(), 3)})
