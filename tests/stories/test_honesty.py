"""What was not looked at is said, and what could not be done is never green."""

from pathlib import Path

from tests.support.town import Town, running_town
from tests.support.town_model import BROKEN_CART, answers, finding


async def test_files_that_cannot_be_shown_are_named(town: Town) -> None:
    pull = await town.reviewed_pull_request(
        {"logo.png": b"\x89PNG\0\0\0" * 50, "README.md": "# The shop\n"}
    )
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("neutral", "Looked at 1 of 2 files. No findings")
    assert (check.summary or "").split("\n\n")[1:-1] == [
        "Looked at 1 of 2 files.",
        "<details><summary>Not seen: 1</summary>",
        "- `logo.png`: binary",
        "</details>",
    ]


async def test_a_file_that_is_too_large_is_named(town: Town) -> None:
    pull = await town.reviewed_pull_request({"data.txt": "0123456789\n" * 200_000})
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("neutral", "Looked at 0 of 1 files. No findings")
    assert "- `data.txt`: too large" in (check.summary or "")


async def test_without_a_model_the_check_is_neutral_and_says_why(town: Town) -> None:
    town.model.script({"replies": [{"status": 529, "message": "overloaded"}]})
    pull = await town.reviewed_pull_request()
    check = town.check(pull)
    assert (check.conclusion, check.title) == (
        "neutral",
        "The scripted model cannot answer now (HTTP 529): overloaded (3 attempts)",
    )
    assert town.reviews(pull) == []


async def test_a_model_that_comes_back_in_time_costs_nobody_anything(town: Town) -> None:
    down = {"replies": [{"status": 529, "message": "overloaded"}], "times": 2}
    town.model.script(down, answers(finding()))
    pull = await town.reviewed_pull_request()
    assert town.check(pull).title == "1 new finding (1 high)"
    assert len(town.model.requests) == 3


async def test_an_answer_that_is_not_one_gets_one_more_turn_and_then_the_truth(
    town: Town,
) -> None:
    town.model.script({"replies": [{"text": "LGTM, ship it!"}]})
    pull = await town.reviewed_pull_request()
    check = town.check(pull)
    assert (check.conclusion, check.title) == (
        "neutral",
        "The model's answer was unusable. Looked at 0 of 1 files.",
    )
    assert [request.purpose for request in town.model.requests] == ["review", "review.repair"]


async def test_what_needs_no_model_is_found_without_one(town: Town) -> None:
    town.model.script({"replies": [{"status": 401, "message": "no such key"}]})
    token = "ghp_" + "Zk8sVb2nQw4eRt6yUi0oPa1sDf3gHj5kLmXc"
    pull = await town.reviewed_pull_request({"settings.py": f'TOKEN = "{token}"\n'})
    (thread,) = pull.threads
    assert (
        town.shown(thread.first.body, pull)
        == """\
**This line adds what looks like a secret (GitHub token)**

`high` · secret

Whoever can read the repository can use it, also after it is removed again. Revoke it where it was \
issued and read it from the environment instead.
"""
    )
    assert all(token not in call for call in town.model.prompts)
    assert town.check(pull).conclusion == "neutral"


async def test_a_spent_budget_is_neutral_and_names_the_setting(town: Town) -> None:
    text = "version: 1\nbudget: { per_run: 0.05 }\nworkflows:\n  pull-request:\n"
    text += "    on: { pull_request: {} }\n    steps: { review: { agent: review } }\n"
    await town.configure(text)
    town.model.price_usd = 0.10
    check = town.check(await town.reviewed_pull_request())
    assert (check.conclusion, check.title) == (
        "neutral",
        "The budget has 0.0500 USD left and the next model call could cost 0.1000 USD; raise "
        "`budget` in .conductor.yml or make the change smaller. Looked at 0 of 1 files.",
    )


async def test_a_spent_day_is_neutral_too(tmp_path: Path) -> None:
    async with running_town(tmp_path, settings={"conductor_budget_usd_per_day": 0.15}) as town:
        town.model.price_usd = 0.15
        one = await town.reviewed_pull_request()
        assert town.check(one).conclusion == "success"
        two = await town.reviewed_pull_request({"a.py": "A = 1\n"}, branch="more")
        assert (town.check(two).conclusion, town.check(two).title) == (
            "neutral",
            "Today has spent 0.15 of 0.15 USD; raise `CONDUCTOR_BUDGET_USD_PER_DAY` to go on.",
        )


async def test_a_large_change_is_covered_or_named_file_by_file(town: Town) -> None:
    files = {f"shop/part_{n:02}.py": BROKEN_CART for n in range(41)}
    pull = await town.reviewed_pull_request(files)
    check = town.check(pull)
    assert "Looked at 41 of 41 files." in (check.summary or "")
    shown = "".join(town.model.prompts)
    assert all(path in shown for path in files)
