"""What agents' requests reach beyond GitHub: sandboxes, measurements, the operators' channels."""

import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2

from bot.settings import ConductorConfig
from pipelines.errors import UserError
from pipelines.integrations.containers.base import SandboxProvider
from pipelines.integrations.containers.bubblewrap import Bubblewrap
from pipelines.integrations.containers.choice import SandboxChoice
from pipelines.integrations.containers.docker import DockerRuntime
from pipelines.integrations.containers.docker_sandbox import DockerOptions
from pipelines.integrations.containers.engine import Engine
from pipelines.integrations.containers.host import Host
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.containers.kubernetes_runtime import KubernetesRuntime
from pipelines.integrations.containers.kubernetes_sandbox import KubernetesOptions
from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.notifications.console import ConsoleNotifier
from pipelines.integrations.notifications.notifiers import Notifiers
from pipelines.integrations.notifications.slack import SlackNotifier
from pipelines.integrations.notifications.webhook import WebhookNotifier
from pipelines.integrations.observability.jaeger import Jaeger
from pipelines.integrations.observability.observatory import Instruments, Observatory
from pipelines.integrations.observability.prometheus import Prometheus
from pipelines.net import AllowedHosts, GuardedClient
from pipelines.orchestration.outlets import Observatories
from pipelines.orchestration.scrapes import StoredScrapes
from pipelines.ports import Clock, Ids
from pipelines.stores.backend import StorageBackend

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part of the wiring is given, and where what must be closed is kept."""

    settings: ConductorConfig
    clock: Clock
    ids: Ids
    opened: AsyncExitStack

    def client(self) -> httpx2.AsyncClient:
        """Return a client for addresses that the operator named; whoever takes it closes it."""
        return httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    def web(self) -> GuardedClient:
        """Return a client for addresses that repositories may name, as the operator allows."""
        return GuardedClient(AllowedHosts.parse(self.settings.conductor_allowed_hosts))


def docker(around: Surroundings) -> DockerRuntime:
    """Return the Docker engine of this machine, or the one that ``DOCKER_HOST`` names."""
    settings = around.settings
    options = DockerOptions(
        image=settings.conductor_sandbox_image,
        pull=settings.conductor_sandbox_pull,
        toolchains=settings.conductor_toolchains,
    )
    runtime = DockerRuntime(Engine.local(), around.ids, around.clock, options=options)
    around.opened.push_async_callback(runtime.close)
    return runtime


def bubblewrap(around: Surroundings) -> Bubblewrap:
    """Return the sandbox that needs no engine."""
    return Bubblewrap(around.ids, toolchains=around.settings.conductor_toolchains)


def sandboxes(around: Surroundings, engine: DockerRuntime, bubblewrap: Bubblewrap) -> SandboxChoice:
    """Return what chooses the sandbox of each task among those of this machine."""
    providers: dict[str, SandboxProvider] = {
        "docker": engine,
        "bubblewrap": bubblewrap,
        "host": Host(search_path=around.settings.conductor_toolchains),
    }
    settings = around.settings
    if settings.conductor_sandbox_namespace or settings.conductor_sandbox == "kubernetes":
        providers["kubernetes"] = _cluster(around)
    return SandboxChoice(around.settings.conductor_sandbox, providers, around.clock)


def _cluster(around: Surroundings) -> KubernetesRuntime:
    """Return the cluster as a sandbox; trial jobs run there, so the operator must name it."""
    settings, usual = around.settings, KubernetesOptions()
    options = KubernetesOptions(
        namespace=settings.conductor_sandbox_namespace or usual.namespace,
        image=settings.conductor_sandbox_image,
    )
    runtime = KubernetesRuntime(KubernetesApi(), around.ids, around.clock, options=options)
    around.opened.push_async_callback(runtime.close)
    return runtime


def observatories(around: Surroundings, store: StorageBackend) -> Observatories:
    """Return what measures: Prometheus and Jaeger where the operator named them, else scrapes."""
    settings = around.settings
    prometheus, jaeger = settings.prometheus_url, settings.jaeger_url
    instruments = Instruments(
        clock=around.clock,
        web=around.web(),
        metrics=Prometheus(around.client(), str(prometheus)) if prometheus else None,
        traces=Jaeger(around.client(), str(jaeger)) if jaeger else None,
    )
    around.opened.push_async_callback(instruments.close)
    return lambda tenant: Observatory(instruments, StoredScrapes(store, tenant))


def notifier(around: Surroundings) -> Notifier:
    """Return every channel that the operator set up; the console is always one."""
    settings = around.settings
    channels: list[Notifier] = [ConsoleNotifier(sys.stderr)]
    if settings.slack_webhook_url:
        url = settings.slack_webhook_url.get_secret_value()
        channels.append(SlackNotifier(around.client(), url))
    if settings.conductor_notify_url:
        if settings.conductor_notify_secret is None:
            raise UserError("Set CONDUCTOR_NOTIFY_SECRET: it signs what CONDUCTOR_NOTIFY_URL gets.")
        web = around.web()
        around.opened.push_async_callback(web.close)
        secret = settings.conductor_notify_secret.get_secret_value()
        url = str(settings.conductor_notify_url)
        channels.append(WebhookNotifier(web, url, secret, around.clock))
    everybody = Notifiers(channels)
    around.opened.push_async_callback(everybody.close)
    return everybody
