"""Serve the built site on this machine only, on a free port, until Ctrl-C."""

import functools
import http.server
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        """Say nothing: a line per request would push the address off the screen."""


def server(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of ``folder`` on the loopback address; port 0 takes any free port."""
    handler = functools.partial(Handler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    if not (SITE / "index.html").exists():
        print("There is no built site yet: run `make book` (or python tools/build.py) first.")
        return 1
    with server(SITE) as site:
        print(f"The book is at http://127.0.0.1:{site.server_port}/ (Ctrl-C stops)", flush=True)
        try:
            site.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
