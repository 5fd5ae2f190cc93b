"""Where comments may stand, who may judge, and where comments go when the code moves."""

from typing import Any

from bot.simulator import DraftComment
from tests.unit.simulator.hub import BASE, Hub

CHANGED = BASE.replace("line 10\n", "line ten\n").replace("line 30\n", "line thirty\n")


def on(line: int, **rest: Any) -> dict[str, Any]:
    return {"path": "src/a.txt", "line": line, "side": "RIGHT", "body": "x", **rest}


async def post(hub: Hub, *comments: dict[str, Any], **rest: Any) -> Any:
    body = {"event": "COMMENT", "body": "hi", "comments": list(comments), **rest}
    return await hub.api("POST", "~/pulls/1/reviews", body)


OUTSIDE: list[tuple[dict[str, Any], str]] = [
    (on(20), "line must be part of the diff"),
    (on(6), "line must be part of the diff"),
    (on(41, side="LEFT"), "line must be part of the diff"),
    (on(10, path="README.md"), "Path could not be resolved"),
    (on(10, start_line=10, start_side="RIGHT"), "must precede the end line"),
    (on(30, start_line=10, start_side="RIGHT"), "same hunk"),
    (on(10, start_line=1, start_side="RIGHT"), "same hunk"),
    (on(10, body="  "), "can't be blank"),
]


async def test_a_comment_outside_the_diff_refuses_the_whole_review(hub: Hub) -> None:
    await hub.pull()
    for comment, words in OUTSIDE:
        answer = await post(hub, on(10), comment)
        assert answer.status == 422
        assert words in answer.json["errors"][0]
    assert (await hub.api("GET", "~/pulls/1/reviews")).json == []
    assert (await hub.api("GET", "~/pulls/1/comments")).json == []


async def test_changed_lines_and_three_around_them_carry_comments(hub: Hub) -> None:
    await hub.pull()
    lines = (7, 10, 13, 27, 33)
    assert (await post(hub, *(on(line) for line in lines))).status == 200
    comments = (await hub.api("GET", "~/pulls/1/comments")).json
    assert tuple(comment["line"] for comment in comments) == lines
    assert [comment["diff_hunk"].splitlines()[-1] for comment in comments] == [
        " line 7",
        "+line ten",
        " line 13",
        " line 27",
        " line 33",
    ]


async def test_a_commit_that_is_not_in_the_pull_request_is_refused(hub: Hub) -> None:
    await hub.pull()
    main = (await hub.repo.git.refs())["refs/heads/main"]
    for commit in (main, "0" * 40):
        assert (await post(hub, commit_id=commit)).status == 422


async def test_an_app_cannot_judge_its_own_pull_request(hub: Hub) -> None:
    await hub.simulator.push(hub.repo, "mine", {"b": "b\n"}, hub.new_app.app.bot)
    new = {"head": "mine", "base": "main", "title": "Mine"}
    assert (await hub.api("POST", "~/pulls", new)).status == 201
    for event in ("APPROVE", "REQUEST_CHANGES"):
        answer = await post(hub, event=event)
        assert (answer.status, "your own pull request" in answer.json["errors"][0]) == (422, True)
    assert (await post(hub)).status == 200


async def test_without_an_event_a_review_waits_and_only_its_author_sees_it(hub: Hub) -> None:
    await hub.pull()
    made = await post(hub, on(10), event=None)
    assert made.json["state"] == "PENDING"
    assert "submitted_at" not in made.json
    assert (await hub.api("GET", "~/pulls/1/comments")).json == []
    assert (await post(hub)).status == 422
    path = f"~/pulls/1/reviews/{made.json['id']}"
    done = await hub.api("POST", f"{path}/events", {"event": "COMMENT"})
    assert done.json["state"] == "COMMENTED"
    assert len((await hub.api("GET", "~/pulls/1/comments")).json) == 1
    assert (await hub.api("DELETE", path)).status == 422


async def test_a_comment_follows_its_line_and_is_outdated_when_the_line_changes(hub: Hub) -> None:
    pull = await hub.pull()
    await post(hub, on(10), on(30), on(30, side="LEFT"))
    above = "new\n" * 2 + CHANGED
    second = await hub.simulator.push(hub.repo, "topic", {"src/a.txt": above}, hub.alice)
    comments = (await hub.api("GET", "~/pulls/1/comments")).json
    assert [c["line"] for c in comments] == [12, 32, 30]
    assert {c["commit_id"] for c in comments} == {second}
    assert {c["original_line"] for c in comments} == {10, 30}
    fixed = above.replace("line ten\n", "line 10!\n")
    await hub.simulator.push(hub.repo, "topic", {"src/a.txt": fixed}, hub.alice)
    comments = (await hub.api("GET", "~/pulls/1/comments")).json
    assert [c["line"] for c in comments] == [None, 32, 30]
    assert comments[0]["commit_id"] == second
    assert pull.threads[0].first.position is None


async def test_a_line_that_leaves_the_diff_outdates_its_comment(hub: Hub) -> None:
    await hub.pull()
    await post(hub, on(33))
    reverted = CHANGED.replace("line thirty\n", "line 30\n")
    await hub.simulator.push(hub.repo, "topic", {"src/a.txt": reverted}, hub.alice)
    assert (await hub.api("GET", "~/pulls/1/comments")).json[0]["line"] is None


async def test_a_review_of_an_older_commit_lands_where_its_lines_are_now(hub: Hub) -> None:
    pull = await hub.pull()
    first = pull.head_sha
    await hub.simulator.push(hub.repo, "topic", {"src/a.txt": "new\n" + CHANGED}, hub.alice)
    assert (await post(hub, on(10), commit_id=first)).status == 200
    comment = (await hub.api("GET", "~/pulls/1/comments")).json[0]
    assert (comment["line"], comment["original_line"]) == (11, 10)
    assert comment["original_commit_id"] == first


async def test_a_force_push_keeps_what_still_stands(hub: Hub) -> None:
    pull = await hub.pull()
    await post(hub, on(10))
    main = pull.base_sha
    files: dict[str, str | bytes | None] = {"src/a.txt": CHANGED, "other": "x\n"}
    await hub.simulator.push(hub.repo, "topic", files, hub.alice, parent=main)
    assert (await hub.api("GET", "~/pulls/1/comments")).json[0]["line"] == 10
    await hub.simulator.settled()
    pushed = [d for d in hub.simulator.deliveries if d.event == "push"][-1]
    assert b'"forced":true' in pushed.request_body


async def test_replies_join_the_thread_and_reactions_are_given_once(hub: Hub) -> None:
    pull = await hub.pull()
    await post(hub, on(10))
    thread = pull.threads[0]
    await hub.simulator.reply(hub.repo, pull, thread, hub.alice, "No.")
    path = f"~/pulls/1/comments/{thread.first.id}/replies"
    made = (await hub.api("POST", path, {"body": "Yes."})).json
    assert made["in_reply_to_id"] == thread.first.id
    assert len(thread.comments) == 3
    react = f"~/pulls/comments/{thread.first.id}/reactions"
    first = await hub.api("POST", react, {"content": "eyes"})
    again = await hub.api("POST", react, {"content": "eyes"})
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json


async def test_a_person_reviews_as_the_app_does(hub: Hub) -> None:
    pull = await hub.pull()
    comment = DraftComment(path="src/a.txt", line=10, body="Why?")
    review = await hub.simulator.submit_review(
        hub.repo, pull, hub.bob, event="REQUEST_CHANGES", body="No", comments=[comment]
    )
    assert review.state == "CHANGES_REQUESTED"
    assert pull.threads[0].first.user is hub.bob
