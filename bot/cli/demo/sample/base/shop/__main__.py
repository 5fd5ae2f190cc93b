"""``python -m shop``: the service on loopback, on the port that ``PORT`` names."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import cart, metrics


class Handler(BaseHTTPRequestHandler):
    """Answers ``/healthz``, ``/metrics`` and ``/carts/NAME``."""

    def do_GET(self) -> None:
        """Answer 200, 404, or 500 when the code below fails."""
        if self.path == "/metrics":
            self.reply(200, "text/plain; version=0.0.4", metrics.page())
            return
        try:
            status, body = answer(self.path)
        except Exception as error:
            status, body = 500, {"error": type(error).__name__}
        if self.path != "/healthz":
            metrics.count(status)
        self.reply(status, "application/json", json.dumps(body))

    def reply(self, status: int, kind: str, text: str) -> None:
        """Send a whole answer."""
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
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
    return 200, cart.summary(cart.CARTS[name])


def main() -> None:
    """Serve until interrupted; prints the address first."""
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
