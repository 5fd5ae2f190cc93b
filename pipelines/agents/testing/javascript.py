"""How a JavaScript or TypeScript project is tested, from its package.json."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from pipelines import globs
from pipelines.agents.testing.layout import Framework, Layout
from pipelines.agents.testing.places import places_of

_EXTENSIONS = ("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts")
PATTERNS = (
    *(f"**/*.{kind}.{extension}" for kind in ("test", "spec") for extension in _EXTENSIONS),
    *(f"**/__tests__/**/*.{extension}" for extension in _EXTENSIONS),
)
_NODE_PATTERNS = (*PATTERNS, *(f"test/**/*.{e}" for e in ("js", "mjs", "cjs")))
_HELPERS = ("jest-junit", "@vitest/coverage-v8", "@vitest/coverage-istanbul")
_LOCKS = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lockb": "bun run",
    "bun.lock": "bun run",
}
_PLACEHOLDER = "no test specified"
_ONE_COMMAND = re.compile(r"[\w@./=:,* '\"-]+")
_DIRECT: dict[Framework, str] = {
    "jest": "npx --no-install jest",
    "vitest": "npx --no-install vitest run",
    "node": "node --test",
}


def detect(paths: Sequence[str], texts: Mapping[str, str]) -> Layout | None:
    """Return the layout of a package at the root, or of scripts that node itself can test."""
    package = _package(texts.get("package.json", ""))
    script = _test_script(package)
    framework = _framework(script, _declared(package), texts)
    if framework is None or ("package.json" not in paths and framework != "node"):
        return None
    patterns = _NODE_PATTERNS if framework == "node" else PATTERNS
    compiled = globs.compile_all(patterns)
    tests = [path for path in paths if globs.any_match(compiled, path)]
    places = places_of(tests, "test")
    typed = "tsconfig.json" in paths or any(path.endswith((".ts", ".tsx")) for path in tests)
    return Layout(
        language="typescript" if typed else "javascript",
        framework=framework,
        command=f"{_manager(paths)} test" if script else _DIRECT[framework],
        image=_image(texts),
        patterns=patterns,
        folder=places.folder,
        beside=places.beside,
        extension=_extension(tests, typed=typed),
        fixtures=places.fixtures,
        forwards=not script or _takes_flags(script, framework),
        declared=frozenset(name for name in _HELPERS if name in _declared(package)),
    )


def _framework(script: str, declared: frozenset[str], texts: Mapping[str, str]) -> Framework | None:
    """Say which framework the script calls, else which is declared, else which a test imports."""
    if re.search(r"\bnode\b.*--test\b", script):
        return "node"
    for name in ("vitest", "jest"):
        if re.search(rf"\b{name}\b", script) or (not script and name in declared):
            return name
    if script:
        return "npm"
    samples = (text for path, text in texts.items() if path.endswith((".js", ".mjs", ".cjs")))
    return "node" if any(re.search(r"[\"']node:test[\"']", text) for text in samples) else None


def _takes_flags(script: str, framework: Framework) -> bool:
    """Whether the script is one call of the framework, so that flags after it arrive there."""
    words = script.split()
    calls = framework in words[:3] or f"{framework}.js" in script
    return framework != "npm" and calls and _ONE_COMMAND.fullmatch(script) is not None


def _package(text: str) -> dict[str, object]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _section(package: Mapping[str, object], name: str) -> dict[str, object]:
    value = package.get(name)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _test_script(package: Mapping[str, object]) -> str:
    script = _section(package, "scripts").get("test")
    return script if isinstance(script, str) and _PLACEHOLDER not in script else ""


def _declared(package: Mapping[str, object]) -> frozenset[str]:
    return frozenset((*_section(package, "dependencies"), *_section(package, "devDependencies")))


def _manager(paths: Sequence[str]) -> str:
    return next((name for lock, name in _LOCKS.items() if lock in paths), "npm")


def _image(texts: Mapping[str, str]) -> str:
    pinned = re.match(r"\s*v?(\d{2})\b", texts.get(".nvmrc", ""))
    return f"node:{pinned[1]}" if pinned else "node:22"


def _extension(tests: Sequence[str], *, typed: bool) -> str:
    used = [f".{path.rsplit('.', 1)[-1]}" for path in tests]
    return max(sorted(set(used)), key=used.count) if used else (".ts" if typed else ".js")
