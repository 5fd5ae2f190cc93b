"""Rules for GitHub workflows: least power, pinned actions, and no stranger's text in a script.

Sources: GitHub's "Security hardening for GitHub Actions", and the pwn requests and poisoned actions
of recent years.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipelines.agents.devops.documents import Node, child, items, scalars, text_of, values
from pipelines.agents.devops.problems import Problem, code, error, note, warning
from pipelines.agents.devops.shell import script_problems

_EXPRESSION = re.compile(r"\$\{\{(.{0,2000}?)\}\}", re.DOTALL)
_SECRET = re.compile(r"\bsecrets\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*'([^']+)'\s*\])")
_ANY_SECRET = re.compile(r"\b(?:secrets|github\s*\.\s*token|github\s*\[\s*'token'\s*\])")
_WHOLE = re.compile(r"\btojson\s*\(\s*(?:github|secrets|env|vars|job|runner)\b", re.IGNORECASE)
_EVENT = re.compile(r"\bgithub\s*\.\s*event(?![\w])((?:\s*\.\s*[\w*-]+|\s*\[[^\]]*\])*)")
_HARMLESS_ENDINGS = ("number", "id", "sha", "node_id", "before", "after", "private", "draft")
_BRANCH_NAMES = re.compile(r"\bgithub\s*\.\s*(?:head_ref|base_ref|ref_name|ref)\b")
_INPUTS = re.compile(r"\b(?:inputs|github\s*\.\s*event\s*\.\s*inputs)\s*[.\[]")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VERSION = re.compile(r"v?\d+(?:\.\d+){0,3}(?:[-+][\w.]+)?|release/v\d+")
_HOSTED = re.compile(
    r"(?:ubuntu|windows|macos)-(?:latest|slim|\d{2,4}(?:\.\d{2})?)(?:-[a-z]+)*"
    r"|\$\{\{\s*matrix\.[\w.-]+\s*\}\}"
)
_CHECKS_OUT = re.compile(
    r"\b(?:gh\s+pr\s+checkout|git\s+(?:fetch|checkout|pull|clone|switch|merge))\b"
)
_HEAD = re.compile(r"head|pull_request|refs/pull|merge")
_OFFICIAL = frozenset({"actions", "github", "docker"})
_PRIVILEGED = ("pull_request_target", "workflow_run")
_OTHERS_TEXT = ("issue_comment", "issues", "discussion", "discussion_comment")


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the repository's own workflows name already, so that it is no news."""

    secrets: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    """``owner/repository``, in lower case."""
    pins: frozenset[str] = frozenset()
    """``owner/repository@commit``."""
    runners: frozenset[str] = frozenset()

    @classmethod
    def by(cls, workflows: Iterable[Node]) -> "Vouched":
        """Collect it from the workflows of the commit."""
        secrets, actions, pins, runners = set[str](), set[str](), set[str](), set[str]()
        for document in workflows:
            secrets |= {name for node in scalars(document) for name in _secrets(text_of(node))}
            for uses in _uses(document):
                name, _, ref = text_of(uses).partition("@")
                actions.add(_repository(name))
                pins.add(f"{_repository(name)}@{ref}")
            for job in values(child(document, "jobs")).values():
                runners |= {text_of(node) for node in scalars(child(job, "runs-on"))}
        return cls(*(frozenset(each) for each in (secrets, actions, pins, runners)))


@dataclass(frozen=True, slots=True)
class _Scope:
    """A workflow and what the rules compare it with."""

    document: Node
    vouched: Vouched
    events: Mapping[str, Node | None] = field(default_factory=dict[str, "Node | None"])

    @property
    def jobs(self) -> Mapping[str, Node]:
        return values(child(self.document, "jobs"))


def workflow_problems(document: Node, vouched: Vouched) -> Iterator[Problem]:
    """Yield what is wrong with a workflow, beside what its schema says."""
    scope = _Scope(document, vouched, _events(child(document, "on")))
    if not scope.events:
        yield error("The workflow says nothing about when it runs (`on`).")
    if not scope.jobs:
        yield error("The workflow has no jobs.")
    yield from _permissions(scope)
    yield from _privileged(scope)
    if child(document, "concurrency") is None:
        yield warning("The workflow has no `concurrency`, so superseded runs go on.")
    yield from _defaults(document)
    for name, job in scope.jobs.items():
        yield from _job(name, job, scope)


def runs(document: Node) -> Iterator[str]:
    """Yield every script of a workflow."""
    for job in values(child(document, "jobs")).values():
        for step in items(child(job, "steps")):
            if script := text_of(child(step, "run")):
                yield script


def _events(on: Node | None) -> dict[str, Node | None]:
    if on is None:
        return {}
    if isinstance(on.value, dict):
        return dict(on.value)
    names = [text_of(each) for each in items(on)] or [text_of(on)]
    return {name: None for name in names if name}


def _permissions(scope: _Scope) -> Iterator[Problem]:
    top = child(scope.document, "permissions")
    missing = [name for name, job in scope.jobs.items() if child(job, "permissions") is None]
    if top is None and missing:
        yield error(
            "The workflow has no `permissions`, so its token may have all of them; "
            "`permissions: {contents: read}` is enough for most."
        )
    yield from _grants(top, "the whole workflow", "error")
    for name, job in scope.jobs.items():
        yield from _grants(child(job, "permissions"), f"the job {code(name)}", "note")


def _grants(granted: Node | None, whose: str, level: str) -> Iterator[Problem]:
    if granted is None:
        return
    if text_of(granted) == "write-all":
        yield error(f"`write-all` gives {whose} every permission.", granted.mark.line)
    writes = [name for name, each in values(granted).items() if text_of(each) == "write"]
    if writes:
        said = f"{whose[0].upper()}{whose[1:]} may write {', '.join(map(code, writes))}"
        line = granted.mark.line
        yield (
            error(f"{said}; give it to the one job that needs it.", line)
            if level == "error"
            else note(f"{said}.", line)
        )


def _privileged(scope: _Scope) -> Iterator[Problem]:
    """Strangers' code must not run where secrets and a writing token are (a pwn request)."""
    powerful = [name for name in _PRIVILEGED if name in scope.events]
    for name in powerful:
        for job in scope.jobs.values():
            for step in items(child(job, "steps")):
                if _takes_head(step):
                    yield error(
                        f"{code(name)} runs with secrets and must not check out the head of a "
                        "pull request.",
                        step.mark.line,
                    )
    for name in powerful:
        yield warning(f"{code(name)} runs with secrets on strangers' events; use `pull_request`.")
    for name in (name for name in _OTHERS_TEXT if name in scope.events):
        yield note(f"Whoever can comment starts it ({code(name)}).")


def _takes_head(step: Node) -> bool:
    checkout = text_of(child(step, "uses")).lower().startswith("actions/checkout@")
    given = [text_of(child(step, "with", key)) for key in ("ref", "repository")]
    own = checkout and any(_HEAD.search(each) for each in given)
    return own or _CHECKS_OUT.search(text_of(child(step, "run"))) is not None


def _defaults(document: Node) -> Iterator[Problem]:
    for name, value in values(child(document, "env")).items():
        if _ANY_SECRET.search(text_of(value)):
            text = (
                f"Every step is given the secret in {code(name)}; give it to the one that needs it."
            )
            yield error(text, value.mark.line)
        if name.upper() == "ACTIONS_ALLOW_UNSECURE_COMMANDS":
            yield error("Insecure workflow commands are switched on.", value.mark.line)


def _job(name: str, job: Node, scope: _Scope) -> Iterator[Problem]:
    line = job.mark.line
    called = child(job, "uses")
    if called is None and child(job, "timeout-minutes") is None:
        yield warning(
            f"The job {code(name)} has no `timeout-minutes`; six hours is the default.", line
        )
    for runner in scalars(child(job, "runs-on")):
        known = _HOSTED.fullmatch(text_of(runner)) or text_of(runner) in scope.vouched.runners
        if not known:
            text = (
                f"The job {code(name)} runs on {code(text_of(runner))}, which is not GitHub's own."
            )
            yield error(text, runner.mark.line)
    if text_of(child(job, "secrets")) == "inherit":
        yield error(f"The job {code(name)} hands on every secret.", line)
    for uses in _uses(job):
        yield from _pin(uses, scope.vouched)
    for node in scalars(job):
        for secret in _secrets(text_of(node)):
            if secret not in scope.vouched.secrets | {"GITHUB_TOKEN"}:
                text = f"It uses the secret {code(secret)}, which no workflow here uses yet."
                yield error(text, node.mark.line)
    for image in (child(job, "container"), child(job, "container", "image")):
        yield from image_problems(image)
    for service in values(child(job, "services")).values():
        yield from image_problems(child(service, "image"))
    yield from _steps(job)


def _steps(job: Node) -> Iterator[Problem]:
    held = {*_holding(child(job, "env"))}
    for step in items(child(job, "steps")):
        scripts = [child(step, "run"), child(step, "with", "script")]
        secrets = frozenset(held | {*_holding(child(step, "env"))})
        for node in scripts:
            if node is None:
                continue
            yield from _injections(node)
            yield from script_problems(text_of(node), node.mark.line, secrets)


def _holding(env: Node | None) -> Iterator[str]:
    return (name for name, value in values(env).items() if _ANY_SECRET.search(text_of(value)))


def _injections(script: Node) -> Iterator[Problem]:
    """What GitHub puts into a script before the shell reads it must not be a stranger's text."""
    for match in _EXPRESSION.finditer(text_of(script)):
        inside, line = match[1], script.mark.line + text_of(script)[: match.start()].count("\n")
        if _ANY_SECRET.search(inside):
            yield error("A secret stands in the script itself; hand it over by `env`.", line)
        elif _WHOLE.search(inside) or _INPUTS.search(inside) or _strangers(inside):
            yield error(
                f"{code(inside.strip())} puts text that others write into the script; "
                'hand it over by `env` and use it as `"$NAME"`.',
                line,
            )


def _strangers(expression: str) -> bool:
    if _BRANCH_NAMES.search(expression):
        return True
    paths = (re.sub(r"\s", "", match[1]) for match in _EVENT.finditer(expression))
    return any(not path.endswith(tuple(f".{e}" for e in _HARMLESS_ENDINGS)) for path in paths)


def _uses(node: Node | None) -> Iterator[Node]:
    """Yield every action or workflow that is called."""
    for key, value in values(node).items():
        if key == "uses" and text_of(value):
            yield value
        yield from _uses(value)
    for each in items(node):
        yield from _uses(each)


def _pin(uses: Node, vouched: Vouched) -> Iterator[Problem]:
    said, line = text_of(uses), uses.mark.line
    if said.startswith("./"):
        return
    if said.startswith("docker://"):
        yield from _tag(said.removeprefix("docker://"), line)
        return
    name, _, ref = said.partition("@")
    repository = _repository(name)
    if repository.split("/")[0] not in _OFFICIAL and repository not in vouched.actions:
        yield error(f"{code(name)} is a third party's, and no workflow here uses it yet.", line)
    if _SHA.fullmatch(ref):
        if f"{repository}@{ref}" not in vouched.pins:
            text = f"{code(said)} is pinned to a commit that nobody looked up: compare it."
            yield note(text, line)
    elif _VERSION.fullmatch(ref):
        yield note(f"{code(said)} is pinned to a version, which its owner can move.", line)
    else:
        yield error(f"{code(said)} is not pinned to a version or a commit.", line)


def image_problems(image: Node | None) -> Iterator[Problem]:
    """Yield what is wrong with how a container image is named."""
    name = text_of(image)
    if image is not None and name and "${{" not in name and "$" not in name:
        yield from _tag(name, image.mark.line)


def _tag(name: str, line: int) -> Iterator[Problem]:
    if problem := unpinned(name):
        yield error(f"The image {code(name)} {problem}.", line)


def unpinned(image: str) -> str:
    """Return why an image's name leaves open what is run, as half a sentence; empty if not."""
    if "@sha256:" in image:
        return ""
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    if not tag:
        return "has no tag"
    return "has the tag `latest`, which moves" if tag == "latest" else ""


def _repository(name: str) -> str:
    return "/".join(name.lower().split("/")[:2])


def _secrets(text: str) -> Iterator[str]:
    for expression in _EXPRESSION.finditer(text):
        yield from (match[1] or match[2] for match in _SECRET.finditer(expression[1]))
        if re.search(r"\bsecrets\b(?!\s*(?:\.|\[\s*'))", expression[1]):
            yield "*"
