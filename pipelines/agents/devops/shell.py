"""What a shell script in a build or a workflow should not do; its text is looked at, never run."""

import re
from collections.abc import Iterator

from pipelines.agents.devops.problems import Problem, code, error, warning

_FETCHES = re.compile(r"(?<![\w./-])(?:/usr/bin/)?(?:curl|wget)(?![\w-])")
_TALKS = re.compile(
    r"(?<![\w./-])(?:/usr/bin/)?(?:curl|wget|nc|ncat|netcat|telnet|scp|sftp|ftp|rsync|ssh|socat"
    r"|iwr|invoke-webrequest|invoke-restmethod)(?![\w-])(?=\s+\S)|/dev/(?:tcp|udp)/",
    re.IGNORECASE,
)
_INSTALLS = re.compile(
    r"\b(?:apt-get|apt|apk|dnf|yum|microdnf|brew)\b[^;&|]{0,80}\b(?:install|add)\b"
)
_INTERPRETER = re.compile(
    r"\s*(?:sudo\s+(?:-\S+\s+)*|env\s+(?:\S+=\S+\s+)*)?(?:\S*/)?"
    r"(?:sh|bash|zsh|dash|ksh|ash|python[\d.]*|node|perl|ruby|php|pwsh)(?![\w-])"
)
_SUBSTITUTED = re.compile(r"(?:\$\(|<\(|`)\s*(?:\S*/)?(?:curl|wget)\b")
_HOST = re.compile(
    r"[a-z][a-z0-9+.-]{0,15}://(?:[^/@\s\"']{0,200}@)?(\[[0-9a-f:]+\]|[^/:\s\"']+)", re.I
)
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]", "0.0.0.0"})  # noqa: S104 - a name compared
_DUMPS = re.compile(r"(?:^|[;&|(]\s*)(?:printenv|export\s+-p|set|env)\s*(?:$|[|>;&])")
_PRINTS = re.compile(r"(?<![\w./-])(?:echo|printf|cat\s*<<|tee)(?![\w-])")


def commands(script: str) -> Iterator[tuple[int, str]]:
    """Yield each command line with the number of its first line in the script, from 0."""
    held, first = "", 0
    for number, line in enumerate(script.split("\n")):
        first = first if held else number
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        yield first, held + line
        held = ""
    if held:
        yield first, held


def pipes_into_shell(command: str) -> bool:
    """Whether something that is fetched is run without being looked at."""
    if _SUBSTITUTED.search(command):
        return True
    parts = command.split("|")
    fetched = next((i for i, part in enumerate(parts) if _FETCHES.search(part)), None)
    return fetched is not None and any(_INTERPRETER.match(part) for part in parts[fetched + 1 :])


def talks_outside(command: str) -> bool:
    """Whether a command names a tool that sends or fetches by hand, but to this machine itself."""
    found = _TALKS.search(_INSTALLS.sub("", command) if _INSTALLS.search(command) else command)
    if found is None or command.lstrip().startswith("#"):
        return False
    if _INSTALLS.search(command) and not re.search(r"://", command):
        return False
    hosts = [match[1].lower() for match in _HOST.finditer(command)]
    return not hosts or not all(host in _LOCAL for host in hosts)


def script_problems(script: str, line: int, secrets: frozenset[str]) -> Iterator[Problem]:
    """Yield what is wrong with a script that runs where tokens are.

    ``secrets`` are names of variables that hold secrets; ``line`` is where it begins.
    """
    for number, command in commands(script):
        at = line + number + ("\n" in script)
        if pipes_into_shell(command):
            yield error(
                f"What is downloaded is run without being looked at ({code(command.strip())}).", at
            )
        elif talks_outside(command):
            yield error(
                f"A command talks to another machine by hand ({code(command.strip())}); "
                "use a package manager or an action.",
                at,
            )
        if _DUMPS.search(command):
            yield error("The whole environment is printed, secrets included.", at)
        named = {name for name in secrets if re.search(rf"\$\{{?{re.escape(name)}\b", command)}
        if named and _PRINTS.search(command):
            yield error(f"A secret is printed ({', '.join(map(code, sorted(named)))}).", at)
        if re.search(r"\bchmod\s+(?:-R\s+)?[0-7]?777\b", command):
            yield warning("A file is made writable for everybody.", at)
