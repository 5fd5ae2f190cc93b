"""Repositories, good and bad files, and one task from start to end for the devops agent."""

import json
from collections.abc import Mapping
from datetime import timedelta

from pipelines.integrations.llm.base import LanguageModel, ToolCall
from pipelines.model import (
    Change,
    OpenPullRequest,
    PushTrigger,
    Task,
    TaskResult,
)
from tests.support.carrying import carried_out
from tests.support.clock import VirtualClock
from tests.support.models import Answer, ScriptedModel, call
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.ground import ADA, BASE, HEAD, REPOSITORY, change

PYTHON = {
    "pyproject.toml": '[project]\nname = "shop"\nrequires-python = ">=3.12"\n',
    "requirements.txt": "aiohttp==3.14.5\npytest==9.2.0\n",
    "shop/__init__.py": "",
    "shop/__main__.py": 'import os\nport = int(os.environ.get("PORT", "8080"))\n',
    "tests/test_shop.py": "def test_it():\n    assert True\n",
}
NODE = {
    "package.json": json.dumps(
        {"main": "server.js", "scripts": {"start": "node server.js", "test": "node --test"}}
    ),
    "package-lock.json": "{}",
    "server.js": "http.createServer(f).listen(process.env.PORT || 3000)\n",
    "test/server.test.js": "import test from 'node:test'\n",
}
GO = {
    "go.mod": "module acme/shop\n\ngo 1.24\n",
    "cmd/shop/main.go": "package main\n\nfunc main() {}\n",
    "shop_test.go": "package shop\n",
}
PLAIN = {"README.md": "# Notes\n", "index.html": "<h1>Hello</h1>\n"}

DOCKERFILE = """\
FROM python:3.12-slim AS build
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --prefix=/install -r requirements.txt

FROM python:3.12-slim
WORKDIR /app
COPY --from=build /install /usr/local
COPY shop ./shop
RUN useradd --system --no-create-home app
USER app
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080')"]
CMD ["python", "-m", "shop"]
"""
IGNORE = ".git\n.env\n.venv\n__pycache__\n"
WORKFLOW = """\
name: CI
on:
  push: { branches: [main] }
  pull_request:
permissions:
  contents: read
concurrency:
  group: ci-${{ github.ref }}
  cancel-in-progress: true
jobs:
  test:
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v5
        with: { persist-credentials: false }
      - uses: actions/setup-python@v6
        with: { python-version: "3.12" }
      - run: pip install -r requirements.txt
      - run: python -m pytest
"""
GITLAB = """\
stages: [test]
test:
  stage: test
  image: python:3.12-slim
  timeout: 10m
  script:
    - pip install -r requirements.txt
    - python -m pytest
"""
COMPOSE = """\
services:
  shop:
    build: .
    ports: ["8080:8080"]
    environment: { PORT: "8080", DB_PASSWORD: "${DB_PASSWORD}" }
    healthcheck: { test: [CMD, python, -c, "pass"], interval: 10s }
  db:
    image: postgres:17.2
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck: { test: [CMD, pg_isready], interval: 10s }
volumes: { data: {} }
"""
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, labels: { app: shop } }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec:
      automountServiceAccountToken: false
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: shop
          image: ghcr.io/acme/shop:1.0.0
          ports: [{ containerPort: 8080 }]
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
          resources:
            requests: { cpu: 100m, memory: 64Mi }
            limits: { memory: 128Mi }
          readinessProbe: { httpGet: { path: /healthz, port: 8080 } }
          livenessProbe: { httpGet: { path: /healthz, port: 8080 } }
---
apiVersion: v1
kind: Service
metadata: { name: shop }
spec:
  selector: { app: shop }
  ports: [{ port: 80, targetPort: 8080 }]
"""
GOOD: Mapping[str, Mapping[str, str]] = {
    "dockerfile": {"Dockerfile": DOCKERFILE, ".dockerignore": IGNORE},
    "github-actions": {".github/workflows/ci.yml": WORKFLOW},
    "gitlab-ci": {".gitlab-ci.yml": GITLAB},
    "compose": {"compose.yaml": COMPOSE},
    "kubernetes": {"k8s/deployment.yaml": MANIFEST},
}


def write(*files: tuple[str, str]) -> tuple[ToolCall, ...]:
    return tuple(call("write_file", path=path, content=content) for path, content in files)


def written(*kinds: str) -> tuple[ToolCall, ...]:
    return write(*(item for kind in kinds for item in GOOD[kind].items()))


def answer(outcome: str = "written", explanation: str = "A small image and a test run.") -> str:
    return json.dumps({"outcome": outcome, "explanation": explanation})


def task(*kinds: str, subject: Change | None = None, **changes: object) -> Task:
    trigger = PushTrigger(
        repository=REPOSITORY,
        actor=ADA,
        delivery_id="d1",
        ref="refs/heads/main",
        before=BASE,
        after=HEAD,
    )
    values: dict[str, object] = {
        "run_id": "01K0ABCDEFGHJKMNPQRST",
        "step": "package",
        "agent": "devops",
        "attempt": 1,
        "trigger": trigger,
        "change": subject or change(),
        "options": {"write": list(kinds)} if kinds else {},
        "budget_usd": 5.0,
        "deadline": VirtualClock().now() + timedelta(minutes=15),
        **changes,
    }
    return Task.model_validate(values)


async def ship(
    model: LanguageModel | tuple[Answer, ...],
    subject: Task | None = None,
    files: Mapping[str, str] | MemoryWorkplace = PYTHON,
) -> TaskResult:
    """Run one task from start to stop."""
    model = ScriptedModel(*model) if isinstance(model, tuple) else model
    place = files if isinstance(files, MemoryWorkplace) else MemoryWorkplace(files)
    return await carried_out(subject or task(), place, model)


def opened(result: TaskResult) -> OpenPullRequest:
    (effect,) = result.effects
    assert isinstance(effect, OpenPullRequest)
    return effect


def contents(result: TaskResult) -> dict[str, str | None]:
    return {edit.path: edit.content for edit in opened(result).commit.edits}
