"""Deployments and their statuses as GitHub shows them."""

from bot.simulator.state import Deployment, DeploymentStatus, Repository
from bot.simulator.views import accounts
from bot.simulator.views.repositories import api_url
from bot.simulator.world import Json, World, node_id, stamp


def _made_by(world: World, app_id: int | None) -> Json | None:
    app = world.state.apps.get(app_id) if app_id else None
    return accounts.app(world, app) if app else None


def deployment(world: World, repo: Repository, record: Deployment) -> Json:
    """A deployment."""
    api = api_url(world, repo)
    url = f"{api}/deployments/{record.id}"
    return {
        "url": url,
        "id": record.id,
        "node_id": node_id("DE", record.id),
        "sha": record.sha,
        "ref": record.ref,
        "task": record.task,
        "payload": record.payload,
        "original_environment": record.environment,
        "environment": record.environment,
        "description": record.description,
        "creator": accounts.user(world, record.creator),
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.updated_at),
        "statuses_url": f"{url}/statuses",
        "repository_url": api,
        "transient_environment": record.transient,
        "production_environment": record.production,
        "performed_via_github_app": _made_by(world, record.app_id),
    }


def status(world: World, repo: Repository, of: Deployment, record: DeploymentStatus) -> Json:
    """A deployment's status."""
    api = api_url(world, repo)
    url = f"{api}/deployments/{of.id}"
    return {
        "url": f"{url}/statuses/{record.id}",
        "id": record.id,
        "node_id": node_id("DES", record.id),
        "state": record.state,
        "creator": accounts.user(world, record.creator),
        "description": record.description,
        "environment": record.environment,
        "target_url": record.log_url,
        "created_at": stamp(record.created_at),
        "updated_at": stamp(record.created_at),
        "deployment_url": url,
        "repository_url": api,
        "environment_url": record.environment_url,
        "log_url": record.log_url,
        "performed_via_github_app": _made_by(world, record.app_id),
    }
