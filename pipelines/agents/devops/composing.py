"""Rules for compose files and for GitLab CI."""

from collections.abc import Iterator

from pipelines.agents.devops.documents import Node, child, items, scalars, text_of, values
from pipelines.agents.devops.problems import SECRET_KEY, Problem, code, error, note, warning
from pipelines.agents.devops.shell import script_problems
from pipelines.agents.devops.workflows import image_problems

_HOST_MODES = ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup")
_KEYWORDS = frozenset(
    {
        "default", "include", "stages", "variables", "workflow", "image", "services", "cache",
        "before_script", "after_script", "pages", "spec",
    }
)  # fmt: skip
_SCRIPTS = ("before_script", "script", "after_script")
_TOKENS = frozenset(
    {
        "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD", "CI_DEPLOY_PASSWORD", "CI_JOB_JWT",
        "CI_BUILD_TOKEN", "CI_DEPENDENCY_PROXY_PASSWORD", "CI_REPOSITORY_URL",
    }
)  # fmt: skip


def compose_problems(document: Node) -> Iterator[Problem]:
    """Yield what is wrong with a compose file, beside what its schema says."""
    services = values(child(document, "services"))
    if not services:
        yield error("The file has no services.")
    if (include := child(document, "include")) is not None:
        yield error("It includes other files, which were not looked at.", include.mark.line)
    for name, service in services.items():
        yield from _service(code(name), service)


def _service(name: str, service: Node) -> Iterator[Problem]:
    line = service.mark.line
    if child(service, "image") is None and child(service, "build") is None:
        yield error(f"The service {name} has neither image nor build.", line)
    if child(service, "build") is None:
        yield from image_problems(child(service, "image"))
    if text_of(child(service, "privileged")) == "true":
        yield error(f"The service {name} is privileged: root on the machine.", line)
    for mode in _HOST_MODES:
        if text_of(child(service, mode)) == "host":
            yield error(f"The service {name} shares the machine's own {code(mode)}.", line)
    for each in ("cap_add", "devices", "extends"):
        if child(service, each) is not None:
            yield error(
                f"The service {name} uses {code(each)}, which Conductor does not write.", line
            )
    for option in items(child(service, "security_opt")):
        if "unconfined" in text_of(option):
            yield error(f"The service {name} switches a protection off.", option.mark.line)
    for volume in items(child(service, "volumes")):
        yield from _volume(name, volume)
    yield from _environment(name, child(service, "environment"))
    if child(service, "healthcheck") is None:
        yield note(f"The service {name} has no health check.", line)


def _volume(name: str, volume: Node) -> Iterator[Problem]:
    source = text_of(child(volume, "source")) or text_of(volume).partition(":")[0]
    if text_of(child(volume, "type")) in ("volume", "tmpfs"):
        return
    if source.startswith(("/", "~", "..")) or "/../" in source or "$" in source:
        text = f"The service {name} is given {code(source)} of the machine."
        yield error(text, volume.mark.line)


def _environment(name: str, environment: Node | None) -> Iterator[Problem]:
    pairs = [(key, text_of(value), value) for key, value in values(environment).items()]
    for each in items(environment):
        key, _, value = text_of(each).partition("=")
        pairs.append((key, value, each))
    for key, value, node in pairs:
        if value and "${" not in value and SECRET_KEY.search(key) and not key.endswith("_FILE"):
            text = f"{code(key)} of {name} stands in the file; take it from the environment."
            yield warning(text, node.mark.line)


def gitlab_problems(document: Node) -> Iterator[Problem]:
    """Yield what is wrong with a GitLab pipeline, beside what its schema says."""
    top = values(document)
    if (include := child(document, "include")) is not None:
        for each in (*items(include), include):
            kinds = [*values(each)]
            remote = "://" in text_of(each) or any(
                k in ("remote", "project", "component") for k in kinds
            )
            if remote:
                yield error("It includes something from elsewhere.", include.mark.line)
    jobs = {n: j for n, j in top.items() if n not in _KEYWORDS and isinstance(j.value, dict)}
    if not any(not name.startswith(".") for name in jobs):
        yield error("The pipeline has no jobs.")
    bounded = child(document, "default", "timeout") is not None
    for each in (document, child(document, "default"), *jobs.values()):
        yield from _images(each)
        yield from _scripts(each)
    for name, job in jobs.items():
        runs = any(key in values(job) for key in ("script", "extends", "trigger", "run"))
        if not name.startswith(".") and not runs:
            yield error(f"The job {code(name)} has no script.", job.mark.line)
        if not bounded and child(job, "timeout") is None:
            yield warning(f"The job {code(name)} has no timeout.", job.mark.line)
        if child(job, "tags") is not None:
            yield note(f"The job {code(name)} wants runners with certain tags.", job.mark.line)


def gitlab_scripts(document: Node) -> Iterator[str]:
    """Yield every script of a pipeline."""
    for each in (document, *values(document).values()):
        for key in _SCRIPTS:
            yield from (text_of(node) for node in scalars(child(each, key)))


def _images(job: Node | None) -> Iterator[Problem]:
    image = child(job, "image")
    yield from image_problems(child(image, "name") or image)
    for service in items(child(job, "services")):
        named = child(service, "name") or service
        yield from image_problems(named)
        if "dind" in text_of(named):
            yield note(
                "A service that runs containers needs a privileged runner.", service.mark.line
            )


def _scripts(job: Node | None) -> Iterator[Problem]:
    holding = {name for name in values(child(job, "variables")) if SECRET_KEY.search(name)}
    for key in _SCRIPTS:
        for line in scalars(child(job, key)):
            yield from script_problems(text_of(line), line.mark.line, _TOKENS | holding)
