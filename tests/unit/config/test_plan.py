"""From a file to the steps of a run, and what another version of it would change."""

from pipelines.config.compare import compare
from pipelines.config.loader import default_file, load
from pipelines.config.plan import environments_of, group_of, steps_of
from pipelines.config.schema import ConductorFile
from pipelines.config.steps import MonitorOptions, ReviewOptions
from pipelines.model import Severity
from tests.unit.config.test_matching import pull_request, push

TEXT = """\
version: 1
models: { default: [openai:a], review: [anthropic:b, openai:c] }
environments: { staging: { target: docker } }
workflows:
  w:
    on: { push: }
    steps:
      review: { agent: review, block_on: high, timeout: 90s, retries: 0 }
      data: { agent: test-data, if: "changed('db/**')" }
      fix: { agent: coding, needs: [review], models: [openai:d] }
      watch: { agent: monitor, needs: [fix], for: 1h, rules: [{ name: n, query: q, above: 1 }] }
"""


def parsed(text: str) -> ConductorFile:
    loaded = load(text)
    assert loaded.file is not None, loaded.diagnostics
    return loaded.file


def test_a_plan_has_every_step_with_all_it_needs_to_run() -> None:
    file = parsed(TEXT)
    review, data, fix, watch = steps_of(file.workflows["w"], file)
    assert (review.agent, review.timeout_seconds, review.retries) == ("review", 90, 0)
    assert review.models == ("anthropic:b", "openai:c")
    assert review.options == {"block_on": "high"}
    assert (data.agent, data.condition) == ("test-data", "changed('db/**')")
    assert data.options == {"commit": False, "records": 20}
    assert data.models == ("openai:a",)
    assert (fix.needs, fix.models, fix.timeout_seconds) == (("review",), ("openai:d",), 1800)
    assert watch.options["for"] == 3600
    assert watch.timeout_seconds == 3900


def test_without_a_chain_the_choice_is_the_operators() -> None:
    file = default_file()
    (step,) = steps_of(file.workflows["pull-request"], file)
    assert step.models == ()
    assert step.timeout_seconds == 900


def test_an_agent_reads_its_options_back() -> None:
    file = parsed(TEXT)
    review, _, _, watch = steps_of(file.workflows["w"], file)
    assert ReviewOptions.model_validate(review.options).block_on is Severity.HIGH
    options = MonitorOptions.model_validate(watch.options)
    assert (options.for_, options.rules[0].above) == (3600, 1)


def test_runs_of_one_workflow_for_one_subject_share_a_group() -> None:
    assert group_of("w", pull_request()) == group_of("w", pull_request("synchronize")) == "w/pr/7"
    assert group_of("v", pull_request()) != group_of("w", pull_request())
    assert group_of("w", push("refs/heads/main")) == "w/ref/refs/heads/main"


def test_a_new_version_is_compared_part_by_part() -> None:
    head = TEXT.replace("block_on: high, ", "").replace("data: {", "more: {")
    head = head.replace("target: docker", "target: mock")
    comparison = compare(load(TEXT), load(head))
    assert not comparison.diagnostics
    assert [(d.kind, d.place, d.keys) for d in comparison.differences] == [
        ("changed", "environments.staging", ("target",)),
        ("changed", "workflows.w.steps.review", ("block_on",)),
        ("added", "workflows.w.steps.more", ()),
        ("removed", "workflows.w.steps.data", ()),
    ]


def test_a_version_that_means_the_same_has_no_differences() -> None:
    assert compare(load(TEXT), load(TEXT.replace("1h", "60m") + "# more\n")).differences == ()


def test_a_first_file_is_compared_with_the_default() -> None:
    places = {d.place: d.kind for d in compare(None, load(TEXT)).differences}
    assert places["workflows.pull-request"] == "removed"
    assert places["workflows.w"] == "added"


def test_environments_are_pinned_with_what_they_are_by_default() -> None:
    text = TEXT.replace(
        "environments: { staging: { target: docker } }",
        "environments: { staging: { target: docker, rollout: 90s, metrics: /metrics },"
        " Production: { target: mock, approval: 1, health: null,"
        " freeze: ['Fri 16:00 - Mon 08:00 Europe/Berlin'] } }",
    )
    staging, production = environments_of(parsed(text))
    assert (staging.name, staging.target, staging.rollout_seconds) == ("staging", "docker", 90)
    assert (staging.production, staging.health, staging.metrics) == (False, "/healthz", "/metrics")
    assert (production.production, production.health, production.approval) == (True, None, 1)
    assert production.freeze[0].zone == "Europe/Berlin"
