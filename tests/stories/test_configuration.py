"""`.conductor.yml`: in force as the base has it, validated where it is edited, never guessed."""

from tests.stories.test_first_review import BLOCKING
from tests.support.town import Town
from tests.support.town_model import finding

BROKEN = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      review: { agent: review, blok_on: high }
"""

NO_SUCH_KEY = (
    "There is no key `blok_on` in `workflows.pull-request.steps.review`. Did you mean `block_on`?"
)


async def test_a_pull_request_that_edits_the_file_is_validated_and_judged_by_the_base(
    town: Town,
) -> None:
    await town.configure(BLOCKING)
    town.model.finds(finding(severity="high"))
    files = {
        "shop/cart.py": "def average(prices):\n    return sum(prices) / len(prices)\n",
        ".conductor.yml": BLOCKING.replace("block_on: high", "block_on: critical"),
    }
    town.model.finds(finding(line=2))
    pull = await town.reviewed_pull_request(files)
    checks = town.checks(pull.head_sha)
    validation = checks["conductor / .conductor.yml / validation"]
    assert (validation.conclusion, validation.title) == (
        "success",
        "The proposed configuration is valid",
    )
    assert (
        validation.summary
        == """\
What is in force stays so until this is merged. With it:

- changed: `workflows.pull-request.steps.review` (`block_on`)

Looked at 1 of 1 files."""
    )
    review = checks["conductor / pull-request / review"]
    assert (review.conclusion, review.title) == ("failure", "1 finding at or above high")


async def test_a_mistake_in_the_proposed_file_is_annotated_on_its_line(town: Town) -> None:
    pull = await town.reviewed_pull_request({".conductor.yml": BROKEN})
    check = town.checks(pull.head_sha)["conductor / .conductor.yml / validation"]
    assert (check.conclusion, check.title) == ("failure", "1 mistake in the proposed configuration")
    (annotation,) = check.annotations
    assert (annotation["path"], annotation["start_line"]) == (".conductor.yml", 6)
    assert NO_SUCH_KEY.startswith(annotation["title"])
    assert (check.summary or "").startswith(f"- .conductor.yml:6:32: {NO_SUCH_KEY}\n")


async def test_a_broken_file_in_force_is_named_with_its_lines_and_nothing_runs(
    town: Town,
) -> None:
    await town.configure(BROKEN)
    pull = await town.reviewed_pull_request()
    (check,) = town.checks(pull.head_sha).values()
    assert check.name == "conductor / .conductor.yml / validation"
    assert (check.conclusion, check.title) == ("failure", "1 mistake in the configuration in force")
    assert (
        check.summary
        == f"""\
Nothing runs before the configuration on the base branch is mended:

- .conductor.yml:6:32: {NO_SUCH_KEY}

`conductor check-config` shows the same on your machine.

Looked at 1 of 1 files."""
    )
    assert town.model.requests == []


async def test_once_the_file_is_mended_the_same_commit_is_reviewed(town: Town) -> None:
    await town.configure(BROKEN)
    pull = await town.reviewed_pull_request()
    await town.configure(BLOCKING)
    await town.say(pull, "/conductor review")
    titles = {check.name: check.title for check in town.checks(pull.head_sha).values()}
    assert titles == {
        "conductor / .conductor.yml / validation": "The configuration in force is valid",
        "conductor / pull-request / review": "No findings",
    }


async def test_the_file_of_a_fork_s_head_changes_nothing(town: Town) -> None:
    await town.configure(BLOCKING)
    mallory = town.github.create_user("mallory")
    fork = await town.github.fork(town.repo, mallory)
    town.model.finds(finding(severity="high"))
    pull = await town.reviewed_pull_request(by=mallory, source=fork)
    assert town.check(pull).conclusion == "failure"
    assert town.review(pull).state == "COMMENTED"


async def test_what_the_configuration_ignores_is_named_and_not_shown_to_the_model(
    town: Town,
) -> None:
    await town.configure(BLOCKING + 'paths: { ignore: ["dist/**"] }\n')
    pull = await town.reviewed_pull_request(
        {"dist/bundle.js": "secret_sauce()\n", "README.md": "# The shop\n"}
    )
    assert all("secret_sauce" not in prompt for prompt in town.model.prompts)
    check = town.check(pull)
    assert check.conclusion == "success"
    assert (check.summary or "").split("\n\n")[1:-1] == [
        "Looked at 1 of 1 files.",
        "<details><summary>Left out by configuration: 1</summary>",
        "- `dist/bundle.js`: ignored by `paths`",
        "</details>",
    ]
