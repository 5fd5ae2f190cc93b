"""Google's credentials from files and from a metadata server of our own: nothing leaves here."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.cloud.gcp_credentials import GoogleHeaders
from tests.support.github_stub import private_key

pytest.importorskip("google.auth", reason="the extra `gcp` is not installed")

TOKEN = "computeMetadata/v1/instance/service-accounts/default/token"


@dataclass
class Google:
    """A token endpoint and a metadata server in one; ``status`` other than 200 refuses tokens."""

    host: str = ""
    status: int = 200
    lasts: int = 3600
    """Seconds that a token is good for."""
    asked: list[str] = field(default_factory=list[str])

    @property
    def tokens(self) -> int:
        """How many tokens were asked for."""
        return sum(path.endswith("token") for path in self.asked)

    def answer(self, path: str) -> tuple[int, str, str]:
        self.asked.append(path.partition("?")[0])
        if self.asked[-1].endswith("token"):
            if self.status != 200:
                return self.status, "application/json", json.dumps({"error": "no_such_account"})
            given = {"access_token": f"given-{self.tokens}", "token_type": "Bearer"}
            body = json.dumps({**given, "expires_in": self.lasts})
            return 200, "application/json", body
        if path.endswith("project-id"):
            return 200, "text/plain", "acme"
        if "universe" in path:
            return 200, "text/plain", "googleapis.com"
        return 200, "application/json", json.dumps({"email": "me", "scopes": ["all"]})


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """Google on this machine, for whoever finds no credentials of a person here."""
    world = Google()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, body = world.answer(self.path)
            self.send_response(status)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    world.host = f"127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GCE_METADATA_HOST", world.host)
    monkeypatch.setenv("GCE_METADATA_IP", world.host)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "NO_GCE_CHECK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    yield world
    server.shutdown()
    thread.join()
    server.server_close()


def account_file(token_uri: str) -> str:
    known = {
        "type": "service_account",
        "client_email": "conductor@acme.iam.gserviceaccount.com",
        "private_key": private_key(),
        "private_key_id": "1",
        "project_id": "acme",
        "token_uri": token_uri,
    }
    return json.dumps(known)


def rewrite(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


@pytest.fixture
def account(google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a service account, named by the environment."""
    file = tmp_path / "account.json"
    rewrite(file, account_file(f"http://{google.host}/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


async def test_the_token_of_a_service_account_is_kept_while_it_is_good(
    google: Google, account: Path
) -> None:
    headers = GoogleHeaders()
    assert await headers() == {"Authorization": "Bearer given-1"}
    assert await headers() == {"Authorization": "Bearer given-1"}
    assert google.tokens == 1


async def test_a_token_that_is_about_to_expire_is_renewed(google: Google, account: Path) -> None:
    google.lasts = 60
    headers = GoogleHeaders()
    assert await headers() == {"Authorization": "Bearer given-1"}
    assert await headers() == {"Authorization": "Bearer given-2"}


async def test_without_a_file_the_metadata_server_is_asked(google: Google) -> None:
    assert await GoogleHeaders()() == {"Authorization": "Bearer given-1"}
    assert f"/{TOKEN}" in google.asked


MALFORMED = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[]",
    "an unknown type": '{"type": "of a kind"}',
    "no key": '{"type": "service_account", "client_email": "a", "token_uri": "b"}',
    "no PEM": '{"type": "service_account", "client_email": "a", "token_uri": "b", '
    '"private_key": "-----BEGIN nothing"}',
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_file_is_the_operator_s_to_mend(
    google: Google, account: Path, name: str
) -> None:
    rewrite(account, MALFORMED[name])
    with pytest.raises(UserError, match="no usable Google credentials"):
        await GoogleHeaders()()
    assert google.tokens == 0


async def test_a_file_that_is_not_there_is_the_operator_s_to_mend(
    google: Google, account: Path
) -> None:
    rewrite(account, None)
    with pytest.raises(UserError, match="no usable Google credentials"):
        await GoogleHeaders()()


async def test_an_account_that_google_refuses_is_the_operator_s_to_mend(
    google: Google, account: Path
) -> None:
    google.status = 400
    with pytest.raises(UserError, match="no usable Google credentials") as refused:
        await GoogleHeaders()()
    assert "PRIVATE KEY" not in str(refused.value)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_token_endpoint_in_trouble_is_a_passing_fault(
    google: Google, account: Path, status: int
) -> None:
    google.status = status
    headers = GoogleHeaders()
    with pytest.raises(Retryable, match="no token just now"):
        await headers()
    google.status = 200
    assert (await headers())["Authorization"].startswith("Bearer given-")


async def test_a_token_endpoint_that_is_not_there_is_a_passing_fault(
    google: Google, account: Path
) -> None:
    rewrite(account, account_file("http://127.0.0.1:1/token"))
    with pytest.raises(Retryable, match="no token just now"):
        await GoogleHeaders()()
