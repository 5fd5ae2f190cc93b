"""Whose a record is: an installation's number and a repository's, which begin its key."""

import re
from functools import lru_cache

from pydantic import AwareDatetime, Field

from pipelines.model import Frozen, Task

_TENANT = re.compile(r"(0|[1-9]\d{0,19})/(0|[1-9]\d{0,19})", re.ASCII)


@lru_cache(maxsize=1024)
def tenant_segments(tenant: str) -> tuple[str, str]:
    """Return installation and repository; ValueError if it is not ``NUMBER/NUMBER``."""
    match = _TENANT.fullmatch(tenant)
    if match is None:
        raise ValueError(f"a tenant is INSTALLATION/REPOSITORY in numbers, not {tenant[:60]!r}")
    return match[1], match[2]


class Origin(Frozen):
    """Which attempt of which step of which run left a record, and on which commit it worked."""

    tenant: str
    run_id: str
    step: str
    agent: str
    attempt: int = Field(ge=1)
    head_sha: str
    at: AwareDatetime

    @classmethod
    def of(cls, task: Task, at: AwareDatetime) -> "Origin":
        """Return the origin of what a task leaves at this moment."""
        return cls(
            tenant=task.change.repository.tenant,
            run_id=task.run_id,
            step=task.step,
            agent=task.agent,
            attempt=task.attempt,
            head_sha=task.change.head_sha,
            at=at,
        )

    @property
    def segments(self) -> tuple[str, str, str]:
        """Run, step and attempt as they follow the tenant in a key; run ids grow with time."""
        return self.run_id, self.step, f"{self.attempt:06d}"
