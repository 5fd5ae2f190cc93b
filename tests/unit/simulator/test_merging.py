"""Merging, by people and by the API, and what follows from it."""

import pytest

from bot.simulator.errors import Refused
from tests.unit.simulator.hub import Hub


async def test_a_merge_brings_both_sides_together_and_is_announced(hub: Hub) -> None:
    pull = await hub.pull()
    tip = await hub.repo.git.resolve("main")
    await hub.simulator.settled()
    before = len(hub.events())
    sha = await hub.simulator.merge(hub.repo, pull, hub.bob)
    await hub.simulator.settled()
    assert hub.events()[before:] == [("push", None), ("pull_request", "closed")]
    record = await hub.repo.git.commit(sha)
    assert record.parents == (tip, pull.head_sha)
    assert record.message == "Merge pull request #1 from acme/topic\n\nT"
    assert await hub.repo.git.resolve("main") == sha
    document = (await hub.api("GET", "~/pulls/1")).json
    assert (document["merged"], document["state"]) == (True, "closed")
    assert document["merged_by"]["login"] == "bob"


async def test_a_squash_has_one_parent(hub: Hub) -> None:
    pull = await hub.pull()
    body = {"merge_method": "squash", "sha": pull.head_sha}
    answer = await hub.api("PUT", "~/pulls/1/merge", body)
    assert answer.json["merged"]
    record = await hub.repo.git.commit(answer.json["sha"])
    assert (len(record.parents), record.message) == (1, "T (#1)")


async def test_what_changed_since_it_was_looked_at_is_not_merged(hub: Hub) -> None:
    await hub.pull()
    assert (await hub.api("PUT", "~/pulls/1/merge", {"sha": "0" * 40})).status == 409


async def test_a_conflict_a_draft_and_a_closed_one_are_not_mergeable(hub: Hub) -> None:
    pull = await hub.pull()
    await hub.simulator.push(hub.repo, "main", {"src/a.txt": "other\n"}, hub.alice)
    assert (await hub.api("PUT", "~/pulls/1/merge", {})).status == 405
    await hub.simulator.close_pull_request(hub.repo, pull, hub.alice)
    with pytest.raises(Refused):
        await hub.simulator.merge(hub.repo, pull, hub.alice)


async def test_merging_needs_write_access_to_contents(hub: Hub) -> None:
    await hub.pull()
    token = await hub.token(permissions={"contents": "read", "pull_requests": "write"})
    assert (await hub.call("PUT", "~/pulls/1/merge", {}, token=token)).status == 403


async def test_a_description_that_says_fixes_closes_the_issue(hub: Hub) -> None:
    fixed = hub.simulator.open_issue(hub.repo, hub.alice, "Broken")
    named = hub.simulator.open_issue(hub.repo, hub.alice, "Named")
    pull = await hub.pull()
    pull.issue.body = f"Fixes #{fixed.number}, see #{named.number}."
    await hub.simulator.merge(hub.repo, pull, hub.bob)
    assert (fixed.state, named.state) == ("closed", "open")


async def test_other_pull_requests_move_with_their_base(hub: Hub) -> None:
    pull = await hub.pull()
    await hub.simulator.push(hub.repo, "other", {"b.txt": "b\n"}, hub.alice)
    other = await hub.simulator.open_pull_request(hub.repo, "other", hub.alice)
    sha = await hub.simulator.merge(hub.repo, pull, hub.bob)
    assert other.base_sha == sha
