"""One play for each path that an agent can take: what is there, what happens, what comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.integrations.containers.layout import Layout
from pipelines.integrations.llm.base import ToolCall
from pipelines.model import (
    Breach,
    FeedbackPayload,
    OpenFeedback,
    SandboxJob,
    SandboxResult,
    Severity,
)
from tests.support.clock import EPOCH
from tests.support.forge import sha
from tests.support.models import findings, proposal
from tests.support.stage import Play, Stage
from tests.support.workplace import MemoryWorkplace
from tests.unit.agents.coding import material as coding
from tests.unit.agents.devops import material as devops
from tests.unit.agents.testdata import test_agent as testdata
from tests.unit.agents.testing import test_generation as testing
from tests.unit.agents.testing.trusted import execute

Happening = Callable[[Stage], Awaitable[None]]
QUERY = "sum(rate(http_errors_total[1m]))"


@dataclass(frozen=True)
class Scenario:
    """A play, what happens before anything can go wrong, and what happens while it may."""

    play: Play
    happens: Happening
    writes: tuple[str, ...]
    """The kinds of effect that must have happened, each as often as it is named."""
    conclusion: str = "success"
    """Of the newest run."""
    before: Happening | None = None
    releases: tuple[str, ...] = ()
    told: int = 0
    also: frozenset[str] = field(default_factory=frozenset[str])
    """Conclusions of the newest run that a crash may bring about instead."""


# --- the world's answers -------------------------------------------------------------------------

_RAN: dict[str, SandboxResult] = {}


def really(job: SandboxJob, layout: Layout) -> SandboxResult:
    """Run our own samples for real, the same thing once."""
    return _once(job, {path: file.decode() for path, file in layout.files.items()})


def really_at(place: MemoryWorkplace, job: SandboxJob) -> SandboxResult:
    """The same over the files of a workplace."""
    edits = {edit.path: edit.content for edit in job.edits}
    files = {**place.files[job.at], **edits}
    return _once(job, {path: text for path, text in files.items() if text is not None})


def _once(job: SandboxJob, files: dict[str, str]) -> SandboxResult:
    key = f"{sorted(files.items())}{job.model_dump_json(exclude={'timeout_seconds', 'edits'})}"
    if key not in _RAN:
        plain = job.model_copy(update={"edits": (), "at": "head"})
        _RAN[key] = execute(MemoryWorkplace(files), plain)
    return _RAN[key]


def said(
    *turns: str | tuple[ToolCall, ...], purpose: str | None = None
) -> tuple[dict[str, Any], ...]:
    """Rules by which the model says this, whenever it is asked for that turn."""
    return tuple(
        {"purpose": purpose, "turn": number, "replies": [_reply(each)]}
        for number, each in enumerate(turns, 1)
    )


def _reply(answer: str | tuple[ToolCall, ...]) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"text": answer}
    return {"calls": [{"name": call.name, "arguments": call.arguments} for call in answer]}


def errors(stage: Stage, at: datetime) -> float:
    """Errors rise with the release of the commit ``bad``."""
    moments = [begun for commit, begun in stage.target.begun.values() if commit == sha("bad")]
    return 0.4 if moments and at >= moments[0] else 0.001


# --- coding --------------------------------------------------------------------------------------

MEND = said(coding.LOOK, coding.FIX, coding.answer())
HEAL = """
version: 1
workflows: { heal: { on: { feedback: {} }, steps: { fix: { agent: coding } } } }
"""


def a_payload() -> FeedbackPayload:
    broken = Breach(rule="error rate", observed=0.4, baseline=0.001, above=0.02, samples=5)
    return FeedbackPayload(
        fingerprint="ab" * 16,
        environment="staging",
        severity=Severity.HIGH,
        title="error rate out of bounds in staging",
        breaches=(broken,),
        findings=("error rate was at 0.4.",),
        suspected_sha=sha("bad"),
        suspected_paths=("shop/stats.py",),
        observed_at=EPOCH,
    )


async def an_issue_comes_back(stage: Stage) -> None:
    await stage.feedback(13, a_payload(), "a")
    await stage.settle()


async def somebody_asks_for_a_fix(stage: Stage) -> None:
    await stage.comment(5, "/conductor fix the mean of nothing", guid="a")
    await stage.settle()


# --- pull requests -------------------------------------------------------------------------------


def on_pull_request(step: str) -> str:
    return f"""
version: 1
workflows:
  pull-request:
    on: {{ pull_request: {{ types: [opened] }} }}
    steps: {{ step: {{ {step} }} }}
"""


async def a_pull_request_is_opened(stage: Stage) -> None:
    await stage.pull_request("opened", 5, "one", guid="a")
    await stage.settle()


async def a_pipeline_is_approved(stage: Stage) -> None:
    await stage.pull_request("opened", 5, "one", guid="a")
    await stage.settle()
    await stage.comment(5, "/conductor approve", guid="b")
    await stage.settle()


REVIEWED = "shop/cart.py"
REVIEW = findings(proposal(REVIEWED, 2, "    return sum(prices) / len(prices)"))


# --- environments --------------------------------------------------------------------------------

DELIVER = """
version: 1
environments: { staging: { target: mock, health: null, rollout: 60s } }
workflows:
  deliver:
    on: { push: { branches: [main] } }
    steps: { ship: { agent: deploy, environment: staging } }
  release:
    on: { deployment: { environments: [staging] } }
    steps: { ship: { agent: deploy } }
"""
WATCH = f"""
version: 1
environments: {{ staging: {{ target: mock, health: null, rollout: 60s }} }}
workflows:
  deliver:
    on: {{ push: {{ branches: [main] }} }}
    steps:
      ship: {{ agent: deploy, environment: staging }}
      watch:
        agent: monitor
        needs: [ship]
        for: 150s
        interval: 15s
        signals: false
        rules: [ {{ name: error rate, query: "{QUERY}", above: 0.02, severity: high }} ]
"""
FILES = {"app.py": "once()\n"}, {"app.py": "retry()\n"}
ADVICE = said('{"recommendations": ["Look at the retry loop in app.py."]}')


async def a_push(stage: Stage) -> None:
    await stage.push("good", "b")
    await stage.settle()


async def an_earlier_push(stage: Stage) -> None:
    await stage.push("older", "a")
    await stage.settle()


async def a_bad_push(stage: Stage) -> None:
    await stage.push("bad", "b", before="older")
    await stage.settle()


async def a_deployment_is_created(stage: Stage) -> None:
    await stage.deployment(77, "good", "b")
    await stage.settle()


async def a_push_with_an_issue_open(stage: Stage) -> None:
    known = OpenFeedback(number=13, payload=a_payload())
    if not stage.live.issues and not any(e.kind == "close_issue" for e in stage.live.effects):
        stage.live.issues = [known]
    await stage.push("good", "b")
    await stage.settle()


SHIPPED = ("create_deployment", "set_deployment_status", "set_deployment_status")

SCENARIOS: dict[str, Scenario] = {
    "coding mends what the monitor saw": Scenario(
        Play(coding.FILES, coding.FILES, HEAL, MEND, really),
        an_issue_comes_back,
        ("open_pull_request",),
    ),
    "coding obeys a command": Scenario(
        Play(coding.FILES, {**coding.FILES, "shop/more.py": "x = 1\n"}, None, MEND, really),
        somebody_asks_for_a_fix,
        ("push_commit", "react", "react"),
    ),
    "test commits a proven test": Scenario(
        Play(
            testing.BASE,
            {**testing.BASE, **testing.HEAD},
            on_pull_request("agent: test"),
            said(testing.answer(testing.GOOD)),
            really,
        ),
        a_pull_request_is_opened,
        ("push_commit",),
    ),
    "test-data commits": Scenario(
        Play(
            {"README.md": "x"},
            testdata.FILES,
            on_pull_request("agent: test-data, commit: true, records: 3"),
            said(testdata.ORDERS),
        ),
        a_pull_request_is_opened,
        ("push_commit",),
    ),
    "review posts": Scenario(
        Play(
            {REVIEWED: "def mean(prices):\n    return 0\n"},
            {REVIEWED: "def mean(prices):\n    return sum(prices) / len(prices)\n"},
            None,
            said(REVIEW),
        ),
        a_pull_request_is_opened,
        ("submit_review",),
        "neutral",
    ),
    "devops writes a pipeline, and somebody approves": Scenario(
        Play(
            devops.PYTHON,
            {**devops.PYTHON, "shop/more.py": "x = 1\n"},
            on_pull_request("agent: devops, write: [gitlab-ci]"),
            said(devops.written("gitlab-ci"), devops.answer()),
            really,
        ),
        a_pipeline_is_approved,
        ("open_pull_request", "react", "react", "post_comment"),
    ),
    "deploy ships a push": Scenario(Play(*FILES, DELIVER), a_push, SHIPPED, releases=("good",)),
    "deploy takes up a deployment": Scenario(
        Play(*FILES, DELIVER),
        a_deployment_is_created,
        ("set_deployment_status", "set_deployment_status"),
        releases=("good",),
    ),
    "deploy fails and goes back": Scenario(
        Play(*FILES, DELIVER, failing={sha("bad"): "the container exited"}),
        a_bad_push,
        (*SHIPPED, *SHIPPED),
        "failure",
        before=an_earlier_push,
        releases=("bad", "older"),
        told=1,
    ),
    "monitor opens an issue": Scenario(
        Play(*FILES, WATCH, ADVICE, curves={QUERY: errors}),
        a_bad_push,
        (*SHIPPED, "open_issue"),
        "failure",
        releases=("bad",),
        told=1,
    ),
    "monitor closes an issue": Scenario(
        Play(*FILES, WATCH, ADVICE, curves={QUERY: errors}),
        a_push_with_an_issue_open,
        (*SHIPPED, "close_issue"),
        releases=("good",),
        told=1,
    ),
}
