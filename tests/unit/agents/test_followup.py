"""A finding is the same one after pushes, rebases and rewording, and is answered when mended."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.markers import find_findings
from bot.github.markers import finding as finding_marker
from pipelines.agents.review.identity import Anchor, digests, fingerprint, scope_digest
from pipelines.model import Actor, Conclusion, Finding, PriorFinding, Severity, TaskResult
from tests.support.models import ScriptedModel, findings, proposal
from tests.unit.agents.material import (
    Tree,
    TreeReader,
    answered,
    as_prior,
    change,
    posted,
    review,
    review_task,
)

BASE = {"a.py": "def mean(items):\n    return 0\n"}
FIRST = {"a.py": "def mean(items):\n    return sum(items) / len(items)\n"}
FIXED = {"a.py": "def mean(items):\n    return sum(items) / max(1, len(items))\n"}
BUG = proposal("a.py", 2, "    return sum(items) / len(items)")
EVE = Actor(id=9, login="eve")


async def second_push(
    head: Tree,
    answer: dict[str, object] | None,
    *priors: PriorFinding,
    base: Tree = BASE,
    block_on: str | None = None,
) -> TaskResult:
    """Review another head after a review that posted these findings."""
    model = ScriptedModel(findings(answer) if answer else findings())
    task = review_task(change(prior_findings=priors), options={"block_on": block_on})
    return await review(TreeReader(base, head), model, task)


async def first_finding() -> Finding:
    (finding,) = posted(await second_push(FIRST, BUG))
    return finding


async def test_an_unchanged_finding_is_not_repeated_but_still_counts() -> None:
    prior = as_prior(await first_finding())
    result = await second_push(FIRST, BUG, prior, block_on="high")
    assert result.effects == ()
    assert [finding.fingerprint for finding in result.findings] == [prior.fingerprint]
    assert result.conclusion is Conclusion.FAILURE
    assert result.outputs == {"new": 0, "open": 1, "fixed": 0, "dropped": 0, "findings": []}


async def test_other_words_category_and_severity_do_not_make_it_another_finding() -> None:
    prior = as_prior(await first_finding())
    reworded = {**BUG, "title": "Oh no", "category": "error-handling", "severity": "low"}
    result = await second_push(FIRST, reworded, prior, block_on="high")
    assert result.effects == ()
    assert [finding.severity for finding in result.findings] == [Severity.HIGH]
    assert result.conclusion is Conclusion.FAILURE


async def test_a_longer_quote_of_the_same_line_is_the_same_finding() -> None:
    prior = as_prior(await first_finding())
    longer = {**BUG, "line": 1, "quote": "def mean(items):\n    return sum(items) / len(items)"}
    assert (await second_push(FIRST, longer, prior)).effects == ()


async def test_a_finding_whose_code_is_gone_is_answered_with_the_commit() -> None:
    prior = as_prior(await first_finding())
    result = await second_push(FIXED, None, prior, block_on="high")
    (effect,) = result.effects
    assert effect.kind == "answer_finding"
    assert (effect.thread_id, effect.comment_id) == ("t1", 100)
    assert effect.fixed_in == "a" * 40
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "0 new findings, 1 fixed"


async def test_a_finding_that_the_model_forgot_stays_open_and_blocks() -> None:
    prior = as_prior(await first_finding())
    result = await second_push(FIRST, None, prior, block_on="high")
    assert result.effects == ()
    assert result.conclusion is Conclusion.FAILURE
    assert result.title == "1 finding at or above high"


async def test_code_that_changed_but_was_not_examined_again_is_not_called_fixed() -> None:
    prior = as_prior(await first_finding())
    task = review_task(change(prior_findings=(prior,)))
    result = await review(TreeReader(BASE, FIXED), ScriptedModel(("", "refusal")), task)
    assert result.effects == ()
    assert result.conclusion is Conclusion.NEUTRAL


async def test_a_finding_is_fixed_when_its_file_is_gone_or_as_it_was() -> None:
    prior = as_prior(await first_finding())
    assert answered(await second_push({}, None, prior)) == ["t1"]
    assert answered(await second_push(BASE, None, prior)) == ["t1"]


async def test_a_finding_that_has_no_thread_vanishes_without_an_answer() -> None:
    prior = as_prior(await first_finding(), comment_id=0)
    result = await second_push(FIXED, None, prior, block_on="high")
    assert result.effects == ()
    assert result.title == "No findings"
    assert (await second_push(FIRST, BUG, prior)).effects == ()


async def test_a_finding_moves_with_its_code_to_another_file() -> None:
    prior = as_prior(await first_finding())
    moved = await second_push({"b.py": FIRST["a.py"]}, None, prior, block_on="high")
    assert answered(moved) == []
    assert moved.conclusion is Conclusion.FAILURE


async def test_what_a_person_resolved_stays_dismissed() -> None:
    prior = as_prior(await first_finding(), resolved=True, resolved_by=EVE)
    result = await second_push(FIRST, BUG, prior, block_on="high")
    assert result.effects == ()
    assert result.findings == ()
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "0 new findings, 1 dismissed"
    assert answered(await second_push(FIXED, None, prior)) == []


async def test_what_was_answered_as_fixed_and_comes_back_is_new_again() -> None:
    prior = as_prior(await first_finding(), answered=True, resolved=True)
    assert len(posted(await second_push(FIRST, BUG, prior))) == 1
    assert answered(await second_push(FIXED, None, prior)) == []


async def test_a_second_problem_on_the_same_line_is_still_posted() -> None:
    prior = as_prior(await first_finding())
    other = {**BUG, "category": "performance", "title": "Slow"}
    model = ScriptedModel(findings(BUG, other))
    task = review_task(change(prior_findings=(prior,)))
    result = await review(TreeReader(BASE, FIRST), model, task)
    assert [finding.category for finding in posted(result)] == ["performance"]


async def test_a_finding_on_removed_lines_is_fixed_when_they_are_back() -> None:
    base = {"a.py": "def f(x):\n    check(x)\n    return x\n"}
    head = {"a.py": "def f(x):\n    return x\n"}
    bug = proposal("a.py", 2, "    check(x)", side="old")
    (finding,) = posted(await second_push(head, bug, base=base))
    prior = as_prior(finding)
    assert answered(await second_push(head, None, prior, base=base)) == []
    restored = {"a.py": "def f(x):\n    check(x)\n    return x + 1\n"}
    assert answered(await second_push(restored, None, prior, base=base)) == ["t1"]


@pytest.mark.parametrize(
    "anchor", ["", "high", "nonsense", "high.xyz", "high.1234567g", "..", "HIGH", "high.in12"]
)
async def test_without_a_readable_anchor_nothing_is_claimed_to_be_fixed(anchor: str) -> None:
    prior = as_prior(await first_finding(), anchor=anchor)
    assert answered(await second_push(FIXED, None, prior)) == []
    assert (await second_push(FIRST, BUG, prior)).effects == ()


async def test_a_file_that_cannot_be_read_now_keeps_its_findings_open() -> None:
    prior = as_prior(await first_finding())
    reader = TreeReader(BASE, FIXED)
    reader.unreadable = {"a.py": "too large"}
    task = review_task(change(prior_findings=(prior,)))
    assert answered(await review(reader, ScriptedModel(), task)) == []


async def test_a_secret_that_was_taken_out_is_answered_and_one_left_in_is_not_repeated() -> None:
    key = "ghp_" + "aB3" * 12
    head = {"a.py": f"token = '{key}'\n"}
    (finding,) = posted(await second_push(head, None, base={}))
    assert key not in finding.model_dump_json()
    prior = as_prior(finding)
    assert (await second_push(head, None, prior, base={})).effects == ()
    clean = {"a.py": "import os\ntoken = os.environ['TOKEN']\n"}
    assert answered(await second_push(clean, None, prior, base={})) == ["t1"]


# --- identity ------------------------------------------------------------------------------------

CODE = ["total = sum(items)", "return total / len(items)"]
fillers = st.lists(st.sampled_from(["a = 1", "b = 2", "", "# note", "c = [3]"]), max_size=8)


def function(name: str, body: list[str], indent: str = "    ") -> list[str]:
    return [f"def {name}(items):", *(indent + line if line else "" for line in body)]


@given(fillers, fillers, fillers, st.sampled_from(["  ", "    ", "\t"]), st.booleans())
async def test_identity_survives_moves_and_changes_elsewhere(
    above: list[str], before: list[str], after: list[str], indent: str, wrapped: bool
) -> None:
    first = await found_in(function("mean", ["x = 0", *CODE, "done()"]))
    body = [*before, *CODE, *after]
    lines = [*above, *function("mean", body, indent)]
    if wrapped:
        lines = ["if True:", *("    " + line for line in lines or ["pass"])]
    again = await found_in(lines)
    assert again.fingerprint == first.fingerprint
    assert Anchor.parse(again.anchor).lines == Anchor.parse(first.anchor).lines


@given(st.sampled_from(["average", "other"]), fillers)
async def test_the_anchor_survives_renaming_the_function(name: str, before: list[str]) -> None:
    first = await found_in(function("mean", CODE))
    renamed = await found_in(function(name, [*before, *CODE]))
    assert renamed.fingerprint != first.fingerprint
    assert Anchor.parse(renamed.anchor).lines == Anchor.parse(first.anchor).lines


async def found_in(lines: list[str]) -> Finding:
    """The finding on the two lines of code, wherever they are."""
    text = "\n".join(lines) + "\n"
    start = next(n for n, line in enumerate(lines, 1) if line.strip() == CODE[0])
    bug = proposal("a.py", start, "\n".join(lines[start - 1 : start + 1]))
    result = await review(TreeReader({}, {"a.py": text}), ScriptedModel(findings(bug)))
    (finding,) = posted(result)
    return finding


def test_path_symbol_category_and_code_each_make_another_fingerprint() -> None:
    prints = {
        fingerprint("a.py", "f", "security", ["x = 1"]),
        fingerprint("b.py", "f", "security", ["x = 1"]),
        fingerprint("a.py", "g", "security", ["x = 1"]),
        fingerprint("a.py", "f", "testing", ["x = 1"]),
        fingerprint("a.py", "f", "security", ["x = 2"]),
        fingerprint("a.py", "f", "security", ["x", "= 1"]),
    }
    assert len(prints) == 6
    assert all(len(text) == 16 for text in prints)


@given(
    st.sampled_from(Severity),
    st.lists(st.text(max_size=9), max_size=20),
    st.booleans(),
    st.sampled_from(["", scope_digest(["x = 1"])]),
)
def test_an_anchor_is_one_word_and_is_read_back(
    severity: Severity, lines: list[str], left: bool, scope: str
) -> None:
    anchor = Anchor.of(severity, lines, "LEFT" if left else "RIGHT", scope)
    assert Anchor.parse(str(anchor)) == anchor
    assert not set(str(anchor)) - set("abcdefghijklmnopqrstuvwxyz0123456789.")
    assert len(str(anchor)) <= 150
    assert find_findings(finding_marker("f", str(anchor)))[0].anchor == str(anchor)


def test_an_anchor_without_the_code_around_it_is_still_read() -> None:
    assert Anchor.parse("high.1a2b3c4d") == Anchor(Severity.HIGH, ("1a2b3c4d",))
    assert Anchor.parse("low.left.1a2b3c4d") == Anchor(Severity.LOW, ("1a2b3c4d",), "LEFT")


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.data())
def test_an_anchor_stands_exactly_where_its_lines_follow_one_another(
    file: list[str], data: st.DataObject
) -> None:
    quoted = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
    anchor = Anchor.of(Severity.LOW, quoted)
    assert anchor.stands_in(digests(file)) == ("".join(quoted) in "".join(file))


STATES = {"absent": (), "harmful": ("def f():",), "guarded": ("def f():", "    assert ready()")}


async def test_over_many_pushes_every_finding_is_posted_once_and_answered_once() -> None:
    rng = random.Random(11)
    open_bugs: dict[str, PriorFinding] = {}
    bugs = dict.fromkeys((f"bug_{n}()" for n in range(8)), "absent")
    for push in range(80):
        bug = rng.choice(list(bugs))
        bugs[bug] = rng.choice([state for state in STATES if state != bugs[bug]])
        parts = [[f"filler_{rng.randrange(99)}()"] for _ in range(rng.randrange(6))]
        parts += [[*STATES[state], f"    {bug}"] for bug, state in bugs.items() if STATES[state]]
        rng.shuffle(parts)
        rows = ["start()", *(row for part in parts for row in part)]
        head = {"a.py": "".join(f"{row}\n" for row in rows)}
        present = {bug for bug, state in bugs.items() if state == "harmful"}
        noticed = [f"    {bug}" for bug in sorted(present) if rng.random() < 0.8]
        answer = findings(*(proposal("a.py", rows.index(row) + 1, row) for row in noticed))
        task = review_task(change(prior_findings=tuple(open_bugs.values())))
        result = await review(TreeReader({}, head), ScriptedModel(answer), task)
        for finding in posted(result):
            bug = finding.quote.strip()
            assert bug not in open_bugs
            open_bugs[bug] = as_prior(finding, thread=f"{push}/{bug}")
        for thread in answered(result):
            bug = thread.partition("/")[2]
            assert bug not in present
            del open_bugs[bug]
        assert {row.strip() for row in noticed} <= set(open_bugs) <= present
