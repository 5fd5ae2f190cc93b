"""The exit: every request that writes leaves here, and every string in it passes the redactor."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.github.answer import as_list, as_object
from bot.github.app import Identity
from bot.github.client import GitHubClient
from bot.github.documents import document
from bot.github.gateway import GitHub
from bot.github.tokens import WRITE, Permissions
from bot.reporting.render import MAX_BODY_BYTES, truncated
from pipelines.model import Change, Provenance, WorkflowRun

Redact = Callable[[str], str]


class Outlet:
    """One repository's way out for one run, with the permissions of one purpose."""

    def __init__(
        self,
        github: GitHub,
        run: WorkflowRun,
        redact: Redact,
        *,
        base_url: str,
        permissions: Permissions = WRITE,
    ) -> None:
        self._github = github
        self._run = run
        self._redact = redact
        self._base_url = base_url.rstrip("/")
        self._permissions = permissions
        repository = run.change.repository
        self.client: GitHubClient = github.client(
            repository, permissions, delivery_id=run.trigger.delivery_id
        )
        self.root = f"/repos/{repository.full_name}"

    def with_permissions(self, permissions: Permissions) -> "Outlet":
        """Return the same way out with other permissions."""
        return Outlet(
            self._github,
            self._run,
            self._redact,
            base_url=self._base_url,
            permissions=permissions,
        )

    async def missing(self) -> tuple[str, ...]:
        """Return the permissions that the installation did not grant."""
        return await self._github.missing(self._run.change.repository, self._permissions)

    async def bot_id(self) -> int:
        """Return the numeric account that our own texts come from."""
        return (await self._github.identity()).bot_id

    async def app_id(self) -> int:
        """Return the App's number, which its check runs carry."""
        return (await self._github.identity()).app_id

    @property
    def change(self) -> Change:
        """What the run works on."""
        return self._run.change

    @property
    def run_id(self) -> str:
        """The run on whose behalf something is written."""
        return self._run.id

    @property
    def provenance(self) -> Provenance:
        """What to sign into whatever may start work: this run is one more link of the chain."""
        cause = self._run.trigger.provenance
        return Provenance(root_run=cause.root_run or self._run.id, depth=cause.depth + 1)

    async def identity(self) -> Identity:
        """Return who the App is."""
        return await self._github.identity()

    def run_url(self) -> str | None:
        """Return the address of the run's page, or None where no public address is set."""
        return f"{self._base_url}/runs/{self._run.id}" if self._base_url else None

    def redacted(self, text: str) -> str:
        """Return text without secrets, for use before it is rendered and their shape is lost."""
        return self._redact(text)

    async def get(self, path: str) -> Any:
        """GET below the repository."""
        return await self.client.getitem(self.root + path)

    async def post(self, path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """POST below the repository."""
        return as_object(await self.client.post(self.root + path, data=self._safe(dict(data))))

    async def patch(self, path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH below the repository."""
        return as_object(await self.client.patch(self.root + path, data=self._safe(dict(data))))

    async def query(self, name: str, /, **variables: Any) -> dict[str, Any]:
        """Send the document of that name."""
        return await self.client.query(document(name), variables)

    async def about(self, name: str, number: int) -> dict[str, Any]:
        """Return what a document says about one number of this repository."""
        repository = self._run.change.repository
        data = await self.query(name, owner=repository.owner, name=repository.name, number=number)
        return as_object(data.get("repository"))

    def _safe(self, value: Any) -> Any:
        if isinstance(value, str):
            return truncated(self._redact(value), MAX_BODY_BYTES)
        if isinstance(value, dict):
            return {key: self._safe(item) for key, item in as_object(value).items()}
        if isinstance(value, list):
            return [self._safe(item) for item in as_list(value)]
        return value
