"""The coding agent: what makes it work, where its commit goes, and what stops it."""

from bot.simulator.state import PullRequest
from tests.support.town import Town
from tests.support.town_model import (
    BROKEN_CART,
    CART,
    GUARD,
    Rule,
    answers,
    codes,
    create,
    edit,
    finding,
)

TESTS = """\
import unittest

from shop.cart import average, total


class Cart(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total([1, 2]), 3)

    def test_average(self):
        self.assertEqual(average([2, 4]), 3)
"""
SHOP = {"shop/__init__.py": "", "tests/__init__.py": "", "tests/test_cart.py": TESTS}
CODING = """\
version: 1
workflows:
  pull-request:
    on: { pull_request: {} }
    steps:
      review: { agent: review, block_on: high }
      tests: { agent: test, run: python3 -m unittest -v, generate: false }
  ask:
    on: { issues: { labels: [conductor] } }
    steps:
      fix: { agent: coding, run: python3 -m unittest -v, max_rounds: 1 }
"""
FINDS: Rule = answers(finding(), contains=["/ len(prices)"], lacks=["(len(prices) or 1)"])
FIXES = codes(GUARD)


async def shop(town: Town, cart: str = BROKEN_CART) -> str:
    """Put a shop with tests and a configuration on the default branch; returns the commit."""
    files = {"shop/cart.py": cart, **SHOP, ".conductor.yml": CODING}
    return await town.push(files, "main", message="Open the shop")


async def message(town: Town, sha: str) -> str:
    return (await town.repo.git.commit(sha)).message


async def test_a_labelled_issue_becomes_a_pull_request_that_explains_itself(town: Town) -> None:
    head = await shop(town)
    town.model.script(*FIXES, answers())
    words = "Every new customer sees an error."
    issue = town.github.open_issue(town.repo, town.ada, "Empty carts crash", words, ["conductor"])
    await town.settled()

    (pull,) = town.pull_requests()
    commit = await town.repo.git.commit(pull.head_sha)
    assert commit.parents == (head,)
    assert (commit.author.name, commit.committer.name) == ("conductor[bot]", "GitHub")
    (run,) = [run for run in await town.runs() if run.workflow == "ask"]
    assert commit.message.startswith("Give an empty cart an average\n")
    assert f"\nConductor-Run: {run.id}\n" in commit.message
    assert pull.head_ref.startswith(f"conductor/fix-issue-{issue.number}-")
    assert "(len(prices) or 1)" in await town.file(pull.head_sha, "shop/cart.py")

    assert pull.issue.title == "Give an empty cart an average"
    body = town.shown(pull.issue.body, pull)
    assert body.startswith(
        f"For issue {issue.number}.\n\n"
        "Tested: `python3 -m unittest -v` exited with 0 over this commit (bubblewrap).\n\n"
        "- `shop/cart.py`: changed, +1 −1\n"
    )
    assert f"Made for #{issue.number}, which stays open until the fix is verified." in body
    check = town.step(head, "fix")
    assert check.title == "Changed 1 file: Give an empty cart an average"
    assert check.conclusion == "success"
    # Its own pull request is held to the same rules.
    review = town.step(pull.head_sha, "review")
    assert review.conclusion == "success"
    assert "Hidden comments" not in (review.summary or "")
    assert town.step(pull.head_sha, "tests").conclusion == "success"


async def test_a_stranger_s_issue_waits_until_a_writer_approves(town: Town) -> None:
    head = await shop(town)
    town.model.script(*FIXES, answers())
    mallory = town.github.create_user("mallory")
    town.github.set_role(town.repo, mallory, "read")
    issue = town.github.open_issue(
        town.repo, mallory, "Empty carts crash", "Please fix", ["conductor"]
    )
    await town.settled()
    check = town.step(head, "fix")
    assert (check.status, check.conclusion) == ("completed", "action_required")
    assert "the coding agent needs a writer's approval" in (check.title or "")
    assert town.model.requests == []
    assert town.pull_requests() == []

    by_mallory = town.github.comment(town.repo, issue.number, mallory, "/conductor approve")
    await town.settled()
    assert town.reactions(by_mallory) == ["eyes", "confused"]
    assert town.model.requests == []

    by_ada = town.github.comment(town.repo, issue.number, town.ada, "/conductor approve")
    await town.settled()
    assert town.reactions(by_ada) == ["eyes", "rocket"]
    (pull,) = town.pull_requests()
    assert f"Made for #{issue.number}" in (pull.issue.body or "")


async def reviewed(town: Town) -> PullRequest:
    """A pull request that breaks the cart, with a finding about it."""
    await shop(town, CART)
    town.model.script(*FIXES, FINDS, answers())
    return await town.reviewed_pull_request()


async def test_a_finding_is_fixed_on_the_pull_request_s_own_branch(town: Town) -> None:
    pull = await reviewed(town)
    before = pull.head_sha
    assert town.step(before, "review").conclusion == "failure"
    (found,) = [f for run in await town.runs() for f in await _findings(town, run.id)]
    asked = await town.say(pull, f"/conductor fix {found[:8]}")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert (pull.head_ref, (await town.repo.git.commit(pull.head_sha)).parents) == (
        "topic",
        (before,),
    )
    assert "Conductor-Run: " in await message(town, pull.head_sha)
    assert town.step(pull.head_sha, "review").conclusion == "success"
    assert town.step(pull.head_sha, "tests").conclusion == "success"
    (thread,) = pull.threads
    assert thread.resolved_by is town.app.app.bot
    assert thread.comments[-1].body.startswith(f"Fixed in {pull.head_sha}")
    depths = {run.trigger.provenance.depth for run in await town.runs()}
    assert depths == {0, 1}


async def _findings(town: Town, run_id: str) -> list[str]:
    state = town.services.orchestration.state
    (run,) = [run for run in await town.runs() if run.id == run_id]
    results = await state.results(run)
    return [found.fingerprint for result in results.values() for found in result.findings]


async def test_the_button_on_a_check_does_the_same(town: Town) -> None:
    pull = await reviewed(town)
    before = pull.head_sha
    await town.github.press_button(town.repo, town.step(before, "review"), "fix", town.ada)
    await town.settled()
    assert (await town.repo.git.commit(pull.head_sha)).parents == (before,)
    assert town.step(pull.head_sha, "review").conclusion == "success"


async def test_a_chain_of_fixes_ends(town: Town) -> None:
    """A workflow that fixes what its own review finds, and a reviewer who is never content."""
    endless = CODING.replace(
        "      tests: { agent: test, run: python3 -m unittest -v, generate: false }\n",
        "      fix: { agent: coding, needs: [review], if: always() }\n",
    )
    await shop(town, CART)
    await town.configure(endless)
    line = {"purpose": "coding", "turn": 1}
    town.model.script(
        *(
            {
                **line,
                "contains": [f"attempt-{number - 1}"] if number else [],
                "replies": [{"calls": [create(f"shop/attempt-{number}.txt", f"{number}\n")]}],
            }
            for number in reversed(range(12))
        ),
        codes()[-1],
        answers(finding()),
    )
    pull = await town.reviewed_pull_request()
    depths = sorted(run.trigger.provenance.depth for run in await town.runs())
    assert len(pull.heads) == 1 + max(depths)
    last = town.step(pull.head_sha, "fix")
    assert "of Conductor's own actions in a row" in f"{last.title} {last.summary}"


async def test_nothing_is_pushed_to_a_fork(town: Town) -> None:
    await shop(town, CART)
    mallory = town.github.create_user("mallory")
    town.github.set_role(town.repo, mallory, "read")
    town.model.script(*FIXES, FINDS, answers())
    fork = await town.github.fork(town.repo, mallory)
    pull = await town.reviewed_pull_request(by=mallory, source=fork)
    head, asked = pull.head_sha, len(town.model.requests)
    await town.say(pull, "/conductor fix")
    await town.say(pull, "/conductor approve")
    assert pull.head_sha == head
    assert town.pull_requests() == []
    check = town.step(head, "fix")
    assert check.title == (
        "Could not, because the pull request comes from a fork, to which Conductor does not push"
    )
    assert all(request.purpose != "coding" for request in town.model.requests[asked:])


async def test_tests_that_still_fail_are_the_reason_why_nothing_is_committed(town: Town) -> None:
    head = await shop(town)
    worse = edit("shop/cart.py", "/ len(prices)", "/ 0")
    town.model.script(*codes(worse), answers())
    town.github.open_issue(town.repo, town.ada, "Empty carts crash", "", ["conductor"])
    await town.settled()
    check = town.step(head, "fix")
    assert (check.conclusion, check.title) == (
        "neutral",
        "Could not, because the tests still fail (`python3 -m unittest -v` exited with 1)",
    )
    assert town.pull_requests() == []


async def test_a_person_who_pushes_meanwhile_wins(town: Town) -> None:
    pull = await reviewed(town)
    town.model.hold()
    asked = town.comment(pull, "/conductor fix")
    await town.until(lambda: town.model.asked, "the model works on it")
    mine = await town.push({"shop/cart.py": CART + "\n# By hand.\n"})
    town.model.release()
    await town.settled()
    assert pull.head_sha == mine
    assert "Not published: The commit is no longer the head." in str(
        town.step(pull.heads[0], "fix").title
    )
    assert town.reactions(asked) == ["eyes", "rocket"]
