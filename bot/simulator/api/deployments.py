"""Deployments and their statuses."""

from typing import Any

from pydantic import Field

from bot.simulator import events
from bot.simulator.errors import Refused, invalid, not_found, validation_failed
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import (
    Account,
    Deployment,
    DeploymentState,
    DeploymentStatus,
    Repository,
)
from bot.simulator.views import deployments
from bot.simulator.world import World

MAX_DESCRIPTION = 140


class NewDeployment(Body):
    """A new deployment; the defaults are GitHub's, which no careful caller wants."""

    ref: str
    task: str = "deploy"
    auto_merge: bool = True
    required_contexts: list[str] | None = None
    payload: dict[str, Any] | str = Field(default="")
    environment: str = "production"
    description: str | None = None
    transient_environment: bool = False
    production_environment: bool | None = None


class NewStatus(Body):
    """A new status of one."""

    state: DeploymentState
    target_url: str = ""
    log_url: str = ""
    description: str = ""
    environment: str | None = None
    environment_url: str = ""
    auto_inactive: bool = True


async def create(
    world: World, repo: Repository, new: NewDeployment, by: Account, app_id: int | None = None
) -> Deployment:
    """Make a deployment and announce it; raises Refused as GitHub refuses."""
    sha = await repo.git.resolve(new.ref)
    if not sha:
        raise invalid(f"No ref found for: {new.ref}")
    await _merge_base_into(repo, new, sha)
    _demand_contexts(repo, new, sha)
    production = new.production_environment
    now = world.now()
    record = Deployment(
        id=world.next_id(),
        sha=sha,
        ref=new.ref,
        task=new.task,
        payload=new.payload,
        environment=new.environment,
        description=new.description,
        creator=by,
        transient=new.transient_environment,
        production=new.environment == "production" if production is None else production,
        created_at=now,
        updated_at=now,
        app_id=app_id,
    )
    repo.deployments[record.id] = record
    events.deployment(world, repo, record, by)
    return record


async def _merge_base_into(repo: Repository, new: NewDeployment, sha: str) -> None:
    """Refuse where GitHub would first merge the default branch: nobody here wants that."""
    tip = await repo.git.resolve(f"refs/heads/{repo.default_branch}")
    is_branch = await repo.git.resolve(f"refs/heads/{new.ref}") is not None
    if new.auto_merge and is_branch and tip and not await repo.git.is_ancestor(tip, sha):
        raise Refused(409, f"Conflict merging {repo.default_branch} into {new.ref}.")


def _demand_contexts(repo: Repository, new: NewDeployment, sha: str) -> None:
    """Without ``required_contexts`` every check on the commit must have succeeded."""
    newest = {run.name: run for run in repo.checks.values() if run.head_sha == sha}
    fine = {name for name, run in newest.items() if run.conclusion in ("success", "neutral")}
    wanted = newest.keys() if new.required_contexts is None else set(new.required_contexts)
    if wanted - fine:
        error = {"resource": "Deployment", "field": "required_contexts", "code": "invalid"}
        raise Refused(409, f"Conflict: Commit status checks failed for {new.ref}.", errors=[error])


def set_status(
    world: World,
    repo: Repository,
    record: Deployment,
    new: NewStatus,
    by: Account,
    *,
    app_id: int | None = None,
) -> DeploymentStatus:
    """Add a status and announce it; a success makes its forerunners inactive."""
    if len(new.description) > MAX_DESCRIPTION:
        raise validation_failed("DeploymentStatus", "description")
    status = _add(world, repo, record, new, by, app_id=app_id)
    if new.state == "success" and new.auto_inactive:
        for other in repo.deployments.values():
            same = other is not record and other.environment == record.environment
            superseded = other.statuses and other.statuses[-1].state == "success"
            if same and superseded and not other.transient and not other.production:
                _add(world, repo, other, NewStatus(state="inactive"), by, app_id=app_id)
    return status


def _add(
    world: World,
    repo: Repository,
    record: Deployment,
    new: NewStatus,
    by: Account,
    *,
    app_id: int | None,
) -> DeploymentStatus:
    status = DeploymentStatus(
        id=world.next_id(),
        state=new.state,
        creator=by,
        description=new.description,
        environment=new.environment or record.environment,
        environment_url=new.environment_url,
        log_url=new.log_url or new.target_url,
        created_at=world.now(),
        app_id=app_id,
    )
    record.statuses.append(status)
    record.updated_at = status.created_at
    events.deployment_status(world, repo, record, status, by)
    return status


def _app_id(call: Call) -> int | None:
    return call.token.installation.app.id if call.token else None


def _found(call: Call) -> Deployment:
    record = call.repo.deployments.get(call.number("deployment_id"))
    if not record:
        raise not_found()
    return record


async def list_deployments(call: Call) -> Answer:
    """Deployments, newest first, by commit, ref, task or environment."""
    wanted = {name: call.query.get(name, "none") for name in ("sha", "ref", "task", "environment")}
    found = [
        record
        for record in reversed(call.repo.deployments.values())
        if all(value in ("none", getattr(record, name)) for name, value in wanted.items())
    ]
    return call.page(found, lambda one: deployments.deployment(call.world, call.repo, one))


async def create_deployment(call: Call) -> Answer:
    """Create a deployment."""
    new = call.read(NewDeployment)
    record = await create(call.world, call.repo, new, call.actor, _app_id(call))
    return Answer(deployments.deployment(call.world, call.repo, record), status=201)


async def get_deployment(call: Call) -> Answer:
    """One deployment."""
    return Answer(deployments.deployment(call.world, call.repo, _found(call)))


async def list_statuses(call: Call) -> Answer:
    """A deployment's statuses, newest first."""
    record = _found(call)
    return call.page(
        record.statuses[::-1],
        lambda one: deployments.status(call.world, call.repo, record, one),
    )


async def create_status(call: Call) -> Answer:
    """Move a deployment on; GitHub itself forbids no direction."""
    record, new = _found(call), call.read(NewStatus)
    status = set_status(call.world, call.repo, record, new, call.actor, app_id=_app_id(call))
    document = deployments.status(call.world, call.repo, record, status)
    return Answer(document, status=201)


_READ, _WRITE = ("deployments=read",), ("deployments=write",)
_DEPLOYMENTS = "/repos/{owner}/{repo}/deployments"
_ONE = f"{_DEPLOYMENTS}/{{deployment_id}}"

OPERATIONS = (
    Operation("GET", _DEPLOYMENTS, list_deployments, _READ),
    Operation("POST", _DEPLOYMENTS, create_deployment, _WRITE),
    Operation("GET", _ONE, get_deployment, _READ),
    Operation("GET", f"{_ONE}/statuses", list_statuses, _READ),
    Operation("POST", f"{_ONE}/statuses", create_status, _WRITE),
)
