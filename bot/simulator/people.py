"""What people do on GitHub: push, open, comment, review, press buttons."""

from collections.abc import Mapping, Sequence
from typing import Literal

from bot.simulator import branches, events, merging, reviewing
from bot.simulator.api import deployments, issues, pulls, reviews
from bot.simulator.git import ZERO
from bot.simulator.state import (
    Account,
    CheckRun,
    Comment,
    Delivery,
    Deployment,
    DeploymentState,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewComment,
    Thread,
)
from bot.simulator.world import World

Files = Mapping[str, str | bytes | None]
"""Whole files by path; None removes one."""


class People:
    """Acts on the world as people do: never through the API, its permissions or its limits."""

    world: World

    async def push(
        self,
        repo: Repository,
        branch: str,
        files: Files,
        author: Account,
        *,
        message: str = "Change",
        base: str | None = None,
        parent: str | None = None,
    ) -> str:
        """Commit files to a branch and push it; returns the commit.

        A new branch starts at ``base`` (a branch, by default the default one). ``parent`` replaces
        the branch's history from that commit on: a force push.
        """
        async with self.world.lock:
            ref = f"refs/heads/{branch}"
            old = (await repo.git.refs(ref)).get(ref)
            start = parent or old or await repo.git.resolve(base or repo.default_branch)
            content = {
                path: value.encode() if isinstance(value, str) else value
                for path, value in files.items()
            }
            sign = branches.signature(self.world, author)
            sha = await branches.commit_files(repo, start, content, message=message, author=sign)
            await repo.git.move_ref(ref, sha, old or ZERO)
            await branches.moved(self.world, repo, ref, old, sha, by=author)
            return sha

    async def pushed(self, repo: Repository, pusher: Account, before: Mapping[str, str]) -> None:
        """Notice what ``git push`` into the bare directory changed since ``before`` (its refs)."""
        async with self.world.lock:
            after = await repo.git.refs("refs/heads/")
            for ref in sorted(before.keys() | after.keys()):
                old, new = before.get(ref), after.get(ref)
                if old != new:
                    await branches.moved(self.world, repo, ref, old, new, by=pusher)

    async def open_pull_request(
        self,
        repo: Repository,
        head: str,
        author: Account,
        *,
        title: str = "A change",
        body: str | None = None,
        base: str | None = None,
        source: Repository | None = None,
        draft: bool = False,
    ) -> PullRequest:
        """Open a pull request from a branch, of this repository or of ``source``, a fork."""
        new = pulls.NewPull(
            head=head, base=base or repo.default_branch, title=title, body=body, draft=draft
        )
        async with self.world.lock:
            return await pulls.open_pull(self.world, repo, source or repo, new, author)

    async def close_pull_request(self, repo: Repository, pull: PullRequest, by: Account) -> None:
        """Close without merging."""
        async with self.world.lock:
            await pulls.set_state(self.world, repo, pull, "closed", by)

    async def merge(
        self,
        repo: Repository,
        pull: PullRequest,
        by: Account,
        *,
        method: merging.Method = "merge",
    ) -> str:
        """Merge a pull request; returns the commit. Raises Refused where GitHub would."""
        async with self.world.lock:
            return await merging.merge(self.world, repo, pull, by, merging.Wish(method))

    def open_issue(
        self,
        repo: Repository,
        author: Account,
        title: str,
        body: str = "",
        labels: Sequence[str] = (),
    ) -> Issue:
        """Open an issue."""
        return issues.open_issue(self.world, repo, author, title=title, body=body, labels=labels)

    def edit_issue(
        self,
        repo: Repository,
        issue: Issue,
        by: Account,
        *,
        title: str | None = None,
        body: str | None = None,
    ) -> None:
        """Change the words of an issue."""
        text = issue.body if body is None else body
        issues.edit(self.world, repo, issue, by, title=title or issue.title, body=text)

    def close_issue(self, repo: Repository, issue: Issue, by: Account) -> None:
        """Close an issue."""
        issues.set_state(self.world, repo, issue, "closed", by)

    def label_issue(self, repo: Repository, issue: Issue, label: str, by: Account) -> None:
        """Put a label on an issue."""
        issues.add_label(self.world, repo, issue, label, by)

    async def deploy(self, repo: Repository, ref: str, environment: str, by: Account) -> Deployment:
        """Ask for a deployment, as tools do that know GitHub's API."""
        new = deployments.NewDeployment(
            ref=ref, environment=environment, auto_merge=False, required_contexts=[]
        )
        return await deployments.create(self.world, repo, new, by)

    def set_deployment_status(
        self, repo: Repository, deployment: Deployment, state: DeploymentState, by: Account
    ) -> None:
        """Say how a deployment goes."""
        new = deployments.NewStatus(state=state)
        deployments.set_status(self.world, repo, deployment, new, by)

    def comment(self, repo: Repository, number: int, author: Account, body: str) -> Comment:
        """Comment on an issue or in a pull request's conversation."""
        return issues.add_comment(self.world, repo, repo.issues[number], author, body)

    async def submit_review(
        self,
        repo: Repository,
        pull: PullRequest,
        author: Account,
        *,
        body: str = "",
        event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] = "COMMENT",
        comments: Sequence[reviews.DraftComment] = (),
    ) -> Review:
        """Review the head of a pull request."""
        new = reviews.NewReview(body=body, event=event, comments=list(comments))
        async with self.world.lock:
            return await reviews.make_review(self.world, repo, pull, new, author)

    async def reply(
        self, repo: Repository, pull: PullRequest, thread: Thread, author: Account, body: str
    ) -> ReviewComment:
        """Answer in a thread of a review."""
        async with self.world.lock:
            return await reviewing.reply(self.world, repo, pull, thread, author=author, body=body)

    def resolve_thread(
        self,
        repo: Repository,
        pull: PullRequest,
        thread: Thread,
        user: Account,
        *,
        resolved: bool = True,
    ) -> None:
        """Resolve a thread, or reopen it."""
        reviewing.set_resolved(self.world, repo, pull, thread, user, resolved=resolved)

    async def press_button(
        self, repo: Repository, run: CheckRun, identifier: str, user: Account
    ) -> None:
        """Press one of a check run's buttons; raises ValueError if it has no such button."""
        if all(action["identifier"] != identifier for action in run.actions):
            raise ValueError(f"the check run has no button {identifier!r}")
        action = {"identifier": identifier}
        await events.check_run(
            self.world, repo, run, "requested_action", user, requested_action=action
        )

    async def rerequest(self, repo: Repository, run: CheckRun, user: Account) -> None:
        """Ask for a completed check to be run again; raises ValueError if it is not completed."""
        if run.status != "completed":
            raise ValueError("only a completed check run can be run again")
        await events.check_run(self.world, repo, run, "rerequested", user)

    def redeliver(self, delivery: Delivery) -> None:
        """Send a delivery again, as from the App's settings page."""
        self.world.redeliver(delivery)
