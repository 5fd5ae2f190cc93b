"""The walls of the house: who may import whom, how long things may be, what may not be written."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "bot/cli/demo/sample"
SOURCES = sorted(
    path
    for top in ("bot", "pipelines")
    for path in (ROOT / top).rglob("*.py")
    if not path.is_relative_to(SAMPLE)
)

CORE = ("pipelines.model", "pipelines.errors")
SHARED = (
    *CORE,
    "pipelines.ports",
    "pipelines.fence",
    "pipelines.globs",
    "pipelines.paths",
    "pipelines.diff",
    "pipelines.redaction",
    "pipelines.snapshots",
)

# A package may import itself, the standard library, third parties, and of ours only what is listed.
# The longest matching prefix decides.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "pipelines.model": (),
    "pipelines.errors": (),
    "pipelines.ports": CORE,
    "pipelines.fence": (*CORE, "pipelines.ports"),
    "pipelines.globs": (),
    "pipelines.paths": ("pipelines.globs",),
    "pipelines.diff": CORE,
    "pipelines.redaction": (),
    "pipelines.snapshots": (*CORE, "pipelines.ports"),
    "pipelines.net": CORE,
    "pipelines.freeze": CORE,
    "pipelines.system": SHARED,
    "pipelines.checkout": SHARED,
    "pipelines.config": SHARED,
    "pipelines.stores": (*SHARED, "pipelines.redis"),
    "pipelines.redis": (*CORE, "pipelines.ports"),
    "pipelines.integrations": (*SHARED, "pipelines.net"),
    "pipelines.orchestration.bus": (
        *SHARED,
        "pipelines.redis",
        "pipelines.stores.backend",
        "pipelines.stores.codec",
    ),
    "pipelines.agents": (*SHARED, "pipelines.integrations", "pipelines.config.steps"),
    "pipelines.agents.devops.documents": ("pipelines.config.reader",),
    "pipelines.agents.__main__": ("pipelines",),
    "pipelines.orchestration": ("pipelines",),
    "pipelines.replay": ("pipelines",),
    "bot.github": (*SHARED, "pipelines.system", "pipelines.redis"),
    "bot.reporting": (*SHARED, "bot.github"),
    "bot.events": (*SHARED, "bot.commands.grammar", "bot.github.markers"),
    "bot.commands": (*SHARED, "bot.github", "bot.events", "pipelines.config.diagnostics"),
    "bot.deliveries": (*SHARED, "bot.github", "pipelines.stores.backend"),
    "bot.simulator": (*SHARED, "pipelines.system"),
    "bot.redactor": (*SHARED,),
    "bot.telemetry": (*SHARED, "bot.redactor", "pipelines.orchestration.news"),
    "bot.settings": (*SHARED, "bot.deliveries.signature"),
    "bot.web": (
        *SHARED,
        "pipelines.stores",
        "bot.deliveries",
        "bot.telemetry",
        "bot.commands.help",
    ),
    "bot.worker": ("pipelines", "bot.events", "bot.commands", "bot.deliveries", "bot.telemetry"),
    "bot.intake": ("pipelines", "bot.events", "bot.commands", "bot.deliveries", "bot.telemetry"),
    "bot.intake.convergence": ("bot.github.census", "bot.deliveries", "bot.intake", "pipelines"),
    "bot.wiring": ("pipelines", "bot"),
    "bot.cli": ("pipelines", "bot"),
    "bot.__main__": ("bot.cli",),
}

# A vendor's package is imported in these places only.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "gidgethub": ("bot.github",),
    "aiohttp": ("bot.web", "bot.simulator", "bot.wiring", "bot.cli"),
    "anthropic": ("pipelines.integrations.llm.anthropic",),
    "openai": ("pipelines.integrations.llm.openai",),
    "redis": ("pipelines.redis",),
    "sqlite3": ("pipelines.stores.sqlite",),
    "yaml": (
        "pipelines.config.reader",
        "pipelines.agents.syntax",
        "pipelines.agents.testdata.schemas.documents",
    ),
    "jsonschema": ("pipelines.agents.testdata.validation", "pipelines.agents.devops.schemas"),
    "check_jsonschema": ("pipelines.agents.devops.schemas",),
    "graphql": ("bot.simulator",),
    "prometheus_client": (
        "bot.telemetry",
        "bot.web",
        "pipelines.integrations.observability.exposition",
    ),
    "kubernetes_asyncio": ("pipelines.integrations.containers.kubernetes_api",),
    "aiobotocore": ("pipelines.integrations.cloud.aws",),
    "azure": ("pipelines.integrations.cloud.azure_credentials",),
    "google": ("pipelines.integrations.cloud.gcp_credentials",),
    "typer": ("bot.cli",),
    "jinja2": ("bot.web", "bot.simulator", "bot.cli"),
}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module with its line; `from a import b` is `a.b` if that is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                as_path = ROOT.joinpath(*full.split("."))
                exists = as_path.is_dir() or as_path.with_suffix(".py").exists()
                yield node.lineno, full if exists else str(node.module)


def rule_for(name: str) -> tuple[str, tuple[str, ...]] | None:
    matches = [prefix for prefix in MAY_IMPORT if is_under(name, prefix)]
    return (best := max(matches, key=len), MAY_IMPORT[best]) if matches else None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    name = module_name(path)
    if name in ("bot", "pipelines"):
        assert not [m for _, m in imports(path) if m.split(".")[0] in ("bot", "pipelines")]
        return
    rule = rule_for(name)
    assert rule, f"{name} has no room in the house: add it to MAY_IMPORT with its reason"
    home, allowed = rule
    for line, module in imports(path):
        if module.split(".")[0] in ("bot", "pipelines"):
            fine = is_under(module, home) or any(is_under(module, a) for a in allowed)
            assert fine or module == "bot", f"{path}:{line}: {name} must not import {module}"
        for vendor, places in ONLY_IN.items():
            if is_under(module, vendor):
                assert any(is_under(name, p) for p in places), f"{path}:{line}: {vendor} not here"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, f"{path} is longer than 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60, f"{path}:{node.lineno}: {node.name} has {size} lines"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_half_done_or_dangerous_is_written(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            only_pass = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not only_pass, f"{where}: an exception swallowed"
        if isinstance(node, ast.keyword) and node.arg == "shell":
            value = node.value
            assert not (isinstance(value, ast.Constant) and value.value), f"{where}: shell=True"
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name | ast.Call):
            target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            assert getattr(target, "id", "") != "NotImplementedError", f"{where}: not implemented"
