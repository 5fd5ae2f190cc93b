"""``python -m shop --port 8000``: the service on loopback."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import cart


class Handler(BaseHTTPRequestHandler):
    """Answers ``/healthz`` and ``/carts/NAME``."""

    def do_GET(self) -> None:
        """Answer 200 with JSON, 404, or 500 when the code below fails."""
        try:
            status, body = answer(self.path)
        except Exception as error:
            status, body = 500, {"error": type(error).__name__}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal quiet."""


def answer(path: str) -> tuple[int, dict[str, object]]:
    """Return status and body for a path."""
    if path == "/healthz":
        return 200, {"status": "ok"}
    name = path.removeprefix("/carts/")
    if name not in cart.CARTS:
        return 404, {"error": "no such cart"}
    prices = cart.CARTS[name]
    return 200, {"items": len(prices), "total": cart.total(prices)}


def main() -> None:
    """Serve until interrupted; prints the address first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
