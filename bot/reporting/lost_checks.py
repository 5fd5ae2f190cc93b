"""Check runs of runs that nobody knows any more: found by our App's number, and ended."""

from pydantic import Field

from bot.github.gateway import GitHub
from bot.github.tokens import WRITE
from bot.github.wire import Wire, parse
from pipelines.model import Conclusion, Repository

_PAGES = 5


class _App(Wire):
    id: int


class _CheckRun(Wire):
    id: int
    external_id: str | None = None
    status: str = ""
    app: _App | None = None


class _CheckRuns(Wire):
    check_runs: tuple[_CheckRun, ...] = Field(default=())


class LostChecks:
    """Looks at our check runs on a commit and ends those that no run will end."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    async def unfinished(self, repository: Repository, head_sha: str) -> dict[int, str]:
        """Return the run's id for each of our check runs on the commit that is not completed."""
        app_id = (await self._github.identity()).app_id
        url = (
            f"/repos/{repository.full_name}/commits/{head_sha}/check-runs"
            f"?app_id={app_id}&filter=all&per_page=100"
        )
        client, found = self._github.client(repository, WRITE), dict[int, str]()
        async for page, _ in client.pages(url, most=_PAGES):
            for check in parse(_CheckRuns, page, "the check runs of a commit").check_runs:
                ours = check.app is not None and check.app.id == app_id
                if ours and check.status != "completed":
                    found[check.id] = (check.external_id or "").partition("/")[0]
        return found

    async def conclude(self, repository: Repository, check_run_id: int) -> None:
        """End a check run whose run was lost; it is not green, so that nothing merges on it."""
        output = {
            "title": "The run of this check was lost",
            "summary": "Conductor lost what it had stored of this run. Where the check is still "
            "wanted it has begun anew under the same name; otherwise *Re-run* starts it.",
        }
        await self._github.client(repository, WRITE).patch(
            f"/repos/{repository.full_name}/check-runs/{check_run_id}",
            data={
                "status": "completed",
                "conclusion": Conclusion.CANCELLED.value,
                "output": output,
                "actions": [],
            },
        )
