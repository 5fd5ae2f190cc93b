"""What a repository is made of: its language, how it is tested, and how its service starts."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pipelines.agents.testing.detection import detect_all, wanted
from pipelines.agents.testing.layout import Layout, is_own
from pipelines.agents.workspace import Workspace

_MANIFESTS = (
    "Procfile", "package.json", "pyproject.toml", "requirements.txt", "setup.cfg", "go.mod",
    "Cargo.toml", "pom.xml", "build.gradle", "Gemfile", "composer.json", "Makefile",
)  # fmt: skip
_LOCKS = (
    "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "uv.lock", "poetry.lock", "go.sum",
    "Cargo.lock", "requirements.lock",
)  # fmt: skip
_ENTRANCES = re.compile(
    r"(?:.*/)?(?:__main__|main|app|server|wsgi|asgi|manage|index)\.(?:py|js|mjs|cjs|ts|go)"
)
_SCRIPTS = re.compile(r"^\s*([\w.-]{1,80})\s*=\s*[\"']([\w.:]{1,200})[\"']", re.MULTILINE)
_PORT = re.compile(r"\bPORT\b[^\n]{0,80}?\b(\d{2,5})\b|(?:listen|bind|port)\D{0,20}(\d{4,5})", re.I)
_MAX_LOOKED_AT = 12
_MAX_STARTS = 8


@dataclass(frozen=True, slots=True)
class Stack:
    """What the files say; every field may be empty, and nothing was run."""

    languages: tuple[str, ...]
    tests: str
    image: str
    manifests: tuple[str, ...]
    locks: tuple[str, ...]
    starts: tuple[str, ...]
    """How the service may be started, the most explicit first."""
    reads_port: bool
    ports: tuple[int, ...]

    def described(self) -> str:
        """Return it for a prompt."""
        return json.dumps(
            {
                "languages": self.languages,
                "test command": self.tests or "none found",
                "usual image": self.image,
                "manifests": self.manifests,
                "lock files": self.locks,
                "how it starts": self.starts or "not found",
                "reads PORT": self.reads_port,
                "ports named in the code": self.ports,
            },
            ensure_ascii=False,
            indent=1,
        )


async def detect(space: Workspace) -> Stack:
    """Look at the tree, its manifests and the files that a service usually starts from."""
    paths = [path for path in space.paths if is_own(path)]
    layouts = detect_all(space.tree, await space.texts(wanted(space.tree)))
    manifests = [path for path in _MANIFESTS if path in paths]
    entrances = sorted((p for p in paths if _ENTRANCES.fullmatch(p)), key=lambda p: p.count("/"))
    texts = await space.texts([*manifests, *entrances[:_MAX_LOOKED_AT]])
    code = [text for path, text in texts.items() if path in entrances]
    found = [int(a or b) for text in code for a, b in _PORT.findall(text[:100_000])]
    return Stack(
        languages=tuple(dict.fromkeys(layout.language for layout in layouts)),
        tests=layouts[0].command if layouts else "",
        image=_image(layouts),
        manifests=tuple(manifests),
        locks=tuple(path for path in _LOCKS if path in paths),
        starts=tuple(dict.fromkeys(_starts(paths, texts)))[:_MAX_STARTS],
        reads_port=any(re.search(r"\bPORT\b", text) for text in code),
        ports=tuple(dict.fromkeys(port for port in found if 0 < port < 65536))[:5],
    )


def _starts(paths: Sequence[str], texts: Mapping[str, str]) -> Iterator[str]:
    for line in texts.get("Procfile", "").splitlines():
        if line.startswith("web:"):
            yield line.removeprefix("web:").strip()[:200]
    yield from _package_starts(texts.get("package.json", ""))
    scripts = texts.get("pyproject.toml", "").partition("[project.scripts]")[2].partition("\n[")[0]
    yield from (name for name, _ in _SCRIPTS.findall(scripts))
    for path in sorted(paths, key=lambda path: path.count("/")):
        folder, _, name = path.rpartition("/")
        if name == "__main__.py" and folder:
            yield f"python -m {folder.removeprefix('src/').replace('/', '.')}"
        elif name == "main.go":
            yield f"go build ./{folder}" if folder else "go build ."
        elif name in ("main.py", "app.py", "server.py", "wsgi.py") and path in texts:
            yield f"python {path}"
        elif name in ("server.js", "index.js", "main.js", "app.js") and not folder.count("/"):
            yield f"node {path}"


def _package_starts(text: str) -> Iterator[str]:
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return
    package = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    scripts = package.get("scripts")
    if isinstance(scripts, dict) and "start" in scripts:
        yield "npm start"
    if isinstance(main := package.get("main"), str):
        yield f"node {main[:200]}"


def _image(layouts: Sequence[Layout]) -> str:
    return layouts[0].image if layouts else ""
