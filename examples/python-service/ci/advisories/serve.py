"""The advisories of this folder over the API of OSV, for machines that do not reach osv.dev.

It has the one request that pip-audit makes (POST /v1/query, https://google.github.io/osv.dev/post-v1-query/) and answers with the advisories that
name the version among those affected. A request that OSV would refuse is refused.
"""

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADVISORIES: list[dict[str, Any]] = [
    json.loads(file.read_text("utf-8")) for file in sorted(Path(__file__).parent.glob("*.json"))
]


def query(asked: Any) -> list[dict[str, Any]]:
    """Advisories of one version of a package.

    Raises:
        ValueError: this is no query of OSV.
    """
    match asked:
        case {"package": {"name": str(name), "ecosystem": "PyPI"}, "version": str(version)}:
            return [
                advisory
                for advisory in ADVISORIES
                if any(
                    affected["package"] == {"ecosystem": "PyPI", "name": name.lower()}
                    and version in affected["versions"]
                    for affected in advisory["affected"]
                )
            ]
    raise ValueError("a query has a package with name and ecosystem, and a version")


class Handler(BaseHTTPRequestHandler):
    """One query, one answer."""

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        """For whoever asks whether it serves."""
        self._answer(HTTPStatus.OK, {"advisories": len(ADVISORIES)})

    def do_POST(self) -> None:  # pylint: disable=invalid-name
        """A query."""
        if self.path != "/v1/query":
            self._answer(HTTPStatus.NOT_FOUND, {"code": 5, "message": "Not Found"})
            return
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = query(asked)
        except (ValueError, TypeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"code": 3, "message": str(error)})
            return
        # As OSV does: without anything found the answer is an empty object.
        self._answer(HTTPStatus.OK, {"vulns": found} if found else {})

    def _answer(self, status: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
