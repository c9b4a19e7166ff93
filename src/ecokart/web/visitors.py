"""The cookies by which a browser is known: a guest's, a session's, a chosen language."""

from __future__ import annotations

import re
import secrets
from typing import TypeVar

from starlette.responses import Response

from ecokart.web.requests import GUEST_COOKIE, LANGUAGE_COOKIE, SESSION_COOKIE, Request

GUEST_SECONDS = 60 * 24 * 3600
YEAR_SECONDS = 365 * 24 * 3600
GUEST_ID = re.compile(r"[0-9a-f]{32}")

R = TypeVar("R", bound=Response)


def guest_id_in(cookies: dict[str, str]) -> str | None:
    """The guest a browser says it is. An id that we can't have given is none."""
    value = cookies.get(GUEST_COOKIE, "")
    return value if GUEST_ID.fullmatch(value) else None


def owner_or_new_guest(request: Request) -> str:
    """Whose cart it is; who comes without a name gets one, which `keep_guest` sends along."""
    if request.visitor.owner is None:
        request.visitor = type(request.visitor)(guest_id=secrets.token_hex(16))
        request.scope["new_guest"] = True
    return request.visitor.owner or ""


def keep_guest(request: Request, response: R) -> R:
    """Let the browser remember a guest who is new."""
    if request.scope.get("new_guest") and request.visitor.guest_id:
        set_cookie(request, response, GUEST_COOKIE, request.visitor.guest_id, GUEST_SECONDS)
    return response


def keep_session(request: Request, response: R, token: str, seconds: int) -> R:
    set_cookie(request, response, SESSION_COOKIE, token, seconds)
    return response


def keep_language(request: Request, response: R, language: str) -> R:
    set_cookie(request, response, LANGUAGE_COOKIE, language, YEAR_SECONDS)
    return response


def forget(request: Request, response: R, name: str) -> R:
    set_cookie(request, response, name, "", 0)
    return response


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """A cookie that scripts can't read and other sites can't use."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=request.secure,
        httponly=True,
        samesite="lax",
    )
