"""Commits of a small real service, and how a test waits for a target."""

import asyncio
import hashlib

from pipelines.integrations.target import DeploymentTarget
from pipelines.model import EnvironmentPlan, Release, ReleaseState
from pipelines.ports import Snapshot

REPOSITORY = "acme/shop"
SERVER = """
import http.server, os, sys, signal

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path != "/healthz" or {healthy}
        body = ({word!r} + " " + os.environ["GIT_SHA"] + " " + os.getcwd()).encode()
        self.send_response(200 if ok else 500)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", flush=True), sys.exit(0)))
print({word!r} + " serves", flush=True)
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
PLAN = EnvironmentPlan(name="staging", target="local", command=("python3", "app.py"))


def sha_of(word: str) -> str:
    return hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest()


class Commits:
    """Files by commit; a ``Files`` of the local target."""

    def __init__(self) -> None:
        self.texts: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []

    def serve(self, word: str, *, healthy: bool = True) -> str:
        """A commit whose service says this word."""
        return self.add(word, SERVER.format(word=word, healthy=healthy))

    def add(self, word: str, program: str) -> str:
        sha = sha_of(word)
        self.texts[sha] = {"app.py": program.encode(), "tools/run": b"#!/bin/sh\necho ran\n"}
        return sha

    async def __call__(self, release: Release) -> Snapshot:
        self.asked.append(release.sha)
        return Snapshot(
            sha=release.sha, files=self.texts[release.sha], executables=frozenset({"tools/run"})
        )


def a_release(
    sha: str, revision: int = 1, *, plan: EnvironmentPlan = PLAN, key: str | None = None
) -> Release:
    return Release(
        repository=REPOSITORY,
        repository_id=42,
        environment=plan,
        sha=sha,
        revision=revision,
        key=key or f"release/{revision}/{sha}",
    )


async def settled(
    target: DeploymentTarget, plan: EnvironmentPlan = PLAN, *, seconds: float = 30.0
) -> ReleaseState:
    """Ask until the target has made up its mind."""
    async with asyncio.timeout(seconds):
        while True:
            state = await target.state(plan, repository=REPOSITORY)
            if state.phase not in ("progressing", "unknown"):
                return state
            await asyncio.sleep(0.05)
