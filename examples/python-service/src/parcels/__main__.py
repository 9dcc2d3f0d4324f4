"""Serves on the port that ``PORT`` names."""

import os
from wsgiref.simple_server import make_server

from parcels.app import application


def main() -> None:
    """Serves until it is ended."""
    with make_server("", int(os.environ.get("PORT", "8080")), application) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
