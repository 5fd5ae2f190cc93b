"""Reads vendors' JSON answers, of which nothing is taken for granted."""

from typing import Any, cast


def dig(answer: object, *path: str) -> Any:
    """Return what is at the end of the path of keys, or None if any of it is missing."""
    for key in path:
        if not isinstance(answer, dict):
            return None
        answer = cast(dict[str, Any], answer).get(key)
    return answer


def objects(answer: object, *path: str) -> list[dict[str, Any]]:
    """Return the objects of the list at the end of the path; none if there is no list."""
    found = dig(answer, *path)
    if not isinstance(found, list):
        return []
    return [cast(dict[str, Any], each) for each in cast(list[Any], found) if isinstance(each, dict)]


def words(answer: object, *path: str) -> str:
    """Return the text at the end of the path, or an empty one."""
    found = dig(answer, *path)
    return found if isinstance(found, str) else ""


def count(answer: object, *path: str) -> int:
    """Return the number at the end of the path, also one that is written as text; else 0."""
    found = dig(answer, *path)
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    return found if isinstance(found, int) else 0
