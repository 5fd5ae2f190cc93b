"""Amazon ECS as a deployment target: a new task definition for the service that is there.

The service itself (network, load balancer, roles) is the operator's; a release copies the task
definition that it runs, with another image. Tags say what was released: those of the task
definition what it is, those of the service what was last asked for, because the circuit breaker may
bring an older task definition back by itself.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pipelines.errors import Retryable, UserError
from pipelines.integrations.answers import count, dig, objects, words
from pipelines.integrations.cloud.base import Account, CloudProvider
from pipelines.integrations.target import image_of, needed, newest, refuse_older, service_of
from pipelines.model import EnvironmentPlan, Release, ReleaseState

_KEY, _SHA, _REVISION, _TASK = (
    f"conductor:{word}" for word in ("key", "sha", "revision", "task-definition")
)
_COPIED = (
    "family", "taskRoleArn", "executionRoleArn", "networkMode", "containerDefinitions", "volumes",
    "placementConstraints", "requiresCompatibilities", "cpu", "memory", "pidMode", "ipcMode",
    "proxyConfiguration", "inferenceAccelerators", "ephemeralStorage", "runtimePlatform",
)  # fmt: skip
"""What ``RegisterTaskDefinition`` takes of what ``DescribeTaskDefinition`` gives."""
_PASSING = ("Throttling", "TooManyRequests", "ServerException", "ServiceUnavailable", "Timeout")
_BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class AwsCloud(CloudProvider):
    """Implements ``CloudProvider`` with the credentials that AWS' own tools would use."""

    name = "aws"

    def __init__(self, endpoint: str | None = None) -> None:
        """``endpoint`` is the address of something that speaks AWS' protocol; None is AWS."""
        self._endpoint = endpoint
        self._library = _library()
        self._session: Any = self._library.get_session()

    async def account(self) -> Account:
        """Return whose credentials are used."""
        answer = await self._call("sts", None, "get_caller_identity")
        region = self._session.get_config_variable("region") or ""
        return Account(id=words(answer, "Account"), region=region)

    async def release(self, release: Release) -> ReleaseState:
        """Register the commit's task definition and have the service use it."""
        plan = release.environment
        service = await self._service(plan, release.repository)
        if service is None:
            raise UserError(
                f"There is no ECS service {service_of(plan, release.repository)!r} in cluster "
                f"{needed(plan, 'cluster')!r}; create it once, releases then change its image."
            )
        present = await self._definition(plan, _primary(service))
        asked, runs = _tags(service), _tags(present)
        if release.key not in (asked.get(_KEY), runs.get(_KEY)):
            refuse_older(release, max(count(asked, _REVISION), count(runs, _REVISION)))
            task = await self._register(release, dig(present, "taskDefinition"))
            place = {"cluster": plan.cluster, "service": words(service, "serviceName")}
            changes = {"taskDefinition": task, "deploymentConfiguration": _BREAKER}
            await self._call("ecs", plan, "update_service", **place, **changes)
            await self._note(release, service, task)
        elif release.key != asked.get(_KEY):
            await self._note(release, service, _primary(service))
        return await self.state(plan, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what ECS says of the service's newest deployment."""
        service = await self._service(environment, repository)
        if service is None:
            return ReleaseState(phase="absent")
        task = _primary(service)
        asked, runs = _tags(service), _tags(await self._definition(environment, task))
        phase, message = _rollout(service)
        told = runs
        if asked.get(_TASK, task) != task and count(asked, _REVISION) >= count(runs, _REVISION):
            told, phase = asked, "failed"
            message = "ECS gave the rollout up and went back" + (f": {message}" if message else ".")
        return ReleaseState.model_validate(
            {
                "phase": phase,
                "sha": told.get(_SHA),
                "revision": count(told, _REVISION) or None,
                "message": message[:300],
                "url": environment.url,
                "ready": count(service, "runningCount"),
                "wanted": count(service, "desiredCount"),
            }
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the newest CloudWatch stream of the first container that logs there."""
        service = await self._service(environment, repository)
        if service is None:
            return ""
        definition = await self._definition(environment, _primary(service))
        for container in objects(definition, "taskDefinition", "containerDefinitions"):
            group = words(container, "logConfiguration", "options", "awslogs-group")
            if group:
                return newest(await self._events(environment, group, lines), lines)
        return ""

    async def close(self) -> None:
        """Hold nothing: each call has its own connection."""

    async def _events(self, plan: EnvironmentPlan, group: str, lines: int) -> str:
        latest = {"logGroupName": group, "orderBy": "LastEventTime", "descending": True, "limit": 1}
        streams = await self._call("logs", plan, "describe_log_streams", **latest)
        for stream in objects(streams, "logStreams"):
            where = {"logGroupName": group, "logStreamName": words(stream, "logStreamName")}
            events = await self._call("logs", plan, "get_log_events", limit=max(1, lines), **where)
            return "\n".join(words(event, "message") for event in objects(events, "events"))
        return ""

    async def _service(self, plan: EnvironmentPlan, repository: str) -> dict[str, Any] | None:
        where = {"cluster": needed(plan, "cluster"), "services": [service_of(plan, repository)]}
        answer = await self._call("ecs", plan, "describe_services", include=["TAGS"], **where)
        active = [one for one in objects(answer, "services") if words(one, "status") == "ACTIVE"]
        return active[0] if active else None

    async def _definition(self, plan: EnvironmentPlan, task: str) -> Any:
        return await self._call(
            "ecs", plan, "describe_task_definition", taskDefinition=task, include=["TAGS"]
        )

    async def _register(self, release: Release, present: Any) -> str:
        """Register the present task definition with the commit's image; return its ARN."""
        values = {name: dig(present, name) for name in _COPIED}
        values = {name: value for name, value in values.items() if value is not None}
        values["containerDefinitions"] = _containers(release, present)
        values["tags"] = _noted(release)
        answer = await self._call("ecs", release.environment, "register_task_definition", **values)
        return words(answer, "taskDefinition", "taskDefinitionArn")

    async def _note(self, release: Release, service: Mapping[str, Any], task: str) -> None:
        tags = [*_noted(release), {"key": _TASK, "value": task}]
        arn = words(service, "serviceArn")
        await self._call("ecs", release.environment, "tag_resource", resourceArn=arn, tags=tags)

    async def _call(
        self, vendor: str, plan: EnvironmentPlan | None, operation: str, /, **values: Any
    ) -> Any:
        """Do one operation; AWS' own retries are off, the faults are told in our terms."""
        config = importlib.import_module("aiobotocore.config").AioConfig(
            retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=20
        )
        faults = importlib.import_module("botocore.exceptions")
        region = plan.region if plan else None
        client = self._session.create_client(
            vendor, region_name=region, endpoint_url=self._endpoint, config=config
        )
        try:
            async with client as opened:
                return await getattr(opened, operation)(**values)
        except faults.ClientError as error:
            said = error.response.get("Error", {})
            raise _judged(words(said, "Code"), words(said, "Message")) from error
        except (faults.NoCredentialsError, faults.NoRegionError, faults.ParamValidationError) as e:
            raise UserError(f"AWS cannot be asked: {e}") from e
        except faults.BotoCoreError as error:
            said = f"AWS could not be reached ({type(error).__name__})."
            raise Retryable(said, dependency="aws") from error


def _judged(code: str, message: str) -> Retryable | UserError:
    if any(word in code for word in _PASSING):
        return Retryable(f"AWS answered {code}.", dependency="aws")
    return UserError(f"AWS refused with {code}: {message[:300]}")


def _primary(service: Mapping[str, Any]) -> str:
    """Return the task definition that the service is to run."""
    deployments = objects(service, "deployments")
    primary = [one for one in deployments if words(one, "status") == "PRIMARY"]
    return words(primary[0] if primary else service, "taskDefinition")


def _rollout(service: Mapping[str, Any]) -> tuple[str, str]:
    for deployment in objects(service, "deployments"):
        if words(deployment, "status") == "PRIMARY":
            said = words(deployment, "rolloutState")
            reason = words(deployment, "rolloutStateReason")
            if said == "FAILED":
                return "failed", reason
            running, wanted = count(deployment, "runningCount"), count(deployment, "desiredCount")
            whole = said == "COMPLETED" if said else running >= wanted
            return ("ready" if whole else "progressing"), reason
    return "unknown", "ECS names no primary deployment"


def _containers(release: Release, present: Any) -> list[dict[str, Any]]:
    """Return the containers with another image in the service's own one: by name, or the first."""
    containers = objects(present, "containerDefinitions")
    name = service_of(release.environment, release.repository)
    ours = next((one for one in containers if words(one, "name") == name), containers[0])
    environment = [one for one in objects(ours, "environment") if words(one, "name") != "GIT_SHA"]
    environment.append({"name": "GIT_SHA", "value": release.sha})
    changed = {**ours, "image": image_of(release), "environment": environment}
    return [changed if one is ours else one for one in containers]


def _noted(release: Release) -> list[dict[str, str]]:
    values = {_KEY: release.key, _SHA: release.sha, _REVISION: str(release.revision)}
    return [{"key": key, "value": value} for key, value in values.items()]


def _tags(answer: Any) -> dict[str, str]:
    return {words(tag, "key"): words(tag, "value") for tag in objects(answer, "tags")}


def _library() -> ModuleType:
    try:
        return importlib.import_module("aiobotocore.session")
    except ModuleNotFoundError as error:
        raise UserError("AWS needs `pip install 'conductor-app[aws]'`.") from error
