"""Rules for Dockerfiles and for what is kept out of their context; hadolint's come on top."""

import re
from collections.abc import Iterator, Mapping

from pipelines.agents.devops.problems import Problem, code, error, note, warning
from pipelines.agents.devops.shell import commands, pipes_into_shell, talks_outside
from pipelines.agents.devops.workflows import unpinned
from pipelines.integrations.containers.dockerfile import (
    Dockerfile,
    Instruction,
    NoDockerfile,
    Stage,
    read,
)

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:SECRETS?|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)(?:_|$)",
    re.IGNORECASE,
)
_NEVER_COPIED = re.compile(
    r"(?:^|/)(?:\.env(?:\.[\w-]+)?|\.ssh|\.aws|\.netrc|\.npmrc|\.pypirc|id_[a-z0-9]+)/?$"
)
_ROOTS = frozenset({"", "root", "0", "root:root", "0:0", "root:0", "0:root"})
_UNPRIVILEGED_BASES = ("nonroot", "-rootless", "unprivileged")
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
_SHELL_SERVERS = ("CMD", "ENTRYPOINT")


def dockerfile_problems(text: str) -> Iterator[Problem]:
    """Yield what is wrong with a Dockerfile."""
    try:
        file = read(text)
    except NoDockerfile as problem:
        yield error(str(problem), problem.line)
        return
    syntax = file.directives.get("syntax", "docker/dockerfile")
    if not _FRONTEND.fullmatch(syntax):
        yield error(f"Another program would read it ({code(syntax)}), and may do anything.", 1)
    yield from _bases(file)
    for stage in file.stages:
        for each in stage.instructions:
            yield from _instruction(each)
    yield from _variables(file)
    yield from _end(file, file.stages[-1])


def ignore_problems(text: str) -> Iterator[Problem]:
    """Yield what a .dockerignore does not keep out of the image."""
    kept_out = {line.strip().strip("/").removeprefix("**/") for line in text.split("\n")}
    for name, why in ((".git", "the whole history"), (".env", "local secrets")):
        if not kept_out & {name, f"{name}*", f"{name}.*", "*", "."}:
            yield warning(f"{code(name)} is not kept out, so an image may hold {why}.")


def _bases(file: Dockerfile) -> Iterator[Problem]:
    earlier: set[str] = set()
    for stage in file.stages:
        if stage.base.lower() not in earlier and stage.base != "scratch":
            yield from _base(stage)
        earlier |= {stage.name} - {""}


def _base(stage: Stage) -> Iterator[Problem]:
    name = code(stage.base)
    if "$" in stage.base:
        yield error(
            f"What {name} stands for is left open; give the argument a default.", stage.line
        )
    elif why := unpinned(stage.base):
        yield error(f"The base image {name} {why}.", stage.line)
    elif "@sha256:" not in stage.base:
        yield note(f"{name} is pinned to a tag, not to a digest.", stage.line)
    if "/" in stage.base.removeprefix("docker.io/library/").partition("@")[0]:
        yield note(f"{name} is not one of Docker's official images.", stage.line)


def _instruction(each: Instruction) -> Iterator[Problem]:
    match each.name:
        case "RUN":
            yield from _run(each)
        case "ADD":
            if any("://" in word or word.startswith("git@") for word in each.words):
                yield error("ADD takes something from the network without a checksum.", each.line)
            else:
                yield warning("COPY does the same as ADD here and nothing more.", each.line)
        case "COPY":
            for word in each.words[:-1]:
                if _NEVER_COPIED.search(word.strip("\"'")):
                    yield error(f"{code(word)} goes into the image.", each.line)
        case "CMD" | "ENTRYPOINT":
            if each.exec_form is None:
                text = f"{each.name} in shell form: signals do not reach the program; use a list."
                yield error(text, each.line)
        case "MAINTAINER":
            yield warning("MAINTAINER is out of use; LABEL does it.", each.line)
        case "ONBUILD":
            yield warning("ONBUILD acts in other builds, where nobody expects it.", each.line)
        case _:
            return


def _run(each: Instruction) -> Iterator[Problem]:
    flags = each.flags
    if flags.get("security", "sandbox") != "sandbox" or flags.get("network") == "host":
        yield error("RUN asks for more than a build's own sandbox.", each.line)
    body = each.arguments
    checked = re.search(r"\bsha(?:256|512)sum\b.{0,40}(?:-c|--check)|\bgpg\b.{0,40}--verify", body)
    for _, command in commands(body):
        if pipes_into_shell(command):
            said = code(command.strip())
            yield error(f"What is downloaded is run without being looked at ({said}).", each.line)
        elif talks_outside(command) and not checked:
            yield warning("Something is downloaded and its checksum is not compared.", each.line)
    if re.search(r"\bapt-get\b[^;&|\n]*\binstall\b", body):
        cached = "type=cache" in each.rest and "/var/lib/apt" in each.rest
        if not cached and "rm -rf /var/lib/apt/lists" not in body:
            yield warning(
                "The lists of apt stay in the image; remove them in the same RUN.", each.line
            )
    if re.search(r"(?:^|[;&|]\s*)sudo\b", body):
        yield warning("A build has no use for sudo.", each.line)
    if re.search(r"\bchmod\s+(?:-R\s+)?[0-7]?777\b", body):
        yield warning("A file is made writable for everybody.", each.line)


def _variables(file: Dockerfile) -> Iterator[Problem]:
    for each in file.instructions:
        if each.name not in ("ENV", "ARG"):
            continue
        for name in each.assignments:
            if _SECRET_NAME.search(name):
                yield error(
                    f"{each.name} {code(name)} stays readable in the image; use "
                    "`RUN --mount=type=secret`, or hand it over when it runs.",
                    each.line,
                )


def _end(file: Dockerfile, last: Stage) -> Iterator[Problem]:
    """Judge what the image will be: who runs what."""
    user = next((each for each in reversed(last.instructions) if each.name == "USER"), None)
    inherited = _inherited(file, last)
    words = user.words if user else ()
    runs_as = words[0].lower() if words else ""
    if user is None and not inherited:
        yield error(
            "The image runs as root; end it with USER and an account of its own.", last.line
        )
    elif user is not None and runs_as in _ROOTS:
        yield error("The image runs as root at the end.", user.line)
    if not any(each.name in _SHELL_SERVERS for stage in (last,) for each in stage.instructions):
        yield warning("It says neither CMD nor ENTRYPOINT, so what runs is the base image's.")
    if not any(each.name == "HEALTHCHECK" for each in last.instructions):
        yield note("It has no HEALTHCHECK; Kubernetes and compose can bring their own.")


def _inherited(file: Dockerfile, last: Stage) -> bool:
    """Whether a base that is known to, or an own stage below, leaves root behind."""
    if any(mark in last.base for mark in _UNPRIVILEGED_BASES):
        return True
    named: Mapping[str, Stage] = {stage.name: stage for stage in file.stages if stage.name}
    below = named.get(last.base.lower())
    if below is None or below is last:
        return False
    users = [
        each.words[0].lower() for each in below.instructions if each.name == "USER" and each.words
    ]
    return bool(users) and users[-1] not in _ROOTS
