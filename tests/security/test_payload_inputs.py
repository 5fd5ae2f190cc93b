"""Hostile and broken webhook payloads: never an exception, always a trigger or a reason."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events.filters import Ignored
from bot.events.triggers import ACTIONS
from pipelines.model import CommandTrigger, DeploymentTrigger, PullRequestTrigger, PushTrigger
from tests.unit.events.samples import ME, SAMPLES, ZERO, read, reason, sample, without

ABOUT_REPOSITORIES = [event for event in SAMPLES if not event.startswith("installation")]
CANARY = "canary-7f3a"

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=20),
        st.sampled_from(["opened", "created", "a" * 40, ZERO, "refs/heads/x", "\ud800", CANARY]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*ACTIONS, "ping", "star", ""]), st.dictionaries(st.text(), JSON))
def test_any_object_under_any_event_is_ignored_with_a_reason(
    event: str, payload: dict[str, Any]
) -> None:
    assert reason(event, payload)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_any_field_of_a_real_event_may_be_anything(event: str, data: st.DataObject) -> None:
    payload = sample(event)
    places = list(paths(payload))
    for path in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        replace(payload, path, data.draw(JSON))
    got = read(event, payload)
    if isinstance(got, Ignored):
        assert got.reason.endswith(".")
        assert CANARY not in got.reason


def paths(value: Any, here: tuple[Any, ...] = ()) -> Any:
    """Every place in a payload."""
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in items:
        yield (*here, key)
        yield from paths(inner, (*here, key))


def replace(payload: Any, path: tuple[Any, ...], value: Any) -> None:
    part: Any = payload
    for key in path[:-1]:
        part = part.get(key) if isinstance(part, dict) else None
    if isinstance(part, dict):
        part[path[-1]] = value


@pytest.mark.parametrize("header", ABOUT_REPOSITORIES)
@pytest.mark.parametrize("shape", ABOUT_REPOSITORIES)
def test_an_event_header_that_lies_about_the_payload_is_noticed(header: str, shape: str) -> None:
    payload = sample(shape, action=sorted(ACTIONS[header])[0])
    if header == shape:
        assert "not that of" not in str(read(header, payload))
    else:
        assert reason(header, payload) == f"The payload is not that of a `{header}` event."


@pytest.mark.parametrize("event", ABOUT_REPOSITORIES)
@pytest.mark.parametrize("part", ["installation", "repository", "sender"])
def test_a_missing_part_of_the_envelope_is_named(event: str, part: str) -> None:
    assert f"`{part}` is missing" in reason(event, without(event, part))
    assert f"`{part}` is not as" in reason(event, sample(event, **{part: None}))


ODD_IDS = [0, -1, "9", 9.0, 9.5, True, None, 2**63, 10**24, [], {"id": 9}]


@pytest.mark.parametrize("value", ODD_IDS, ids=repr)
@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("push", "repository__id"),
        ("push", "installation__id"),
        ("push", "sender__id"),
        ("pull_request", "pull_request__number"),
        ("pull_request", "number"),
        ("issue_comment", "comment__id"),
        ("deployment", "deployment__id"),
        ("check_run", "check_run__id"),
        ("check_run", "check_run__app__id"),
        ("installation", "installation__id"),
    ],
)
def test_an_id_that_is_no_positive_whole_number_is_no_id(
    event: str, path: str, value: object
) -> None:
    assert "cannot be used" in reason(event, sample(event, **{path: value}))


def test_a_pull_request_with_two_numbers_is_refused() -> None:
    assert "cannot be used" in reason("pull_request", sample("pull_request", number=8))


@pytest.mark.parametrize(
    "sha", [ZERO, "a" * 39, "A" * 40, "g" * 40, "a" * 41, "", None, 1, "a" * 40 + "\n", "main"]
)
@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("pull_request", "pull_request__head__sha"),
        ("pull_request", "pull_request__base__sha"),
        ("deployment", "deployment__sha"),
        ("check_run", "check_run__head_sha"),
        ("check_suite", "check_suite__head_sha"),
        ("push", "after"),
    ],
)
def test_what_is_no_commit_starts_nothing(event: str, path: str, sha: object) -> None:
    assert reason(event, sample(event, **{path: sha}))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a..b",
        "a~1",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a\\b",
        "a@{b",
        "/a",
        "a/",
        "a//b",
        "a.lock",
        "a.",
        ".a",
        "a/.b",
        "x" * 2000,
        None,
    ],
)
def test_a_branch_name_that_git_does_not_give_is_refused(name: object) -> None:
    payload = sample("pull_request", pull_request__head__ref=name)
    assert "`pull_request.head.ref`" in reason("pull_request", payload)


@pytest.mark.parametrize(
    "name", ["--upload-pack=x", "$(id)", "`id`", "refs/heads/x", "ветка", "a;b", "-x", "a'b\"c"]
)
def test_an_odd_branch_name_that_git_gives_is_plain_data(name: str) -> None:
    got = read("pull_request", sample("pull_request", pull_request__head__ref=name))
    assert isinstance(got, PullRequestTrigger)
    assert got.head_ref == name


@pytest.mark.parametrize(
    "changes",
    [
        {"repository__full_name": "acme/other"},
        {"repository__full_name": "other/shop"},
        {"repository__name": "..", "repository__full_name": "acme/.."},
        {"repository__name": "a/b", "repository__full_name": "acme/a/b"},
        {"repository__owner": {"login": "../x"}},
        {"repository__owner": None},
        {"repository__name": "shop\n"},
    ],
)
def test_a_repository_whose_names_contradict_each_other_is_refused(
    changes: dict[str, object],
) -> None:
    assert "`repository" in reason("push", sample("push", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"pull_request__title": "\U000e0041" * 256},
        {"pull_request__title": "\ufffd"},
        {"pull_request__body": "x" * 65_536},
        {"pull_request__updated_at": "1970-01-01T00:00:00Z"},
        {"pull_request__updated_at": "2199-01-01T00:00:00Z"},
        {"pull_request__updated_at": "2026-01-01T00:00:00"},
        {"pull_request__updated_at": 17},
        {"pull_request__updated_at": "soon"},
        {"pull_request__changed_files": 3000},
        {"pull_request__changed_files": 0},
        {"repository__private": False},
    ],
)
def test_what_is_only_unusual_about_a_pull_request_does_not_stop_it(
    changes: dict[str, object],
) -> None:
    assert isinstance(read("pull_request", sample("pull_request", **changes)), PullRequestTrigger)


@pytest.mark.parametrize(
    "changes",
    [
        {"commits": []},
        {"commits": [{}] * 2048},
        {"ref": "refs/tags/v1"},
        {"head_commit": {"timestamp": "never"}},
    ],
)
def test_what_is_only_unusual_about_a_push_does_not_stop_it(changes: dict[str, object]) -> None:
    assert isinstance(read("push", sample("push", **changes)), PushTrigger)


@pytest.mark.parametrize("ref", ["main", "refs/pull/1/head", "refs/heads/", "refs/heads/a b", None])
def test_a_push_to_what_is_no_branch_or_tag_is_refused(ref: object) -> None:
    assert reason("push", sample("push", ref=ref))


@pytest.mark.parametrize("value", ['{"a": 1}', {"a": 1}, "x" * 1_000_000, None, [1]])
def test_the_free_part_of_a_deployment_is_not_looked_at(value: object) -> None:
    got = read("deployment", sample("deployment", deployment__payload=value))
    assert isinstance(got, DeploymentTrigger)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", None, 1])
def test_an_environment_needs_a_printable_name(name: object) -> None:
    assert reason("deployment", sample("deployment", deployment__environment=name))


def test_a_comment_of_the_greatest_size_is_read() -> None:
    payload = sample("issue_comment", comment__body="/conductor review\n\n" + "x" * 65_000)
    assert isinstance(read("issue_comment", payload), CommandTrigger)


def test_our_own_doing_is_known_by_id_alone() -> None:
    for event in ABOUT_REPOSITORIES:
        ours = sample(event, sender={"id": ME.bot_user_id, "login": "renamed", "type": "User"})
        assert reason(event, ours) == "This is our own doing."
        like_us = sample(event, sender={"id": 11, "login": f"{ME.slug}[bot]", "type": "User"})
        assert not isinstance(read(event, like_us), Ignored)


def test_reading_a_payload_does_not_change_it() -> None:
    for event in SAMPLES:
        payload = sample(event)
        before = copy.deepcopy(payload)
        read(event, payload)
        assert payload == before
