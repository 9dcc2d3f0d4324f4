"""The service as a client sees it."""

import json
from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from parcels import __version__
from parcels.app import application


def ask(path: str, query: str = "", method: str = "GET") -> tuple[str, str, str]:
    """Status, kind and body of an answer; the validator holds both sides to the WSGI standard."""
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
    }
    setup_testing_defaults(environ)
    said: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        said.append((status, headers))
        return lambda _: None

    answer: Iterable[bytes] = validator(application)(environ, start)
    body = b"".join(answer).decode()
    getattr(answer, "close")()
    status, headers = said[0]
    return status, dict(headers)["Content-Type"], body


def test_is_up_in_its_version() -> None:
    status, _, body = ask("/health")
    assert status == "200 OK"
    assert json.loads(body) == {"status": "up", "version": __version__}


def test_quotes() -> None:
    status, kind, body = ask("/quote", "grams=1200&zone=union&insured=100")
    assert (status, kind) == ("200 OK", "application/json; charset=utf-8")
    assert json.loads(body) == {
        "grams": 1200,
        "zone": "union",
        "carriage": "12.42",
        "insurance": "0.55",
        "total": "12.97",
    }


def test_a_page_escapes_what_a_user_typed() -> None:
    status, kind, body = ask("/page", "grams=900&reference=%3Cscript%3E")
    assert (status, kind) == ("200 OK", "text/html; charset=utf-8")
    assert "&lt;script&gt;" in body
    assert "<script>" not in body
    assert "4.90 €" in body


@pytest.mark.parametrize(
    ("path", "query", "method", "status", "why"),
    [
        ("/nowhere", "", "GET", "404 Not Found", "no such address"),
        ("/quote", "", "POST", "405 Method Not Allowed", "only GET"),
        ("/quote", "grams=0", "GET", "400 Bad Request", "weighs something"),
    ],
)
def test_says_what_is_wrong(path: str, query: str, method: str, status: str, why: str) -> None:
    found, _, body = ask(path, query, method)
    assert found == status
    assert why in json.loads(body)["error"]
