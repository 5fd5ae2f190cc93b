"""Whoever asked for work learns there what came of it, also when nothing did."""

from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, CART, GUARD, Rule, answers, codes, coding_answer

ASK = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps: { review: { agent: review } }
  ask:
    on: { issues: { labels: [conductor] } }
    steps: { fix: { agent: coding } }
"""
UNABLE: Rule = {
    "purpose": "coding",
    "replies": [{"json": coding_answer("@acme/admins decide what an empty cart costs", "unable")}],
}
WHY = "Could not, because the model says: `@acme/admins` decide what an empty cart costs"


async def shop(town: Town, cart: str = BROKEN_CART) -> str:
    await town.configure(ASK)
    return await town.push({"shop/cart.py": cart}, "main", message="Open the shop")


async def test_an_issue_for_which_nothing_was_written_is_told_why(town: Town) -> None:
    await shop(town)
    town.model.script(UNABLE, answers())
    issue = town.github.open_issue(town.repo, town.ada, "Empty carts crash", "", ["conductor"])
    await town.settled()
    assert town.pull_requests() == []
    assert town.said(issue) == [f"What came of `ask`:\n\n- `fix` ended as neutral: {WHY}\n"]


async def test_a_command_that_wrote_nothing_is_answered_with_the_reason(town: Town) -> None:
    await shop(town, CART)
    town.model.script(UNABLE, answers())
    pull = await town.reviewed_pull_request()
    comment = await town.say(pull, "/conductor fix")
    assert town.reactions(comment) == ["eyes", "rocket"]
    assert town.answers(pull) == [f"What came of `fix`:\n\n- `fix` ended as neutral: {WHY}\n"]


async def test_a_fix_that_was_written_needs_no_more_words(town: Town) -> None:
    await shop(town, CART)
    town.model.script(*codes(GUARD), answers())
    pull = await town.reviewed_pull_request()
    comment = await town.say(pull, "/conductor fix")
    assert town.reactions(comment) == ["eyes", "rocket"]
    assert len(pull.heads) == 2
    assert town.answers(pull) == []


async def test_an_issue_that_waits_for_an_approval_says_so_once(town: Town) -> None:
    await shop(town)
    town.model.script(*codes(GUARD), answers())
    mallory = town.github.create_user("mallory")
    issue = town.github.open_issue(town.repo, mallory, "Empty carts crash", "", ["conductor"])
    await town.settled()
    (said,) = town.said(issue)
    assert said.startswith("`fix` waits: The change is by somebody without write access")
    assert "`/conductor approve`" in said

    town.github.comment(town.repo, issue.number, town.ada, "/conductor approve")
    await town.settled()
    assert len(town.pull_requests()) == 1
    assert [one.partition(" ")[0] for one in town.said(issue)] == ["`fix`", "Approved"]


async def test_a_commit_that_came_too_late_is_not_called_a_change(town: Town) -> None:
    await shop(town, CART)
    town.model.script(*codes(GUARD), answers())
    pull = await town.reviewed_pull_request()
    town.model.hold()
    town.comment(pull, "/conductor fix")
    await town.until(lambda: town.model.asked, "the model was asked")
    late = pull.head_sha
    await town.push({"README.md": "Faster.\n"}, pull.head_ref)
    town.model.release()
    await town.settled()
    assert len(pull.heads) == 2
    check = town.step(late, "fix")
    assert (check.conclusion, check.title) == (
        "neutral",
        "Not published: The commit is no longer the head. "
        "Proposed was: Changed, not verified: 1 file: Give an empty cart an average",
    )
