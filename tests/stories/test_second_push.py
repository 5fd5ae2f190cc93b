"""What a second push makes of the first review: fixed, dismissed, unchanged, back again."""

from tests.support.town import Town
from tests.support.town_model import BROKEN_CART, FIXED_CART, answers, finding

SEEN = answers(finding(), contains=["+     return sum(prices) / len(prices)"])


async def test_what_was_not_touched_is_not_repeated(town: Town) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    await town.push({"README.md": "# The shop\n"})
    await town.settled()
    assert len(town.reviews(pull)) == len(pull.threads) == 1
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("neutral", "0 new findings, 1 still open")


async def test_what_moved_to_other_lines_is_still_the_same_finding(town: Town) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    town.model.finds(finding(line=8))
    await town.push({"shop/cart.py": '"""A cart."""\n\n' + BROKEN_CART})
    await town.settled()
    assert len(pull.threads) == 1
    assert town.check(pull).title == "0 new findings, 1 still open"


async def test_what_was_fixed_is_answered_and_its_thread_resolved(town: Town) -> None:
    town.model.script(SEEN, answers())
    pull = await town.reviewed_pull_request()
    await town.push({"shop/cart.py": FIXED_CART})
    await town.settled()
    (thread,) = pull.threads
    said = [town.shown(comment.body, pull) for comment in thread.comments]
    assert said[1:] == ["Fixed in COMMIT-2.\n"]
    assert thread.resolved_by is town.app.app.bot
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("success", "0 new findings, 1 fixed")


async def test_what_a_person_resolved_stays_dismissed(town: Town) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    town.github.resolve_thread(town.repo, pull, pull.threads[0], town.ada)
    await town.push({"README.md": "# The shop\n"})
    await town.settled()
    assert len(town.reviews(pull)) == len(pull.threads) == 1
    check = town.check(pull)
    assert (check.conclusion, check.title) == ("success", "0 new findings, 1 dismissed")


async def test_what_was_dismissed_by_command_stays_dismissed(town: Town) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    name = pull.threads[0].first.body.split("conductor:finding ")[1].split()[0]
    asked = await town.say(pull, f"/conductor dismiss {name} carts are never empty")
    assert town.reactions(asked) == ["eyes", "rocket"]
    assert town.answers(pull) == [
        "Dismissed `The average of an empty cart divides by zero`. Later reviews leave it out.\n"
    ]
    await town.push({"README.md": "# The shop\n"})
    await town.settled()
    assert len(pull.threads) == 1
    assert town.check(pull).title == "0 new findings, 1 dismissed"


async def test_what_was_fixed_and_came_back_is_said_again(town: Town) -> None:
    town.model.script(SEEN, answers())
    pull = await town.reviewed_pull_request()
    await town.push({"shop/cart.py": FIXED_CART})
    await town.settled()
    await town.push({"shop/cart.py": BROKEN_CART})
    await town.settled()
    assert len(pull.threads) == 2
    assert town.check(pull).title == "1 new finding (1 high)"


async def test_a_rebase_keeps_findings_what_they_are(town: Town) -> None:
    town.model.script(SEEN)
    pull = await town.reviewed_pull_request()
    base = await town.push({"README.md": "# The shop\n"}, "main")
    await town.push({"shop/cart.py": BROKEN_CART}, parent=base, message="The same again")
    await town.settled()
    assert len(pull.threads) == 1
    assert town.check(pull).title == "0 new findings, 1 still open"


async def test_a_guard_before_the_line_is_a_fix_too(town: Town) -> None:
    guard = "    if not prices:\n        return 0\n"
    town.model.script(
        answers(finding(), contains=["return sum(prices) / len(prices)"], lacks=["if not prices"]),
        answers(),
    )
    pull = await town.reviewed_pull_request()
    line = "    return sum(prices) / len(prices)"
    await town.push({"shop/cart.py": BROKEN_CART.replace(line, guard + line)})
    await town.settled()
    (thread,) = pull.threads
    assert [town.shown(one.body, pull) for one in thread.comments[1:]] == ["Fixed in COMMIT-2.\n"]
    assert thread.resolved_by is town.app.app.bot
    assert town.check(pull).title == "0 new findings, 1 fixed"
