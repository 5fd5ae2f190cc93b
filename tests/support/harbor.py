"""A deployment target in memory that keeps the promises of a real one, and can die at any touch."""

from pipelines.errors import UserError
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import EnvironmentPlan, Release, ReleaseState
from tests.support.forge import Faults


class Harbor(DeploymentTarget):
    """Runs nothing; remembers every release that it began, and refuses to go back in revisions."""

    name = "mock"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.begun: list[Release] = []
        self.asked: list[Release] = []
        self.output = ""

    async def release(self, release: Release) -> ReleaseState:
        self._faults.point("before release")
        self.asked.append(release)
        newest = max((each.revision for each in self.begun), default=0)
        if release.key not in {each.key for each in self.begun}:
            if release.revision < newest:
                raise UserError("A newer release is there.")
            self.begun.append(release)
        self._faults.point("after release")
        return await self.state(release.environment, repository=release.repository)

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        here = [each for each in self.begun if each.environment.name == environment.name]
        if not here:
            return ReleaseState(phase="absent")
        return ReleaseState(
            phase="ready", sha=here[-1].sha, revision=here[-1].revision, url="http://127.0.0.1:9"
        )

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        return self.output

    async def close(self) -> None:
        return None
