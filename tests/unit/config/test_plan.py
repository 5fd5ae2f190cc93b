"""From a file to the steps of a run, and what another version of it would change."""

from pipelines.config.compare import compare
from pipelines.config.loader import default_file, load
from pipelines.config.plan import concurrency_group_of, environments_of, group_of, steps_of
from pipelines.config.schema import ConductorFile
from pipelines.config.steps import MonitorOptions, ReviewOptions
from pipelines.model import (
    Actor,
    Change,
    CommandTrigger,
    DeploymentTrigger,
    Severity,
    Trigger,
)
from tests.support.samples import BASE, HEAD, REPOSITORY, a_change, a_trigger
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


GROUPED = """\
version: 1
environments: { staging: { target: mock }, production: { target: mock } }
workflows:
  w:
    on: { push: }
    concurrency: { group: "all/{branch}/{pull-request}/{environment}" }
    steps: { review: { agent: review } }
  ship:
    on: { push: }
    concurrency: { group: "to-{environment}", cancel-superseded: true }
    steps: { it: { agent: deploy, environment: staging } }
  plain:
    on: { push: }
    steps: { review: { agent: review } }
"""


def group(trigger: Trigger, change: Change, workflow: str = "w") -> str | None:
    return concurrency_group_of(workflow, parsed(GROUPED), trigger, change)


def deploy(*arguments: str) -> CommandTrigger:
    return CommandTrigger(
        repository=REPOSITORY,
        actor=Actor(id=1, login="ada"),
        delivery_id="d",
        number=12,
        on_pull_request=True,
        comment_id=1,
        verb="deploy",
        arguments=arguments,
    )


def test_a_group_is_filled_in_with_what_writers_chose_only() -> None:
    by_stranger = a_trigger(head_ref="release", base_ref="main")
    change = a_change(head_ref="release", base_ref="main")
    assert group(by_stranger, change) == "all/main/12/"
    default = a_change(number=None, head_ref="", base_ref="main")
    assert group(push(ref="refs/heads/topic"), default) == "all/topic//"
    assert group(push(ref="refs/tags/v1"), default) == "all/tags/v1//"
    deployment = DeploymentTrigger(
        repository=REPOSITORY,
        actor=Actor(id=1, login="ada"),
        delivery_id="d",
        deployment_id=1,
        environment="production",
        sha=HEAD,
        ref=BASE,
    )
    assert group(deployment, default) == "all/main//production"


def test_the_environment_of_a_group_is_one_of_the_file() -> None:
    change = a_change()
    assert group(deploy("production"), change) == "all/main/12/production"
    assert group(deploy("elsewhere"), change) == "all/main/12/"
    assert group(deploy(), change, "ship") == "to-staging"


def test_without_a_group_a_run_waits_for_nobody() -> None:
    assert group(a_trigger(), a_change(), "plain") is None
    assert parsed(GROUPED).workflows["plain"].concurrency.cancel_superseded
    assert not parsed(GROUPED).workflows["w"].concurrency.cancel_superseded
