"""Pipelines that deploy: started once, found again by their label, later ones win."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from pipelines.errors import Ambiguous, Retryable, UserError
from pipelines.integrations.cicd.base import PipelineProvider
from pipelines.integrations.cicd.github_actions import GitHubActions
from pipelines.integrations.cicd.gitlab import GitLabCi
from pipelines.integrations.cicd.mock import MockPipelines
from pipelines.integrations.rest import Rest
from pipelines.model import EnvironmentPlan
from tests.unit.targets.services import REPOSITORY, a_release, sha_of

PLAN = EnvironmentPlan(
    name="eu/staging", target="github-actions", workflow="deploy.yml", project="acme/shop",
    url="https://shop.example",
)  # fmt: skip
OTHER = PLAN.model_copy(update={"name": "production"})
ONE, TWO = sha_of("one"), sha_of("two")


class FakeActions:
    """The part of GitHub's REST API that runs workflows."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    async def get(self, path: str) -> Any:
        if path.endswith("/jobs?per_page=100"):
            steps = [{"name": "push", "conclusion": "failure"}]
            return {"jobs": [{"name": "deploy", "steps": steps}]}
        if path == f"/repos/{REPOSITORY}":
            return {"default_branch": "main"}
        assert path.startswith(f"/repos/{REPOSITORY}/actions/workflows/deploy.yml/runs?")
        return {"workflow_runs": list(reversed(self.runs))}

    async def post(self, path: str, data: Mapping[str, Any]) -> Any:
        assert path == f"/repos/{REPOSITORY}/actions/workflows/deploy.yml/dispatches"
        assert set(data) == {"ref", "inputs"}
        number = len(self.runs) + 1
        title = f"Deploy {data['inputs']['sha']} ({data['inputs']['key']})"
        self.runs.append(
            {
                "id": number,
                "display_title": title,
                "status": "queued",
                "conclusion": None,
                "html_url": f"https://github.example/runs/{number}",
                "head_sha": "f" * 40,
            }
        )

    def end(self, conclusion: str) -> None:
        self.runs[-1] |= {"status": "completed", "conclusion": conclusion}


class FakeGitLab:
    """The part of GitLab's REST API that runs pipelines."""

    def __init__(self) -> None:
        self.pipelines: list[dict[str, Any]] = []
        self.variables: dict[int, list[dict[str, str]]] = {}

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        project = "/api/v4/projects/acme%2Fshop"
        if path == project:
            return httpx2.Response(200, json={"id": 1, "default_branch": "main"})
        if path == f"{project}/pipeline" and request.method == "POST":
            body = json.loads(request.content)
            number = len(self.pipelines) + 1
            made = {"id": number, "status": "created", "sha": "f" * 40, "ref": body["ref"]}
            made["web_url"] = f"https://gitlab.example/{number}"
            self.pipelines.append(made)
            self.variables[number] = body["variables"]
            return httpx2.Response(201, json=made)
        if path == f"{project}/pipelines":
            return httpx2.Response(200, json=list(reversed(self.pipelines)))
        number = int(path.split("/")[6])
        if path.endswith("/variables"):
            return httpx2.Response(200, json=self.variables[number])
        assert path.endswith("/jobs"), path
        return httpx2.Response(200, json=[{"name": "push", "status": "failed"}])

    def end(self, conclusion: str) -> None:
        status = {"failure": "failed", "cancelled": "canceled"}.get(conclusion, conclusion)
        self.pipelines[-1]["status"] = status


async def token() -> Mapping[str, str]:
    return {"PRIVATE-TOKEN": "secret"}


def gitlab(transport: Callable[[httpx2.Request], httpx2.Response]) -> GitLabCi:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(transport))
    return GitLabCi(Rest("gitlab", "https://gitlab.example/api/v4", client, token))


Made = tuple[PipelineProvider, FakeActions | FakeGitLab]


@pytest.fixture(params=["github-actions", "gitlab-ci"])
def made(request: pytest.FixtureRequest) -> Made:
    if request.param == "gitlab-ci":
        lab = FakeGitLab()
        return gitlab(lab), lab
    actions = FakeActions()

    async def connect(repository: str) -> FakeActions:
        assert repository == REPOSITORY
        return actions

    return GitHubActions(connect), actions


def started(fake: FakeActions | FakeGitLab) -> int:
    return len(fake.runs if isinstance(fake, FakeActions) else fake.pipelines)


async def test_a_release_is_started_once_and_its_end_is_its_state(made: Made) -> None:
    provider, fake = made
    assert (await provider.state(PLAN, repository=REPOSITORY)).phase == "absent"
    begun = await provider.release(a_release(ONE, 4, plan=PLAN))
    assert (begun.phase, begun.sha, begun.revision) == ("progressing", ONE, 4)
    again = await provider.release(a_release(ONE, 4, plan=PLAN))
    assert (again.phase, again.sha, started(fake)) == ("progressing", ONE, 1)
    fake.end("success")
    state = await provider.state(PLAN, repository=REPOSITORY)
    assert (state.phase, state.sha, state.revision) == ("ready", ONE, 4)
    assert state.url == "https://shop.example"
    assert state.log_url is not None


@pytest.mark.parametrize("conclusion", ["failure", "cancelled"])
async def test_a_pipeline_that_does_not_succeed_is_a_failed_release(
    made: Made, conclusion: str
) -> None:
    provider, fake = made
    await provider.release(a_release(ONE, 1, plan=PLAN))
    fake.end(conclusion)
    state = await provider.state(PLAN, repository=REPOSITORY)
    assert (state.phase, state.sha) == ("failed", ONE)
    assert conclusion in state.message
    assert "push" in await provider.log(PLAN, repository=REPOSITORY, lines=5)


async def test_an_older_revision_is_refused_and_starts_nothing(made: Made) -> None:
    provider, fake = made
    await provider.release(a_release(TWO, 5, plan=PLAN))
    with pytest.raises(UserError, match="older than revision 5"):
        await provider.release(a_release(ONE, 4, plan=PLAN))
    assert started(fake) == 1


async def test_environments_do_not_see_each_others_runs(made: Made) -> None:
    provider, fake = made
    await provider.release(a_release(ONE, 9, plan=OTHER))
    await provider.release(a_release(TWO, 1, plan=PLAN))
    assert started(fake) == 2
    assert (await provider.state(OTHER, repository=REPOSITORY)).sha == ONE
    assert (await provider.state(PLAN, repository=REPOSITORY)).sha == TWO


async def test_what_the_configuration_lacks_is_named(made: Made) -> None:
    provider, _ = made
    plan = PLAN.model_copy(update={"workflow": None, "project": None})
    with pytest.raises(UserError, match=r"needs `(workflow|project)`"):
        await provider.state(plan, repository=REPOSITORY)


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Retryable), (502, Retryable), (401, UserError), (400, UserError)]
)
async def test_gitlabs_refusals_are_told_apart(status: int, kind: type[Exception]) -> None:
    provider = gitlab(lambda _: httpx2.Response(status, json={"message": "no"}))
    with pytest.raises(kind):
        await provider.state(PLAN, repository=REPOSITORY)


async def test_a_connection_that_breaks_while_starting_leaves_it_open_whether_it_started() -> None:
    fake = FakeGitLab()

    def breaking(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            raise httpx2.ReadError("reset")
        return fake(request)

    with pytest.raises(Ambiguous):
        await gitlab(breaking).release(a_release(ONE, 1, plan=PLAN))


async def test_the_mock_goes_through_the_phases() -> None:
    mock = MockPipelines({TWO: "failure"})
    await mock.release(a_release(ONE, 1, plan=PLAN))
    phases = [(await mock.state(PLAN, repository=REPOSITORY)).phase for _ in range(3)]
    assert phases == ["progressing", "ready", "ready"]
    await mock.release(a_release(TWO, 2, plan=PLAN))
    await mock.state(PLAN, repository=REPOSITORY)
    assert (await mock.state(PLAN, repository=REPOSITORY)).phase == "failed"
