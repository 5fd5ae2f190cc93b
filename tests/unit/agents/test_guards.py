"""A finding mended by code around it is answered; one that a model merely forgot is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.review.identity import Anchor
from pipelines.model import Conclusion, FileStatus, PriorFinding, TaskResult
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

HARMFUL = "    return sum(items) / len(items)"
GUARD = ["    if not items:", "        return 0.0"]
MEAN = ["def mean(items):", HARMFUL]
GUARDED = [MEAN[0], *GUARD, HARMFUL]
OTHER = ["", "def other():", "    return 1"]


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def python(*lines: str) -> Tree:
    return {"a.py": text(*lines)}


def bug(lines: list[str], quote: str = HARMFUL, path: str = "a.py") -> dict[str, object]:
    return proposal(path, lines.index(quote) + 1, quote)


async def found(tree: Tree, answer: dict[str, object], base: Tree | None = None) -> PriorFinding:
    (finding,) = posted(await look(tree, findings(answer), base=base))
    return as_prior(finding)


async def look(
    tree: Tree, reply: str | None = None, *priors: PriorFinding, base: Tree | None = None
) -> TaskResult:
    """Review a head, by a model that forgets everything unless it has a reply."""
    task = review_task(change(prior_findings=priors), options={"block_on": "high"})
    return await review(TreeReader(base or {}, tree), ScriptedModel(reply or findings()), task)


async def test_a_guard_above_the_quoted_line_is_answered_as_the_fix() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    result = await look(python(*GUARDED), None, prior)
    assert answered(result) == ["t1"]
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "0 new findings, 1 fixed"


async def test_a_fix_that_was_answered_is_not_answered_again() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    done = prior.model_copy(update={"answered": True, "resolved": True})
    assert (await look(python(*GUARDED), None, done)).effects == ()


async def test_a_guard_that_does_not_help_leaves_the_finding_open() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    result = await look(python(*GUARDED), findings(bug(GUARDED)), prior)
    assert result.effects == ()
    assert result.conclusion is Conclusion.FAILURE


async def test_one_finding_on_two_alike_keeps_both_open() -> None:
    twice = [*MEAN, "", "def other(items):", HARMFUL]
    first = await look(python(*twice), findings(bug(twice), proposal("a.py", 5, HARMFUL)))
    priors = [as_prior(finding, f"t{n}") for n, finding in enumerate(posted(first))]
    both = [*GUARDED, "", "def other(items):", "    items = list(items)", HARMFUL]
    result = await look(python(*both), findings(bug(both)), *priors)
    assert len(priors) == 2
    assert answered(result) == []


@pytest.mark.parametrize(
    "head",
    [
        [*OTHER, "", *MEAN],
        ["import os", "", *MEAN, *OTHER],
        ["if True:", *(f"    {line}" for line in MEAN)],
        [MEAN[0], "", "", HARMFUL.replace("    ", "\t")],
    ],
)
async def test_a_change_elsewhere_in_the_file_or_of_its_spacing_mends_nothing(
    head: list[str],
) -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    result = await look(python(*head), None, prior)
    assert result.effects == ()
    assert result.conclusion is Conclusion.FAILURE


async def test_the_same_line_in_another_function_does_not_stand_in_for_the_guarded_one() -> None:
    twin = ["", "def other(items):", HARMFUL]
    prior = await found(python(*MEAN, *twin), bug(MEAN))
    assert answered(await look(python(*GUARDED, *twin), None, prior)) == ["t1"]
    assert answered(await look(python(*MEAN, *twin, "    # end"), None, prior)) == []


async def test_code_outside_any_definition_is_judged_by_the_lines_next_to_it() -> None:
    harmful, far = "run(1 / x)", [f"y_{n} = 1" for n in range(9)]
    prior = await found(python(*far, harmful, *far), bug([*far, harmful], harmful))
    guarded = python(*far, "assert x", harmful, *far)
    assert answered(await look(guarded, None, prior)) == ["t1"]
    elsewhere = python("z = 2", *far, harmful, *far, "z = 3")
    assert answered(await look(elsewhere, None, prior)) == []


async def test_other_languages_are_judged_by_their_indentation() -> None:
    harmful = "  return sum(items) / items.length"
    lines = ["function mean(items) {", harmful, "}"]
    prior = await found({"a.js": text(*lines)}, bug(lines, harmful, "a.js"))
    guarded = [lines[0], "  if (!items.length) return 0", harmful, "}"]
    assert answered(await look({"a.js": text(*guarded)}, None, prior)) == ["t1"]
    assert answered(await look({"a.js": text("// 1", *lines, "// 2")}, None, prior)) == []


@pytest.mark.parametrize("reply", ["{", "no JSON"])
async def test_a_guard_that_no_whole_answer_judged_is_not_called_a_fix(reply: str) -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    result = await look(python(*GUARDED), reply, prior)
    assert result.effects == ()


async def test_a_remark_that_quotes_the_file_wrongly_leaves_its_findings_open() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    misquoted = proposal("a.py", 4, "    return sum(items) // len(items)")
    result = await look(python(*GUARDED), findings(misquoted), prior)
    assert result.effects == ()
    assert result.outputs["dropped"] == 1


async def test_findings_beyond_the_fifty_listed_are_not_taken_for_fixed() -> None:
    prior = await found(python(*MEAN), {**bug(MEAN), "severity": "low"})
    noise = [f"noise_{n}()" for n in range(60)]
    head = [*GUARDED, *noise]
    worse = [bug(head, row) for row in noise]
    reply = findings(*worse, {**bug(head), "severity": "low"})
    assert answered(await look(python(*head), reply, prior)) == []


async def test_python_that_does_not_parse_shows_no_fix() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    assert answered(await look(python(*GUARDED, "def ("), None, prior)) == []
    unparsed = [*MEAN, "def ("]
    vague = await found(python(*unparsed), bug(unparsed))
    assert Anchor.parse(vague.anchor).scope == ""
    assert answered(await look(python(*GUARDED), None, vague)) == []


async def test_an_anchor_from_before_there_were_scopes_is_judged_by_its_lines_alone() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    old = prior.model_copy(update={"anchor": prior.anchor.rpartition(".in")[0]})
    assert answered(await look(python(*GUARDED), None, old)) == []
    assert answered(await look(python(MEAN[0], "    return 0"), None, old)) == ["t1"]


async def test_a_guard_around_a_secret_does_not_mend_it() -> None:
    leak = f"    token = 'ghp_{'aB3' * 12}'"
    prior = as_prior(posted(await look(python("def f():", leak)))[0])
    base = python("def f():", leak)
    head = python("def f():", "    if debug():", f"    {leak}")
    assert answered(await look(head, None, prior, base=base)) == []


async def test_a_file_that_was_only_renamed_was_not_examined() -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    task = review_task(change(prior_findings=(prior,)))
    reader = TreeReader({"b.py": text(*GUARDED)}, python(*GUARDED))
    renamed = reader.listing.files[0].model_copy(
        update={"status": FileStatus.RENAMED, "patch": None, "previous_path": "b.py"}
    )
    reader.listing = reader.listing.model_copy(update={"files": (renamed,)})
    result = await review(reader, ScriptedModel(), task)
    assert result.coverage is not None
    assert result.coverage.seen == ("a.py",)
    assert answered(result) == []


lines = st.lists(st.sampled_from(["a = 1", "", "# note", "b = [2]"]), max_size=6)


@given(lines, lines, lines, st.booleans())
async def test_only_a_change_of_the_definition_lets_a_forgetful_model_close_a_finding(
    above: list[str], below: list[str], inside: list[str], moved: bool
) -> None:
    prior = await found(python(*MEAN), bug(MEAN))
    body = [MEAN[0], *(f"    {line}" for line in inside), HARMFUL]
    head = [*OTHER, *body] if moved else body
    result = await look(python(*above, *head, "", *below), None, prior)
    assert answered(result) == (["t1"] if any(inside) else [])
