"""GraphQL documents: files beside this package, sent with only the fragments they use."""

import re
from functools import cache
from importlib.resources import files

_SPREAD = re.compile(r"\.\.\.([A-Z]\w*)")
_FRAGMENT = re.compile(r"^fragment (\w+) on .*?^}$", re.MULTILINE | re.DOTALL)

MAX_BLOBS = 40
"""Files one contents query asks for, which keeps an answer well below GitHub's ten seconds."""


def _text(name: str) -> str:
    return files("bot.github").joinpath("queries", f"{name}.graphql").read_text("utf-8").strip()


def _fragments() -> dict[str, str]:
    return {match[1]: match[0] for match in _FRAGMENT.finditer(_text("fragments"))}


@cache
def document(name: str) -> str:
    """Return the query of that name, followed by every shared fragment it needs."""
    shared = _fragments()
    parts = [_text(name)]
    wanted = _SPREAD.findall(parts[0])
    while wanted:
        fragment = shared.pop(wanted.pop(), None)
        if fragment is not None:
            parts.append(fragment)
            wanted += _SPREAD.findall(fragment)
    return "\n\n".join(parts) + "\n"


@cache
def contents(count: int) -> str:
    """Return a query for ``count`` files of one commit, each path in a variable of its own."""
    paths = "".join(f", $p{index}: String!" for index in range(count))
    entries = "\n".join(
        f"        f{index}: file(path: $p{index}) {{ ...Entry }}" for index in range(count)
    )
    return (
        f"query Contents($owner: String!, $name: String!, $oid: GitObjectID!{paths}) {{\n"
        "  repository(owner: $owner, name: $name) {\n"
        "    object(oid: $oid) {\n"
        "      ... on Commit {\n"
        f"{entries}\n"
        "      }\n    }\n  }\n}\n\n"
        f"{_fragments()['Entry']}\n"
    )


@cache
def contributions(count: int) -> str:
    """Return a query for who brought in ``count`` commits, each id in a variable of its own."""
    oids = "".join(f", $o{index}: GitObjectID!" for index in range(count))
    commits = "\n".join(
        f"    c{index}: object(oid: $o{index}) {{ ...Contribution }}" for index in range(count)
    )
    shared = _fragments()
    return (
        f"query Contributions($owner: String!, $name: String!{oids}) {{\n"
        f"  repository(owner: $owner, name: $name) {{\n    databaseId\n{commits}\n  }}\n}}\n\n"
        f"{shared['Contribution']}\n\n{shared['Who']}\n"
    )


@cache
def blobs(count: int) -> str:
    """Return a query for the texts of ``count`` blobs, each id in a variable of its own."""
    oids = "".join(f", $o{index}: GitObjectID!" for index in range(count))
    texts = "\n".join(
        f"    b{index}: object(oid: $o{index}) {{ ... on Blob {{ text }} }}"
        for index in range(count)
    )
    return (
        f"query Blobs($owner: String!, $name: String!{oids}) {{\n"
        f"  repository(owner: $owner, name: $name) {{\n{texts}\n  }}\n}}\n"
    )
