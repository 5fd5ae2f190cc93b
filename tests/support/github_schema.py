"""GitHub's own schemas as a judge of every request, answer and delivery.

The models are generated from GitHub's published descriptions (API version 2026-03-10). Unknown keys
are forbidden on both sides, which the descriptions themselves are not: a misspelt optional key in a
request would otherwise pass, and so would a field that GitHub does not send.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from bot.simulator import Exchange

VERSION = "v2026_03_10"
R = "/repos/{owner}/{repo}"

# Names of generated models: (request, answer). Several names are alternatives.
Names = tuple[str, ...]
OPERATIONS: Mapping[tuple[str, str], tuple[Names, Names]] = {
    ("GET", "/app"): ((), ("Integration",)),
    ("GET", "/app/installations"): ((), ("list[Installation]",)),
    ("GET", "/app/installations/{installation_id}"): ((), ("Installation",)),
    ("POST", "/app/installations/{installation_id}/access_tokens"): (
        ("AppInstallationsInstallationIdAccessTokensPostBody",),
        ("InstallationToken",),
    ),
    ("GET", "/app/hook/deliveries"): ((), ("list[HookDeliveryItem]",)),
    ("GET", "/app/hook/deliveries/{delivery_id}"): ((), ("HookDelivery",)),
    ("POST", "/app/hook/deliveries/{delivery_id}/attempts"): (
        (),
        ("AppHookDeliveriesDeliveryIdAttemptsPostResponse202",),
    ),
    ("GET", f"{R}/installation"): ((), ("Installation",)),
    ("GET", "/installation/repositories"): ((), ("InstallationRepositoriesGetResponse200",)),
    ("GET", "/users/{login}"): ((), ("PublicUser",)),
    ("GET", R): ((), ("FullRepository",)),
    ("GET", f"{R}/commits/{{ref}}"): ((), ("Commit",)),
    ("GET", f"{R}/compare/{{basehead}}"): ((), ("CommitComparison",)),
    ("GET", f"{R}/contents/{{path}}"): (
        (),
        (
            "ContentFile",
            "list[ContentDirectoryItems]",
            "ContentSymlink",
            "ContentSubmodule",
        ),
    ),
    ("GET", f"{R}/collaborators/{{login}}/permission"): ((), ("RepositoryCollaboratorPermission",)),
    ("GET", f"{R}/git/ref/{{ref}}"): ((), ("GitRef",)),
    ("GET", f"{R}/git/matching-refs/{{ref}}"): ((), ("list[GitRef]",)),
    ("POST", f"{R}/git/refs"): (("ReposOwnerRepoGitRefsPostBody",), ("GitRef",)),
    ("PATCH", f"{R}/git/refs/{{ref}}"): (("ReposOwnerRepoGitRefsRefPatchBody",), ("GitRef",)),
    ("DELETE", f"{R}/git/refs/{{ref}}"): ((), ()),
    ("GET", f"{R}/git/blobs/{{sha}}"): ((), ("Blob",)),
    ("POST", f"{R}/git/blobs"): (("ReposOwnerRepoGitBlobsPostBody",), ("ShortBlob",)),
    ("GET", f"{R}/git/trees/{{sha}}"): ((), ("GitTree",)),
    ("POST", f"{R}/git/trees"): (("ReposOwnerRepoGitTreesPostBody",), ("GitTree",)),
    ("GET", f"{R}/git/commits/{{sha}}"): ((), ("GitCommit",)),
    ("POST", f"{R}/git/commits"): (("ReposOwnerRepoGitCommitsPostBody",), ("GitCommit",)),
    ("GET", f"{R}/pulls"): ((), ("list[PullRequestSimple]",)),
    ("POST", f"{R}/pulls"): (("ReposOwnerRepoPullsPostBody",), ("PullRequest",)),
    ("GET", f"{R}/pulls/{{number}}"): ((), ("PullRequest",)),
    ("PATCH", f"{R}/pulls/{{number}}"): (
        ("ReposOwnerRepoPullsPullNumberPatchBody",),
        ("PullRequest",),
    ),
    ("GET", f"{R}/pulls/{{number}}/files"): ((), ("list[DiffEntry]",)),
    ("GET", f"{R}/pulls/{{number}}/commits"): ((), ("list[Commit]",)),
    ("GET", f"{R}/pulls/{{number}}/reviews"): ((), ("list[PullRequestReview]",)),
    ("POST", f"{R}/pulls/{{number}}/reviews"): (
        ("ReposOwnerRepoPullsPullNumberReviewsPostBody",),
        ("PullRequestReview",),
    ),
    ("GET", f"{R}/pulls/{{number}}/reviews/{{review_id}}"): ((), ("PullRequestReview",)),
    ("PUT", f"{R}/pulls/{{number}}/reviews/{{review_id}}"): (
        ("ReposOwnerRepoPullsPullNumberReviewsReviewIdPutBody",),
        ("PullRequestReview",),
    ),
    ("DELETE", f"{R}/pulls/{{number}}/reviews/{{review_id}}"): ((), ("PullRequestReview",)),
    ("POST", f"{R}/pulls/{{number}}/reviews/{{review_id}}/events"): (
        ("ReposOwnerRepoPullsPullNumberReviewsReviewIdEventsPostBody",),
        ("PullRequestReview",),
    ),
    ("GET", f"{R}/pulls/{{number}}/comments"): ((), ("list[PullRequestReviewComment]",)),
    ("POST", f"{R}/pulls/{{number}}/comments"): (
        ("ReposOwnerRepoPullsPullNumberCommentsPostBody",),
        ("PullRequestReviewComment",),
    ),
    ("POST", f"{R}/pulls/{{number}}/comments/{{comment_id}}/replies"): (
        ("ReposOwnerRepoPullsPullNumberCommentsCommentIdRepliesPostBody",),
        ("PullRequestReviewComment",),
    ),
    ("GET", f"{R}/pulls/comments/{{comment_id}}"): ((), ("PullRequestReviewComment",)),
    ("PATCH", f"{R}/pulls/comments/{{comment_id}}"): (
        ("ReposOwnerRepoPullsCommentsCommentIdPatchBody",),
        ("PullRequestReviewComment",),
    ),
    ("DELETE", f"{R}/pulls/comments/{{comment_id}}"): ((), ()),
    ("POST", f"{R}/pulls/comments/{{comment_id}}/reactions"): (
        ("ReposOwnerRepoPullsCommentsCommentIdReactionsPostBody",),
        ("Reaction",),
    ),
    ("GET", f"{R}/issues"): ((), ("list[Issue]",)),
    ("POST", f"{R}/issues"): (("ReposOwnerRepoIssuesPostBody",), ("Issue",)),
    ("GET", f"{R}/issues/{{number}}"): ((), ("Issue",)),
    ("PATCH", f"{R}/issues/{{number}}"): (
        ("ReposOwnerRepoIssuesIssueNumberPatchBody",),
        ("Issue",),
    ),
    ("GET", f"{R}/issues/{{number}}/comments"): ((), ("list[IssueComment]",)),
    ("POST", f"{R}/issues/{{number}}/comments"): (
        ("ReposOwnerRepoIssuesIssueNumberCommentsPostBody",),
        ("IssueComment",),
    ),
    ("GET", f"{R}/issues/comments/{{comment_id}}"): ((), ("IssueComment",)),
    ("PATCH", f"{R}/issues/comments/{{comment_id}}"): (
        ("ReposOwnerRepoIssuesCommentsCommentIdPatchBody",),
        ("IssueComment",),
    ),
    ("DELETE", f"{R}/issues/comments/{{comment_id}}"): ((), ()),
    ("POST", f"{R}/issues/comments/{{comment_id}}/reactions"): (
        ("ReposOwnerRepoIssuesCommentsCommentIdReactionsPostBody",),
        ("Reaction",),
    ),
    ("GET", f"{R}/issues/{{number}}/labels"): ((), ("list[Label]",)),
    ("POST", f"{R}/issues/{{number}}/labels"): (
        ("ReposOwnerRepoIssuesIssueNumberLabelsPostBodyOneof0",),
        ("list[Label]",),
    ),
    ("DELETE", f"{R}/issues/{{number}}/labels/{{name}}"): ((), ("list[Label]",)),
    ("POST", f"{R}/issues/{{number}}/reactions"): (
        ("ReposOwnerRepoIssuesIssueNumberReactionsPostBody",),
        ("Reaction",),
    ),
    ("PUT", f"{R}/pulls/{{number}}/merge"): (
        ("ReposOwnerRepoPullsPullNumberMergePutBody",),
        ("PullRequestMergeResult",),
    ),
    ("GET", f"{R}/deployments"): ((), ("list[Deployment]",)),
    ("POST", f"{R}/deployments"): (("ReposOwnerRepoDeploymentsPostBody",), ("Deployment",)),
    ("GET", f"{R}/deployments/{{deployment_id}}"): ((), ("Deployment",)),
    ("GET", f"{R}/deployments/{{deployment_id}}/statuses"): ((), ("list[DeploymentStatus]",)),
    ("POST", f"{R}/deployments/{{deployment_id}}/statuses"): (
        ("ReposOwnerRepoDeploymentsDeploymentIdStatusesPostBody",),
        ("DeploymentStatus",),
    ),
    ("POST", f"{R}/check-runs"): (
        ("ReposOwnerRepoCheckRunsPostBodyOneof0", "ReposOwnerRepoCheckRunsPostBodyOneof1"),
        ("CheckRun",),
    ),
    ("GET", f"{R}/check-runs/{{check_run_id}}"): ((), ("CheckRun",)),
    ("PATCH", f"{R}/check-runs/{{check_run_id}}"): (
        (
            "ReposOwnerRepoCheckRunsCheckRunIdPatchBodyAnyof0",
            "ReposOwnerRepoCheckRunsCheckRunIdPatchBodyAnyof1",
        ),
        ("CheckRun",),
    ),
    ("GET", f"{R}/check-runs/{{check_run_id}}/annotations"): ((), ("list[CheckAnnotation]",)),
    ("GET", f"{R}/commits/{{ref}}/check-runs"): (
        (),
        ("ReposOwnerRepoCommitsRefCheckRunsGetResponse200",),
    ),
    ("GET", f"{R}/commits/{{ref}}/check-suites"): (
        (),
        ("ReposOwnerRepoCommitsRefCheckSuitesGetResponse200",),
    ),
    ("GET", f"{R}/check-suites/{{check_suite_id}}"): ((), ("CheckSuite",)),
    ("GET", f"{R}/check-suites/{{check_suite_id}}/check-runs"): (
        (),
        ("ReposOwnerRepoCheckSuitesCheckSuiteIdCheckRunsGetResponse200",),
    ),
}


@cache
def generated(kind: str) -> ModuleType:
    """The generated ``models`` or ``webhooks``, with every model refusing unknown keys.

    Importing the client package that carries them would import its HTTP cache too, which this
    project does not have; the models need none of it. So the package is entered without its
    ``__init__``, and its lazy loader is switched on by hand, as that ``__init__`` would do.
    """
    if "githubkit" not in sys.modules:
        spec = importlib.util.find_spec("githubkit")
        assert spec, "the test requirements are not installed"
        assert spec.submodule_search_locations
        shell = importlib.util.module_from_spec(spec)
        sys.modules["githubkit"] = shell
        importlib.import_module("githubkit.module_hooks.lazy_module").apply()
        base = importlib.import_module("githubkit.compat").GitHubModel
        base.model_config["extra"] = "forbid"
    return importlib.import_module(f"githubkit_schemas.{VERSION}.{kind}")


@cache
def adapter(name: str) -> TypeAdapter[Any]:
    """A validator for a generated model, or a list of one."""
    inner = name.removeprefix("list[").removesuffix("]")
    model: Any = getattr(generated("models"), inner)
    annotation: Any = list[model] if inner != name else model
    return TypeAdapter(annotation)


@cache
def event_model(event: str, action: str | None) -> TypeAdapter[Any] | None:
    """A validator for a webhook's payload."""
    module = importlib.import_module(f"{generated('webhooks').__name__}.{event}")
    actions: Any = module.action_types
    if action is None or not isinstance(actions, dict):  # an event with one action only
        return TypeAdapter(module.Event)
    model = actions.get(action)
    return TypeAdapter(model) if model else None


# GitHub sends these wherever such an object appears; of its descriptions of the same object some
# require them and others leave them out.
UNEVEN = frozenset({"archived_at", "archived_by", "assignee", "client_id"})


def check(model: TypeAdapter[Any], body: bytes) -> list[str]:
    """What is wrong with a document."""
    document = json.loads(body)
    while True:
        try:
            model.validate_json(json.dumps(document))
        except ValidationError as error:
            uneven = [one["loc"] for one in error.errors() if _is_uneven(one)]
            if not uneven:
                return _lines(error)
            for where in uneven:
                _remove(document, where)
        else:
            return []


def _is_uneven(error: ErrorDetails) -> bool:
    return error["type"] == "extra_forbidden" and error["loc"][-1] in UNEVEN


def _remove(document: Any, where: Sequence[int | str]) -> None:
    """Follow a place to its key, past the names of union members, and delete that."""
    here = document
    for step in where[:-1]:
        if isinstance(step, int) or step in here:
            here = here[step]
    del here[where[-1]]


def complaints(names: Names, body: bytes) -> list[str]:
    """What is wrong with a document; empty if one of the alternatives takes it."""
    found: list[str] = []
    for name in names:
        lines = check(adapter(name), body)
        if not lines:
            return []
        found += [f"{name}: {line}" for line in lines]
    return found


def _lines(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']} ({one['input']!r:.80})"
        for one in error.errors(include_url=False)[:12]
    ]


@dataclass
class SchemaChecker:
    """Attach as ``Simulator(observer=…)``; ``verify`` raises with everything that did not fit."""

    problems: list[str] = field(default_factory=list[str])
    seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    events: set[tuple[str, str | None]] = field(default_factory=set[tuple[str, str | None]])

    def __post_init__(self) -> None:
        # These take seconds to build, in which a town would lose connections that are kept open.
        event_model("pull_request", "opened")
        event_model("issues", "opened")

    def exchange(self, exchange: Exchange) -> None:
        """Check one request and its answer; a refused request may be malformed on purpose."""
        if exchange.injected or not exchange.template or exchange.template == "/graphql":
            return
        key = exchange.method, exchange.template
        if key not in OPERATIONS:
            self.problems.append(f"no schema is known for {key}")
            return
        request, answer = OPERATIONS[key]
        where = f"{exchange.method} {exchange.path} -> {exchange.status}"
        if exchange.status >= 400:
            self._refusal(where, exchange)
            return
        self.seen.add(key)
        if exchange.status == 304:
            return
        if exchange.request_body and exchange.request_body != b"{}":
            self._note(f"{where} request", complaints(request, exchange.request_body))
            if not request:
                self.problems.append(f"{where}: no request body is known for this")
        if exchange.media.startswith("application/json") and answer:
            self._note(f"{where} answer", complaints(answer, exchange.response_body))
        if not answer and exchange.response_body:
            self.problems.append(f"{where}: an answer without a schema has a body")

    def _refusal(self, where: str, exchange: Exchange) -> None:
        document = json.loads(exchange.response_body)
        words = {"message", "documentation_url", "status"}
        if not words <= document.keys() <= {*words, "errors"}:
            self.problems.append(f"{where}: not GitHub's error document: {sorted(document)}")

    def delivery(self, event: str, body: bytes) -> None:
        """Check one webhook payload."""
        action = json.loads(body).get("action")
        self.events.add((event, action))
        model = event_model(event, action)
        if model is None:
            self.problems.append(f"{event}.{action} is not an event of GitHub")
            return
        self._note(f"delivery {event}.{action}", check(model, body))

    def _note(self, where: str, lines: list[str]) -> None:
        self.problems += [f"{where}: {line}" for line in lines]

    def verify(self) -> None:
        """Raise AssertionError with every complaint so far."""
        assert not self.problems, "\n".join(self.problems)
