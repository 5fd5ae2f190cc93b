"""Path patterns: what they match, what they refuse, and that no pattern is slow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import globs


def reference(pattern: str, path: str) -> bool:
    """The definition, by dynamic programming over segments and characters."""
    return segments_match(tuple(pattern.split("/")), tuple(path.split("/")))


def segments_match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(segments_match(pattern[1:], path[i:]) for i in range(len(path) + 1))
    return bool(path) and chars_match(pattern[0], path[0]) and segments_match(pattern[1:], path[1:])


def chars_match(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(chars_match(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and chars_match(pattern[1:], text[1:])


SEGMENT = st.text(alphabet="ab*?.", min_size=1, max_size=6).filter(
    lambda s: "**" not in s and s not in (".", "..")
)
PATTERNS = st.lists(st.one_of(SEGMENT, st.just("**")), min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.text(alphabet="ab.\n", min_size=1, max_size=5), min_size=1, max_size=5).map(
    "/".join
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PATTERNS, min_size=10, max_size=10), st.lists(PATHS, min_size=10, max_size=10))
def test_fifty_thousand_pairs_match_exactly_as_the_definition_says(
    patterns: list[str], paths: list[str]
) -> None:
    for pattern in patterns:
        glob = globs.compile(pattern)
        for path in paths:
            assert glob.matches(path) == reference(pattern, path), (pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/*.lock", "poetry.lock", True),
        ("**/*.lock", "a/b/poetry.lock", True),
        ("dist/**", "dist/a/b.js", True),
        ("dist/**", "dist", False),
        ("dist/**", "src/dist/a", False),
        ("src/**/test_*.py", "src/test_a.py", True),
        ("src/**/test_*.py", "src/a/b/test_a.py", True),
        ("*.py", "a/b.py", False),
        ("**", ".hidden/file", True),
        ("?.md", "é.md", True),
        ("a.c", "abc", False),
        ("release/*", "release/1.2", True),
        ("README.md", "readme.md", False),
        ("*.txt", "a.txt\n", False),
    ],
)
def test_patterns_mean_what_people_expect(pattern: str, path: str, expected: bool) -> None:
    assert globs.compile(pattern).matches(path) is expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "empty"),
        ("a" * 257, "256"),
        ("a" * 10_240, "256"),
        ("src/[ab].py", "character classes"),
        ("[", "character classes"),
        ("{a,b}.py", "alternatives"),
        ("a\\b", "escapes"),
        ("/etc/passwd", "absolute"),
        ("../**", "`..`"),
        ("a/./b", "`.`"),
        ("a//b", "empty"),
        ("src/", "ends with"),
        ("!src/**", "`!`"),
        ("**.py", "alone"),
        ("a\x00b", "printed"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_its_reason(
    pattern: str, reason: str
) -> None:
    with pytest.raises(globs.GlobError, match=reason.replace("*", r"\*").replace(".", r"\.")):
        globs.compile(pattern)


def test_more_patterns_than_the_limit_are_refused() -> None:
    assert len(globs.compile_all([f"p{i}" for i in range(200)])) == 200
    with pytest.raises(globs.GlobError, match="more than 200"):
        globs.compile_all([f"p{i}" for i in range(201)])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "pattern",
    [
        "*".join("a" * 26) + "b",
        "/".join(["**", "a"] * 25) + "/b",
        "*" + "*".join(["aaaaa"] * 25) + "*b",
        "**/" * 60 + "x",
        "/".join(["**", "*a*a*a*"] * 12) + "/b",
    ],
)
def test_stars_upon_stars_over_ten_thousand_paths_end(pattern: str) -> None:
    glob = globs.compile(pattern)
    paths = ["a" * 60, "/".join("a" * 40), "/".join(["aaaaaaaa"] * 12)]
    assert not any(glob.matches(paths[i % 3] + str(i)) for i in range(10_000))


def test_any_match_needs_one_of_the_patterns() -> None:
    compiled = globs.compile_all(["docs/**", "*.md"])
    assert globs.any_match(compiled, "README.md")
    assert not globs.any_match(compiled, "src/a.py")
    assert not globs.any_match((), "a")
