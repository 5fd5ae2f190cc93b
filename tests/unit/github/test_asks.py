"""What a request asks of GitHub's limits."""

import pytest

from bot.github.client import ask_of
from bot.github.throttle import Ask

API = "https://api.github.com"
HERE = f"{API}/repos/octo/shop"


def ask(method: str, url: str, body: bytes = b"{}") -> Ask:
    return ask_of("github/9", method, url, body)


@pytest.mark.parametrize("path", ["/check-runs", "/issues/comments/7/reactions"])
def test_what_people_look_out_for_is_urgent(path: str) -> None:
    assert ask("POST", f"{HERE}{path}").urgent


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_reading_or_changing_a_check_is_not(method: str) -> None:
    assert not ask(method, f"{HERE}/check-runs/7").urgent
    assert not ask(method, f"{HERE}/commits/main/check-runs").urgent


@pytest.mark.parametrize(
    "path", ["/issues/7/comments", "/pulls/7/reviews", "/issues", "/pulls", "/dispatches"]
)
def test_what_notifies_people_is_content(path: str) -> None:
    assert ask("POST", f"{HERE}{path}").content
    assert not ask("GET", f"{HERE}{path}").content
    assert not ask("POST", f"{HERE}/check-runs").content


def test_a_query_is_a_read_and_a_mutation_a_write_of_the_other_limit() -> None:
    query = ask("POST", f"{API}/graphql", b'{"query": "query Pull { a }"}')
    mutation = ask("POST", f"{API}/graphql", b'{"query": "mutation Push { a }"}')
    assert (query.resource, query.write, query.points) == ("graphql", False, 1)
    assert (mutation.resource, mutation.write, mutation.points) == ("graphql", True, 5)
    assert mutation.content


def test_a_token_is_minted_without_waiting_for_writes() -> None:
    assert not ask("POST", f"{API}/app/installations/9/access_tokens").write


def test_a_write_is_known_again_whatever_it_says_by_then() -> None:
    first = ask("PATCH", f"{HERE}/check-runs/7", b'{"status": "queued"}')
    assert first.purpose == ask("PATCH", f"{HERE}/check-runs/7", b"{}").purpose
    assert first.purpose != ask("PATCH", f"{HERE}/check-runs/8").purpose
    assert first.purpose != ask("POST", f"{HERE}/check-runs/7").purpose
    assert ask("GET", f"{HERE}/check-runs/7").purpose == ""
