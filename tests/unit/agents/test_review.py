"""One review, from the listing to the proposed effects."""

import pytest

from pipelines.model import Conclusion, Severity
from tests.support.models import ScriptedModel, findings, proposal
from tests.unit.agents.material import TreeReader, change, posted, review, review_task

OLD = """import os


def mean(items):
    return 0


def other():
    pass
"""
NEW = OLD.replace("    return 0\n", "    total = sum(items)\n    return total / len(items)\n")
BUG = proposal(
    "src/stats.py",
    6,
    "    return total / len(items)",
    suggestion="    return total / len(items) if items else 0",
)


def reader() -> TreeReader:
    return TreeReader({"src/stats.py": OLD}, {"src/stats.py": NEW})


async def test_a_verified_finding_becomes_one_review_at_the_head_commit() -> None:
    result = await review(reader(), ScriptedModel(findings(BUG)))
    (finding,) = posted(result)
    assert (finding.path, finding.start_line, finding.line) == ("src/stats.py", 6, 6)
    assert finding.in_diff
    assert finding.suggestion == "    return total / len(items) if items else 0"
    assert finding.quote == "    return total / len(items)"
    assert result.effects[0].key == f"review/5/{'a' * 40}"
    assert result.conclusion is Conclusion.NEUTRAL
    assert result.title == "1 new finding (1 high)"
    assert result.usage.calls == 1
    assert result.coverage.seen == ("src/stats.py",)


async def test_nothing_found_is_success_without_a_review() -> None:
    result = await review(reader(), ScriptedModel(findings()))
    assert result.effects == ()
    assert result.conclusion is Conclusion.SUCCESS
    assert result.title == "No findings"
    assert result.summary == "No findings."


@pytest.mark.parametrize(
    ("block_on", "conclusion"),
    [("critical", "neutral"), ("high", "failure"), ("low", "failure"), (None, "neutral")],
)
async def test_findings_block_from_the_configured_severity_on(
    block_on: str | None, conclusion: str
) -> None:
    task = review_task(options={"block_on": block_on})
    result = await review(reader(), ScriptedModel(findings(BUG)), task)
    assert result.conclusion == conclusion


async def test_a_push_gets_findings_but_no_review() -> None:
    task = review_task(change(number=None))
    result = await review(reader(), ScriptedModel(findings(BUG)), task)
    assert result.effects == ()
    assert [finding.severity for finding in result.findings] == [Severity.HIGH]


async def test_a_review_takes_two_reads_and_one_model_call() -> None:
    source = reader()
    model = ScriptedModel(findings(BUG))
    await review(source, model)
    assert source.calls == 2
    assert len(model.requests) == 1


async def test_later_steps_are_told_the_new_findings() -> None:
    trees = TreeReader({"a.py": "x = 1\n"}, {"a.py": "x = 1\ny = x / 0\n"})
    result = await review(trees, ScriptedModel(findings(proposal("a.py", 2, "y = x / 0"))))
    assert result.outputs["findings"] == [
        {
            "path": "a.py",
            "line": 2,
            "severity": "high",
            "title": "It goes wrong",
            "explanation": "With an empty list it divides by zero.",
        }
    ]
