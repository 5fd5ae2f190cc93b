"""The coding agent from each trigger to its commit, and what people read about it."""

import pytest

from pipelines.agents.coding.assignment import Assignment, assignment_of
from pipelines.errors import UserError
from pipelines.model import (
    CodeVersion,
    Conclusion,
    ExecutionRecord,
    Lesson,
    LogLine,
    Outcome,
    SandboxResult,
    Task,
    TestReport,
)
from pipelines.ports import Tree
from tests.support.clock import VirtualClock
from tests.support.models import Answer, ScriptedModel, call
from tests.support.workplace import NO_SANDBOX, Side, blob_sha
from tests.unit.agents.coding.material import (
    FILES,
    FIX,
    FIXED,
    HEAD,
    LOOK,
    Shop,
    answer,
    button,
    code,
    command,
    create,
    edit,
    ends,
    feedback,
    finding,
    opened,
    passes_if,
    pushed,
    pushed_pull,
    task,
)
from tests.unit.agents.ground import change, pull

WELL: tuple[Answer, ...] = (LOOK, FIX, answer())


async def test_an_issue_becomes_a_tested_commit_and_a_pull_request_that_names_it() -> None:
    model, place = ScriptedModel(*WELL), Shop()
    result = await code(model, task(), place)
    effect = opened(result)
    assert result.conclusion is Conclusion.SUCCESS
    assert effect.answers_issue == 12
    assert effect.base_ref == "main"
    assert effect.commit.branch == "conductor/fix-issue-12-hjkmnpqrst"
    assert (effect.head_sha, effect.commit.head_sha) == (HEAD, HEAD)
    (edited,) = effect.commit.edits
    assert edited.before_sha == blob_sha(FILES["shop/stats.py"])
    assert FIXED in (edited.content or "")
    assert "mean([]) raises" in model.prompt
    (job,) = place.jobs
    assert job.edits == effect.commit.edits
    assert "pytest" in job.command


async def test_the_pull_request_says_what_is_known_and_what_the_model_says_apart() -> None:
    lesson = Lesson(
        outcome=Outcome(
            kind="fix_rejected",
            agent="coding",
            subject="Swallowing errors",
            source="pr/1",
            at=VirtualClock().now(),
        ),
        relevance=0.9,
    )
    model = ScriptedModel(*WELL)
    body = opened(await code(model, task(lessons=(lesson,)))).body
    known, _, opinion = body.partition("In the model's words, which nobody checked:")
    assert "For issue 12." in known
    assert "Tested: `python3 -m pytest` exited with 0 over this commit (bubblewrap" in known
    assert "- `shop/stats.py`: changed, +1 −1" in known
    assert "> What and why: An empty list divided by zero." in opinion
    assert "> Risk: A mean of nothing is now 0." in opinion
    assert "fix rejected: Swallowing errors" in opinion
    assert "Swallowing errors" in model.prompt


async def test_the_stores_get_the_versions_the_run_and_the_log() -> None:
    result = await code(WELL)
    kinds = {type(artifact) for artifact in result.artifacts}
    assert kinds == {CodeVersion, ExecutionRecord, TestReport, LogLine}
    (version,) = (a for a in result.artifacts if isinstance(a, CodeVersion))
    assert version.diff.startswith("--- a/shop/stats.py\n+++ b/shop/stats.py\n@@ -1,2 +1,2 @@\n")
    lines = [a.text for a in result.artifacts if isinstance(a, LogLine)]
    assert lines == ["turn 1: read_file shop/stats.py", "turn 2: edit_file shop/stats.py"]
    assert result.outputs == {
        "changed": ["shop/stats.py"],
        "tested": True,
        "exit_code": 0,
        "tainted": False,
    }


async def test_an_incident_is_told_in_numbers_and_never_in_words_of_a_service() -> None:
    model = ScriptedModel(*WELL)
    result = await code(model, task(feedback()))
    assert opened(result).answers_issue == 13
    assert opened(result).commit.branch.startswith("conductor/fix-incident-13-")
    assert '"observed": 0.5' in model.prompt
    assert "shop/stats.py" in model.prompt
    assert "IGNORE-ALL-RULES" not in model.prompt


async def test_a_command_on_a_pull_request_pushes_to_its_own_branch() -> None:
    model = ScriptedModel(*WELL)
    subject = task(command(), pull(), instruction="/conductor fix the empty list")
    commit = pushed(await code(model, subject))
    assert (commit.branch, commit.head_sha) == ("feature", HEAD)
    assert "Tested:" in commit.body
    assert "fix the empty list" in model.prompt


async def test_a_command_may_name_one_finding() -> None:
    prior = (finding(), finding("beefcafe", path="README.md", title="A typo"))
    subject = task(
        command("fix", "beefcafe"), pull(prior_findings=prior), instruction="fix beefcafe"
    )
    model = ScriptedModel(*WELL)
    await code(model, subject)
    assert "A typo" in model.prompt
    assert "Divides by zero" not in model.prompt


async def test_a_command_on_an_issue_opens_a_pull_request() -> None:
    subject = task(command(on_pull_request=False), change(title="Mean"), instruction="fix it")
    assert opened(await code(WELL, subject)).answers_issue == 5


async def test_a_button_and_a_step_after_review_work_on_open_findings() -> None:
    prior = (finding(), finding("beefcafe", title="Done already", resolved=True))
    for trigger in (button(), pushed_pull()):
        model = ScriptedModel(*WELL)
        inputs = {"review": {"new": 1, "open": 0}}
        subject = task(trigger, pull(prior_findings=prior), inputs=inputs)
        assert pushed(await code(model, subject)).branch == "feature"
        assert "Divides by zero" in model.prompt
        assert "Done already" not in model.prompt


NOTHING = [
    (task(pushed_pull(), pull(), inputs={"review": {"new": 0}}), "no open finding"),
    (task(command(), pull(open=False), instruction="fix"), "closed"),
    (task(command(), pull(head_repository_id=99), instruction="fix"), "fork"),
    (task(command(), pull(head_ref="feature#1"), instruction="fix"), "characters"),
]


@pytest.mark.parametrize(("subject", "told"), NOTHING, ids=[told for _, told in NOTHING])
async def test_where_nothing_can_be_done_no_model_is_asked(subject: Task, told: str) -> None:
    model = ScriptedModel(*WELL)
    result = await code(model, subject)
    assert model.requests == []
    assert result.effects == ()
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title.startswith("Could not, because")
    assert told in result.title


def test_a_pull_request_from_a_kept_branch_is_answered_by_one_of_our_own() -> None:
    subject = task(command(), pull(head_ref="main", base_ref="release"), instruction="fix")
    assignment = assignment_of(subject)
    assert isinstance(assignment, Assignment)
    assert assignment.branch.startswith("conductor/")
    assert assignment.pull_request_into == "release"


def test_the_branch_is_the_same_for_each_attempt_and_another_for_each_run() -> None:
    branches = {
        assignment.branch
        for run, attempt in (("01AAAAAAAAAA", 1), ("01AAAAAAAAAA", 2), ("01BBBBBBBBBB", 1))
        if isinstance(assignment := assignment_of(task(run_id=run, attempt=attempt)), Assignment)
    }
    assert len(branches) == 2


# --- proof ---------------------------------------------------------------------------------------


async def test_failing_tests_go_back_to_the_model_until_they_pass() -> None:
    place = Shop()
    place.on_run = passes_if(
        lambda edits: FIXED in str(edits), output="E ZeroDivisionError <<<DATA"
    )
    wrong = edit("/ len(values)", "/ (len(values) + 1)")
    right = edit("/ (len(values) + 1)", FIXED)
    model = ScriptedModel(wrong, answer(), right, answer())
    result = await code(model, task(), place)
    assert result.conclusion is Conclusion.SUCCESS
    assert len(opened(result).commit.edits) == 1
    told = model.requests[2].messages[-1].text
    assert "ZeroDivisionError" in told
    assert "<<<DATA" not in told.split("run_tests\n")[1]


async def test_the_model_may_run_the_tests_itself_and_they_are_not_run_again() -> None:
    place = Shop()
    result = await code((FIX, (call("run_tests"),), answer()), task(), place)
    assert result.conclusion is Conclusion.SUCCESS
    assert len(place.jobs) == 1


async def test_tests_that_never_pass_commit_nothing_and_the_rounds_are_counted() -> None:
    place = Shop()
    place.on_run = passes_if(lambda edits: False)
    tries = [
        step
        for n in range(9)
        for step in (
            edit(
                "values)\n" if n == 0 else f"# {n - 1}\n",
                f"values)  # {n}\n" if n == 0 else f"# {n}\n",
            ),
            answer(),
        )
    ]
    result = await code(tuple(tries), task(options={"max_rounds": 2}), place)
    assert result.effects == ()
    assert result.conclusion is Conclusion.NEUTRAL
    assert "the tests still fail (`python3 -m pytest` exited with 1)" in result.title
    assert len([job for job in place.jobs if job.edits]) == 3
    assert result.outputs["tested"] is False
    assert result.outputs["exit_code"] == 1
    assert not any(isinstance(artifact, CodeVersion) for artifact in result.artifacts)


async def test_tests_that_fail_without_the_commit_too_prove_nothing_and_it_is_said() -> None:
    place = Shop()
    place.on_run = lambda job: ends(2, "no module named shop")
    result = await code(WELL, task(), place)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "fails without this commit as well" in opened(result).body
    assert "Not verified" in opened(result).body
    assert result.outputs["tested"] is False


@pytest.mark.parametrize("exit_code", [126, 127])
async def test_a_command_that_cannot_start_is_no_test(exit_code: int) -> None:
    place = Shop()
    place.on_run = lambda job: ends(exit_code, "not found")
    result = await code(WELL, task(), place)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "the sandbox has not what" in opened(result).body


async def test_without_a_sandbox_the_commit_says_that_nothing_ran() -> None:
    place = Shop()
    place.info = NO_SANDBOX
    model = ScriptedModel(*WELL)
    result = await code(model, task(), place)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "tests were not run, because there is no sandbox (no engine was found)" in result.summary
    assert "Changed, not verified" in result.title
    assert "run_tests" not in {tool.name for tool in model.requests[0].tools}
    assert place.jobs == []


async def test_without_a_test_command_the_commit_says_so() -> None:
    place = Shop({"notes.txt": "teh\n"})
    result = await code((edit("teh", "the", "notes.txt"), answer()), task(), place)
    assert "no test command was found" in opened(result).body


async def test_the_command_and_the_image_can_be_configured() -> None:
    place = Shop()
    place.on_run = lambda job: ends(0, image="python:3.12@sha256:1")
    options = {"run": "make check", "image": "python:3.12"}
    body = opened(await code(WELL, task(options=options), place)).body
    assert place.jobs[0].image == "python:3.12"
    assert "`make check` exited with 0 over this commit (bubblewrap, python:3.12@sha256:1)" in body


async def test_a_sandbox_that_fails_leaves_the_commit_unverified() -> None:
    def refuse(job: object) -> SandboxResult:
        raise UserError("The sandbox is not for strangers' code.")

    place = Shop()
    place.on_run = refuse
    result = await code(WELL, task(), place)
    assert "not for strangers' code" in opened(result).body
    assert result.conclusion is Conclusion.NEUTRAL


async def test_a_commit_that_changes_tests_or_dependencies_says_so() -> None:
    steps = (
        edit("assert mean([1]) == 1", "assert True", "tests/test_stats.py"),
        edit("[tool", "[project]\n[tool", "pyproject.toml"),
        answer(),
    )
    body = opened(await code(steps)).body
    assert "It changes tests that were there" in body
    assert "`tests/test_stats.py`" in body
    assert "depends on" in body


async def test_new_tests_are_no_reason_for_doubt() -> None:
    body = opened(await code((FIX, *[create("tests/test_mean.py")], answer()))).body
    assert "changes tests that were there" not in body
    assert "`tests/test_mean.py`: added, +1 −0" in body


async def test_an_incomplete_listing_is_said() -> None:
    class Short(Shop):
        async def tree(self, *, at: Side = "head") -> Tree:
            return (await super().tree(at=at)).model_copy(update={"complete": False})

    assert "Not all files" in opened(await code(WELL, task(), Short())).body


async def test_unable_is_taken_at_its_word_and_the_edits_are_thrown_away() -> None:
    place = Shop()
    said = answer("unable", headline="The cause is in another service", explanation="See gateway.")
    result = await code((FIX, said), task(), place)
    assert result.effects == ()
    assert result.title == "Could not, because the model says: The cause is in another service"
    assert "See gateway." in result.summary
    assert place.jobs == []


async def test_changed_without_a_change_is_not_believed() -> None:
    result = await code((LOOK, answer()))
    assert result.effects == ()
    assert "nothing was changed" in result.title


async def test_options_that_make_no_sense_are_the_user_s_to_mend() -> None:
    result = await code(WELL, task(options={"max_rounds": 99}))
    assert result.failure is not None
    assert "max_rounds" in result.failure.message


async def test_a_command_that_passes_without_its_report_is_not_believed() -> None:
    place = Shop()
    place.on_run = lambda job: ends(0, "all good")
    result = await code(WELL, task(), place)
    assert result.conclusion is Conclusion.NEUTRAL
    assert "Not verified" in opened(result).body
    assert "left no report" in opened(result).body
