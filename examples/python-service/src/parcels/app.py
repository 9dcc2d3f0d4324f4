"""The service: a WSGI application with three addresses."""

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from parcels import __version__
from parcels.page import render
from parcels.quote import InvalidParcel, parse_parcel, quote

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Answer:
    """What goes back to the client."""

    def __init__(self, status: HTTPStatus, kind: str, body: str) -> None:
        self.status = status
        self.kind = kind
        self.body = body.encode()

    @classmethod
    def of_json(cls, status: HTTPStatus, value: object) -> "Answer":
        """An answer that is a JSON text."""
        return cls(status, "application/json", json.dumps(value))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What is said of the body."""
        return [
            ("Content-Type", f"{self.kind}; charset=utf-8"),
            ("Content-Length", str(len(self.body))),
        ]


def _fields(environ: Environ) -> dict[str, str]:
    return dict(parse_qsl(environ.get("QUERY_STRING", "")))


def _health(_: Environ) -> Answer:
    return Answer.of_json(HTTPStatus.OK, {"status": "up", "version": __version__})


def _quote(environ: Environ) -> Answer:
    return Answer.of_json(HTTPStatus.OK, quote(parse_parcel(_fields(environ))).as_json())


def _page(environ: Environ) -> Answer:
    fields = _fields(environ)
    return Answer(
        HTTPStatus.OK,
        "text/html",
        render(quote(parse_parcel(fields)), fields.get("reference", "without a reference")),
    )


_routes = {"/health": _health, "/quote": _quote, "/page": _page}


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers one request; what is wrong with it is said as JSON."""
    route = _routes.get(environ.get("PATH_INFO", "/"))
    if route is None:
        answer = Answer.of_json(HTTPStatus.NOT_FOUND, {"error": "there is no such address"})
    elif environ.get("REQUEST_METHOD") != "GET":
        answer = Answer.of_json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is answered"})
    else:
        try:
            answer = route(environ)
        except InvalidParcel as error:
            answer = Answer.of_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    start_response(f"{answer.status.value} {answer.status.phrase}", answer.headers)
    return [answer.body]
