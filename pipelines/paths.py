"""What a commit of Conductor may contain: one policy for whoever proposes it and whoever checks it.

All of it looks at strings only. Whether a path leads through a symbolic link or a submodule of the
tree is a question for whoever has the tree.
"""

import re
import unicodedata
from collections.abc import Sequence

from pipelines import globs

MAX_PATH_BYTES = 4096
MAX_SEGMENT_BYTES = 255
MAX_DEPTH = 20
MAX_FILE_BYTES = 1024 * 1024

BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Characters that make text look as if it stood in another order (CVE-2021-42574)."""

GRANTING = (
    ".conductor.yml", ".conductor.yaml", "**/CODEOWNERS", "**/.gitattributes", "**/.gitmodules",
    "**/.gitconfig", "**/.mailmap", "**/.lfsconfig", "**/.husky/**", "**/.githooks/**",
    "**/.pre-commit-config.yaml", "**/.npmrc", "**/.yarnrc", "**/.yarnrc.yml", "**/.pypirc",
    "**/pip.conf", "**/.netrc", "**/.env", "**/.ssh/**",
)  # fmt: skip
"""Files that decide who may do what, what git runs, or where packages come from."""

SHIPPING = (
    ".github/**", "**/.gitlab-ci.yml", "**/.gitlab/**", "**/.circleci/**", "**/.buildkite/**",
    "**/.travis.yml", "**/.drone.yml", "**/.woodpecker.yml", "**/.woodpecker/**",
    "**/appveyor.yml", "**/.appveyor.yml", "**/azure-pipelines.yml", "**/bitbucket-pipelines.yml",
    "**/cloudbuild.yaml", "**/Jenkinsfile", "**/Procfile", "**/Dockerfile", "**/Dockerfile.*",
    "**/*.Dockerfile", "**/Containerfile", "**/docker-compose*.yml", "**/docker-compose*.yaml",
    "**/compose.yml", "**/compose.yaml", "**/package-lock.json", "**/npm-shrinkwrap.json",
    "**/yarn.lock", "**/pnpm-lock.yaml", "**/bun.lock", "**/bun.lockb", "**/poetry.lock",
    "**/uv.lock", "**/pdm.lock", "**/Pipfile.lock", "**/Cargo.lock", "**/go.sum",
    "**/Gemfile.lock", "**/composer.lock", "**/gradle.lockfile", "**/flake.lock",
)  # fmt: skip
"""Files that decide what is built and run where secrets are: the devops agent's business alone."""

_GIT_FOLDER = re.compile(r"\.git|git[a-z]*~[0-9]+|gi[0-9a-f]{4}~[0-9]+")
"""Git's own folder, also under the short names that NTFS gives it (CVE-2014-9390)."""
_WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_TAGS = re.compile("[\U000e0000-\U000e007f]")


def refused_path(path: str, protected: Sequence[str] = (), *, ships: bool = False) -> str | None:
    """Return why Conductor does not write a path, as half a sentence, or None if it may.

    ``protected`` are globs of the configuration; ``ships`` is for the devops agent, to which
    ``SHIPPING`` is open. Raises GlobError for a pattern that cannot be used.
    """
    return refused_shape(path) or _protected(path, protected, ships=ships)


def refused_content(content: str) -> str | None:
    """Return why Conductor does not write a text, as half a sentence, or None if it may."""
    try:
        size = len(content.encode("utf-8"))
    except UnicodeEncodeError:
        return "the text cannot be written as UTF-8"
    if size > MAX_FILE_BYTES:
        return f"the text is larger than {MAX_FILE_BYTES} bytes"
    if "\0" in content:
        return "the text contains a NUL character"
    if not BIDI_CONTROLS.isdisjoint(content):
        return "the text contains a control character that changes the direction of reading"
    if _TAGS.search(content):
        return "the text contains invisible tag characters"
    return None


def refused_shape(path: str) -> str | None:
    """Return why a path is none that a file of a repository should have, or None if it is fine."""
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "the path cannot be written as UTF-8"
    segments = path[:MAX_PATH_BYTES].split("/")
    composed, compatible = (unicodedata.normalize(form, path) for form in ("NFC", "NFKC"))
    unseen = not path.isprintable() or _INVISIBLE.search(path) is not None
    rules = (
        (not path, "the path is empty"),
        (size > MAX_PATH_BYTES, f"the path is longer than {MAX_PATH_BYTES} bytes"),
        (unseen, "the path contains a character that cannot be seen"),
        (composed != compatible, "the path contains a character that stands for another one"),
        ("\\" in path or ":" in path, "the path contains a backslash or a colon"),
        (path.startswith("/"), "the path is absolute"),
        (len(segments) > MAX_DEPTH, f"the path is more than {MAX_DEPTH} folders deep"),
    )
    reasons = [reason for holds, reason in rules if holds]
    reasons += [reason for segment in segments if (reason := _refused_segment(segment))]
    return reasons[0] if reasons else None


def _refused_segment(segment: str) -> str | None:
    folded = segment.casefold()
    padded = segment != segment.strip(" ") or segment.endswith(".")
    long = len(segment.encode("utf-8")) > MAX_SEGMENT_BYTES
    rules = (
        (segment in ("", ".", ".."), "the path has an empty, `.` or `..` segment"),
        (long, f"a segment of the path is longer than {MAX_SEGMENT_BYTES} bytes"),
        (padded, "a segment of the path begins or ends with a space, or ends with a dot"),
        (segment.startswith("-"), "a segment of the path begins with `-`, as an option does"),
        (_GIT_FOLDER.fullmatch(folded), "the path leads into git's own folder"),
        (_WINDOWS_DEVICE.fullmatch(folded), "a segment of the path is a device on Windows"),
    )
    return next((reason for holds, reason in rules if holds), None)


def _protected(path: str, protected: Sequence[str], *, ships: bool) -> str | None:
    """Compare without regard to case as well: some file systems have none."""
    built_in = GRANTING if ships else (*GRANTING, *SHIPPING)
    for pattern in (*built_in, *protected):
        exact = globs.compile(pattern).matches(path)
        if exact or globs.compile(pattern.lower()).matches(path.lower()):
            return f"the path is protected (`{pattern}`)"
    return None
