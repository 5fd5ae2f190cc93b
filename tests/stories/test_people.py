"""What people ask for: commands in comments, buttons of checks, and who may."""

import pytest

from bot.commands.table import VERBS
from bot.simulator.state import Account
from tests.support.town import Town
from tests.support.town_model import answers, finding


def stranger(town: Town) -> Account:
    """Somebody who can see the repository and nothing more."""
    mallory = town.github.create_user("mallory")
    town.github.set_role(town.repo, mallory, "read")
    return mallory


async def test_the_button_to_run_again_runs_again_on_the_same_commit(town: Town) -> None:
    town.model.script({"replies": [{"status": 401, "message": "no"}], "times": 1}, answers())
    pull = await town.reviewed_pull_request()
    first = town.check(pull)
    assert first.conclusion == "neutral"
    await town.github.rerequest(town.repo, first, town.ada)
    await town.settled()
    second = town.check(pull)
    assert second.id != first.id
    assert second.conclusion == "success"


async def test_the_retry_button_does_the_same(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    first = town.check(pull)
    await town.github.press_button(town.repo, first, "retry", town.ada)
    await town.settled()
    assert town.check(pull).id != first.id
    assert len(town.model.requests) == 2


async def test_the_cancel_button_stops_a_run(town: Town) -> None:
    town.model.hold()
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.asked, "the model was asked")
    await town.until(lambda: town.check(pull).status == "in_progress", "the check says so")
    await town.github.press_button(town.repo, town.check(pull), "cancel", town.ada)
    await town.until(lambda: town.model.cancelled, "the question was dropped")
    await town.settled()
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("cancelled", "Cancelled by @ada.")
    assert [action["label"] for action in check.actions] == ["Retry"]


async def test_a_stranger_s_click_on_cancel_changes_nothing(town: Town) -> None:
    town.model.hold()
    pull = await town.open_pull_request()
    await town.until(lambda: town.model.asked, "the model was asked")
    await town.until(lambda: town.check(pull).status == "in_progress", "the check says so")
    await town.github.press_button(town.repo, town.check(pull), "cancel", stranger(town))
    await town.github.settled()
    town.model.release()
    await town.settled()
    assert town.model.cancelled == 0
    assert town.check(pull).conclusion == "success"
    pressed = [one for one in (await town.deliveries()).values() if "permission" in one.reason]
    assert [(one.status, one.reason) for one in pressed] == [
        ("ignored", "`cancel` needs the permission triage on this repository; yours is read.")
    ]


async def test_a_command_is_seen_done_and_answered(town: Town) -> None:
    town.model.finds(finding())
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, "Where are we?\n\n/conductor status")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert town.answers(pull) == [
        """\
| workflow | step | state | |
| --- | --- | --- | --- |
| `pull-request` | `review` | neutral | `1 new finding (1 high)` |

`pull-request` at COMMIT-1: 0.0000 of 1.50 USD.
"""
    ]


async def test_a_mention_of_the_app_is_a_command_too(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, "@conductor review")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert len(town.model.requests) == 2


async def test_a_stranger_is_refused_with_the_level_that_is_needed(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, "/conductor cancel", stranger(town))
    assert town.reactions(asked) == ["eyes", "confused"]
    assert town.answers(pull) == [
        "@mallory: `cancel` needs the permission triage on this repository; yours is read.\n"
    ]


async def test_somebody_whom_github_does_not_know_is_refused(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    nobody = town.github.create_user("nobody")
    asked = await town.say(pull, "/conductor review", nobody)
    assert town.reactions(asked) == ["eyes", "confused"]
    assert town.answers(pull) == [
        "@nobody: `review` needs the permission triage on this repository, and GitHub does not "
        "confirm that you have it.\n"
    ]
    assert len(town.model.requests) == 1


async def test_a_command_that_does_not_exist_names_the_nearest(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, "/conductor reveiw")
    assert town.reactions(asked) == ["eyes", "confused"]
    assert town.answers(pull) == [
        "@ada: There is no command `reveiw`. Did you mean `review`? `help` lists them all.\n"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Try /conductor review some day",
        "> /conductor review",
        "```\n/conductor review\n```",
        "    /conductor review",
        "`/conductor review`",
    ],
)
async def test_what_is_quoted_or_code_is_no_command(town: Town, text: str) -> None:
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, text)
    assert (town.reactions(asked), town.answers(pull)) == ([], [])
    assert len(town.model.requests) == 1


async def test_help_lists_every_command_with_the_permission_that_it_needs(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    asked = await town.say(pull, "/conductor help", stranger(town))
    assert town.reactions(asked) == ["eyes", "rocket"]
    (text,) = town.answers(pull)
    assert text.startswith(
        """\
Write `/conductor VERB` or `@conductor VERB` at the start of a line, one command a comment.

| command | what it does | needs |
| --- | --- | --- |
| `help` | Show this list. | read |
"""
    )
    for verb in VERBS.values():
        assert f"| `{verb.usage}` | {verb.help} | {verb.permission}" in text


async def test_a_paused_pull_request_is_left_alone_until_it_is_resumed(town: Town) -> None:
    pull = await town.reviewed_pull_request()
    await town.say(pull, "/conductor pause")
    await town.push({"README.md": "# The shop\n"})
    await town.settled()
    assert town.checks(pull.head_sha) == {}
    await town.say(pull, "/conductor resume")
    assert town.check(pull).conclusion == "success"
    assert town.answers(pull) == [
        "Paused: nothing automatic is run or written here until `resume`.\n",
        "Resumed.\n",
    ]
