"""Layouts are told from files; go, jest and vitest are not installed here, so only detected."""

import json

import pytest

from pipelines.agents.testing.detection import detect, detect_all, wanted
from pipelines.agents.testing.layout import Layout
from tests.support.workplace import MemoryWorkplace

PYTEST = "def test_one():\n    assert True\n"
UNITTEST = (
    "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_one(self):\n        pass\n"
)


def package(test: str | None = None, **dev: str) -> str:
    scripts = {} if test is None else {"test": test}
    return json.dumps({"scripts": scripts, "devDependencies": dev})


async def layouts(files: dict[str, str]) -> tuple[Layout, ...]:
    tree = await MemoryWorkplace(files).tree()
    return detect_all(tree, {path: files[path] for path in wanted(tree)})


async def layout(files: dict[str, str]) -> Layout:
    return (await layouts(files))[0]


@pytest.mark.parametrize(
    ("files", "framework", "command"),
    [
        ({"tests/test_a.py": PYTEST}, "pytest", "python3 -m pytest"),
        ({"tests/test_a.py": UNITTEST, "conftest.py": ""}, "pytest", "python3 -m pytest"),
        (
            {"tests/test_a.py": UNITTEST, "pyproject.toml": "[tool.pytest.ini_options]\n"},
            "pytest",
            "python3 -m pytest",
        ),
        ({"test_a.py": UNITTEST}, "unittest", "python3 -m unittest discover -v"),
        ({"tests/test_a.py": UNITTEST}, "unittest", "python3 -m unittest discover -v -s tests"),
        (
            {"tests/test_a.py": UNITTEST, "tests/__init__.py": ""},
            "unittest",
            "python3 -m unittest discover -v -s tests -t .",
        ),
        ({"package.json": package("jest --ci")}, "jest", "npm test"),
        ({"package.json": package("vitest run"), "yarn.lock": ""}, "vitest", "yarn test"),
        ({"package.json": package("node --test")}, "node", "npm test"),
        ({"package.json": package("mocha")}, "npm", "npm test"),
        ({"package.json": package(None, jest="^29")}, "jest", "npx --no-install jest"),
        ({"package.json": package(None, vitest="^1")}, "vitest", "npx --no-install vitest run"),
        ({"a.test.js": "require('node:test')"}, "node", "node --test"),
        ({"go.mod": "module shop\n\ngo 1.22\n"}, "go", "go test ./..."),
        ({"Cargo.toml": "[package]\n"}, "cargo", "cargo test --offline"),
        ({"pom.xml": "<project/>"}, "maven", "mvn -B -o test"),
        ({"build.gradle": "", "gradlew": ""}, "gradle", "sh ./gradlew --offline test"),
    ],
)
async def test_framework_and_command_are_told_from_the_files(
    files: dict[str, str], framework: str, command: str
) -> None:
    found = await layout(files)
    assert (found.framework, found.command) == (framework, command)


@pytest.mark.parametrize(
    ("files", "image"),
    [
        ({"test_a.py": PYTEST}, "python:3.12"),
        ({"test_a.py": PYTEST, ".python-version": "3.11.4\n"}, "python:3.11"),
        ({"test_a.py": PYTEST, "pyproject.toml": 'requires-python = ">=3.13"'}, "python:3.13"),
        ({"test_a.py": PYTEST, "pyproject.toml": 'requires-python = ">=3.9"'}, "python:3.12"),
        ({"package.json": package("jest")}, "node:22"),
        ({"package.json": package("jest"), ".nvmrc": "v20.1\n"}, "node:20"),
        ({"go.mod": "module a\ngo 1.23\n"}, "golang:1.23"),
        ({"go.mod": "module a\n"}, "golang:1"),
    ],
)
async def test_the_image_has_the_version_that_the_project_names(
    files: dict[str, str], image: str
) -> None:
    assert (await layout(files)).image == image


@pytest.mark.parametrize(
    ("files", "source", "expected"),
    [
        ({"tests/unit/test_a.py": PYTEST}, "shop/cart.py", "tests/unit/test_cart.py"),
        ({"test_a.py": PYTEST, "cart.py": ""}, "cart.py", "test_cart.py"),
        ({"shop/cart_test.py": PYTEST}, "shop/cart.py", "shop/test_cart.py"),
        ({"pyproject.toml": "pytest", "cart.py": ""}, "cart.py", "tests/test_cart.py"),
        ({"go.mod": ""}, "shop/cart.go", "shop/cart_test.go"),
        (
            {"package.json": package("jest"), "src/a.test.ts": "", "src/b.test.ts": ""},
            "src/cart.ts",
            "src/cart.test.ts",
        ),
        (
            {"package.json": package("jest"), "src/__tests__/a.test.js": ""},
            "src/cart.js",
            "src/__tests__/cart.test.js",
        ),
    ],
)
async def test_a_new_test_goes_where_the_others_are(
    files: dict[str, str], source: str, expected: str
) -> None:
    found = await layout(files)
    assert found.test_path(source) == expected
    assert found.is_test(expected)
    assert not found.is_test(source)


async def test_fixtures_go_below_the_folder_that_is_named_after_tests() -> None:
    assert (await layout({"tests/unit/test_a.py": PYTEST})).fixtures == "tests/fixtures"
    assert (await layout({"go.mod": ""})).fixtures == "testdata"


async def test_flags_are_only_forwarded_to_a_script_that_is_one_call() -> None:
    assert (await layout({"package.json": package("jest --ci")})).forwards
    assert not (await layout({"package.json": package("jest && echo done")})).forwards
    assert not (await layout({"package.json": package("lint; jest")})).forwards


async def test_what_was_fetched_or_built_is_not_the_projects_own() -> None:
    assert await layouts({"node_modules/x/a.test.js": "require('node:test')"}) == ()
    found = await layout({"test_a.py": PYTEST})
    assert not found.is_test(".venv/lib/test_b.py")


async def test_the_layout_with_the_most_tests_comes_first() -> None:
    files = {"package.json": package("jest"), "a.test.js": ""}
    python = {"tests/test_a.py": PYTEST, "tests/test_b.py": PYTEST}
    assert [found.framework for found in await layouts({**files, **python})] == ["pytest", "jest"]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"scripts": 1}', '{"scripts": {"test": []}}', "[" * 100_000]
)
async def test_a_broken_manifest_is_no_layout_and_no_crash(text: str) -> None:
    assert await layouts({"package.json": text}) == ()


async def test_a_repository_without_tests_or_manifest_has_no_layout() -> None:
    tree = await MemoryWorkplace({"README.md": "# Shop\n", "setup.sh": ""}).tree()
    assert detect(tree, {}) is None


async def test_only_small_regular_files_are_asked_for() -> None:
    tree = await MemoryWorkplace(
        {"package.json": "x" * 300_000, "tests/test_a.py": PYTEST, "src/a.py": ""}
    ).tree()
    assert wanted(tree) == ("tests/test_a.py",)
