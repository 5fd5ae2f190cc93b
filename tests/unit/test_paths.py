"""What a commit may contain: a table of paths, and that no accepted path leaves the repository."""

import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.globs import GlobError
from pipelines.paths import MAX_FILE_BYTES, refused_content, refused_path

ALLOWED = [
    "README.md", "src/app.py", "a", "docs/über uns.md", "src/naïve.py", "src/[id]/page.tsx",
    "src/(group)/x.ts", "tests/data/ünïcode.txt", "日本語/読む.md", "a.b.c.d", ".gitignore",
    ".editorconfig", "src/.hidden/x", "gitignore", "src/git/x.py", "src/mygit~1", "~user/x",
    "src/@types/x.d.ts", "a/b/c/d/e/f/g/h/i/j", "src/some file.txt", "src/a+b=c,d;e.txt",
    "src/x'y.py", "src/$name.py", "pyproject.toml", "package.json", "conf/ig.py", "console.py",
    "x" * 255, "/".join("d" * 20),
]  # fmt: skip

MISSHAPEN = [
    "", "/", "/etc/passwd", "//host/x", "../x", "src/../../x", "src/..", "..", ".", "./x",
    "src/./x", "src//x", "src/", "a\\b", "..\\x", "C:/x", "C:\\x", "src/x:stream", "\x00", "a\x00b",
    "a\nb", "a\rb", "a\tb", "a\x1b[0m", "a\x7fb", "a\u0085b", "a\u202eb", "a\u200bb", "a\u2028b",
    "\U000e0041x", "a\ufe0fb", "a\u3164b", "a\u00a0b", "．．／x", "．．/x", "ﬁle", "x²", "a\ud800b",
    ".git", ".git/config", ".git/hooks/pre-commit", "src/.git/config", ".GIT/config", ".Git/x",
    "git~1/config", "GIT~1", "git~99/x", "gi7eba~1", "gitmod~1", ".git./x", ".git /x",
    ".g\u200cit/x", ".git::$INDEX_ALLOCATION/x", " x", "x ", "src/ x/y", "src/x.", "-rf",
    "--upload-pack=x", "src/--output=x", "CON", "src/con/x", "src/nul.txt", "aux", "com1.py",
    "LPT9", "x" * 256, "é" * 128, "/".join("d" * 21), "d/" * 2100 + "x",
]  # fmt: skip

PROTECTED = [
    ".github/workflows/ci.yml", ".github/x", ".GitHub/workflows/ci.yml", "CODEOWNERS",
    "docs/CODEOWNERS", "codeowners", ".conductor.yml", ".Conductor.yml", ".conductor.yaml",
    ".gitattributes", "src/.gitattributes", ".gitmodules", ".gitlab-ci.yml", ".circleci/config.yml",
    "package-lock.json", "web/yarn.lock", "poetry.lock", "uv.lock", "Cargo.lock", "go.sum",
    "Dockerfile", "deploy/Dockerfile.prod", "docker-compose.yml", "Jenkinsfile", ".npmrc",
    ".husky/pre-commit", ".pre-commit-config.yaml", "azure-pipelines.yml", ".env", "Procfile",
]  # fmt: skip


@pytest.mark.parametrize("path", ALLOWED)
def test_an_ordinary_path_may_be_written(path: str) -> None:
    assert refused_path(path) is None


@pytest.mark.parametrize("path", MISSHAPEN, ids=lambda path: ascii(path)[:40])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    reason = refused_path(path)
    assert reason is not None
    assert "protected" not in reason
    assert refused_path(path, ships=True) == reason


@pytest.mark.parametrize("path", PROTECTED)
def test_a_file_that_grants_power_is_refused_whatever_the_configuration_says(path: str) -> None:
    assert "protected" in (refused_path(path) or "")


def test_the_configuration_adds_to_what_is_protected_in_any_case_of_letters() -> None:
    assert refused_path("infra/main.tf") is None
    assert "`infra/**`" in (refused_path("infra/main.tf", ["infra/**"]) or "")
    assert "`infra/**`" in (refused_path("Infra/main.tf", ["infra/**"]) or "")
    assert refused_path("src/infra.py", ["infra/**"]) is None


def test_what_ships_is_open_to_whoever_ships_and_what_grants_power_to_nobody() -> None:
    assert refused_path("Dockerfile", ships=True) is None
    assert refused_path(".github/workflows/ci.yml", ships=True) is None
    assert refused_path(".github/workflows/ci.yml", [".github/**"], ships=True) is not None
    for path in (".conductor.yml", "CODEOWNERS", ".github/CODEOWNERS", ".gitattributes"):
        assert refused_path(path, ships=True) is not None


def test_a_pattern_that_cannot_be_used_is_an_error_and_not_a_way_round() -> None:
    with pytest.raises(GlobError):
        refused_path("x", ["[a-z]"])


SEGMENTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        ".git",
        ".GIT",
        "git~1",
        "a",
        "src",
        "x.py",
        "~",
        "．．",
        "..\\",
        "\x00",
        "é",
        " ",
    ]
)
PATHS = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(SEGMENTS, st.text(max_size=6)), max_size=8).map("/".join),
)


@settings(max_examples=5000, deadline=None)
@given(PATHS)
def test_an_accepted_path_stays_inside_and_out_of_git_s_folder(path: str) -> None:
    if refused_path(path) is None:
        joined = posixpath.normpath(posixpath.join("/root/repository", path))
        assert joined == f"/root/repository/{path}"
        assert joined.startswith("/root/repository/")
        assert ".git" not in {segment.casefold() for segment in path.split("/")}
        assert all(len(os.fsencode(segment)) <= 255 for segment in path.split("/"))


def test_an_accepted_path_can_be_made_on_this_file_system(tmp_path: Path) -> None:
    for number, path in enumerate(ALLOWED):
        root = tmp_path / str(number)
        target = root / path
        target.parent.mkdir(parents=True)
        target.write_text("x")
        assert target.resolve().is_relative_to(root.resolve())


LANGUAGES = [
    "# {}x",
    "// {}x",
    "/* {} */",
    "-- {}x",
    "x = '{}'",
    'let s = "{}";',
    "<!--{}-->",
    "{}",
]


@pytest.mark.parametrize("code", [0x202A, 0x202B, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069,
                                  0x200E, 0x200F, 0x061C, 0xE0001, 0xE0041, 0xE007F])  # fmt: skip
def test_text_that_deceives_its_reader_is_refused_in_every_language(code: int) -> None:
    for template in LANGUAGES:
        assert refused_content(template.format(chr(code))) is not None


@pytest.mark.parametrize(
    "text",
    ["", "x = 1\n", 'greeting = "שלום"', 'greeting = "مرحبا"', "\t\r\n\f", "👩‍💻", "é" * 1000],
)
def test_ordinary_text_may_be_written(text: str) -> None:
    assert refused_content(text) is None


def test_what_no_text_file_holds_is_refused() -> None:
    assert "NUL" in (refused_content("a\x00b") or "")
    assert "UTF-8" in (refused_content("a\ud800b") or "")
    assert "larger" in (refused_content("é" * (MAX_FILE_BYTES // 2 + 1)) or "")
    assert refused_content("x" * MAX_FILE_BYTES) is None
