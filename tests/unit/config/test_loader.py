"""From text to a checked file: what is accepted, and how mistakes are named."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.config import document
from pipelines.config.loader import Loaded, default_file, json_schema, load, outline
from pipelines.config.reader import read
from pipelines.config.schema import MonitorStep, ReviewStep, TestStep
from pipelines.config.steps import AGENTS, StepBase
from pipelines.config.triggers import Triggers
from pipelines.model import Severity, Trigger

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / ".conductor.example.yml"

MINIMAL = "version: 1\nworkflows: {w: {on: {push: }, steps: {s: {agent: coding}}}}\n"


def only(loaded: Loaded) -> str:
    """The one diagnostic of a file that is wrong in one way."""
    assert loaded.file is None
    assert len(loaded.diagnostics) == 1, [str(d) for d in loaded.diagnostics]
    return str(loaded.diagnostics[0])


def test_the_example_is_a_valid_file_that_shows_every_key() -> None:
    text = EXAMPLE.read_text()
    loaded = load(text)
    assert loaded.file is not None, loaded.diagnostics
    schema = json_schema()
    for definition in [schema, *schema["$defs"].values()]:
        for key in definition.get("properties", {}):
            assert f"{key}:" in text, f"{EXAMPLE.name} does not show {key}"


def test_the_page_about_the_file_is_current() -> None:
    current = (ROOT / "docs" / "configuration.md").read_text()
    assert current == document.page(), "run python -m pipelines.config.document"


def test_a_repository_without_a_file_gets_advice_on_pull_requests_and_nothing_else() -> None:
    file = default_file()
    (workflow,) = file.workflows.values()
    assert workflow.on.model_fields_set == {"pull_request"}
    (step,) = workflow.steps.values()
    assert isinstance(step, ReviewStep)
    assert step.block_on is None
    assert not file.environments


def test_values_arrive_in_their_own_types() -> None:
    file = load(EXAMPLE.read_text()).file
    assert file is not None
    review = file.workflows["pull-request"].steps["review"]
    tests = file.workflows["pull-request"].steps["tests"]
    watch = file.workflows["release"].steps["watch"]
    assert isinstance(review, ReviewStep)
    assert review.block_on is Severity.HIGH
    assert isinstance(tests, TestStep)
    assert (tests.image, tests.timeout) == ("python:3.12", 1800)
    assert isinstance(watch, MonitorStep)
    assert watch.for_ == 1800
    (freeze,) = file.environments["production"].freeze
    assert (freeze.start_day, freeze.end_day, freeze.zone) == (4, 0, "Europe/Berlin")
    assert freeze.start.hour == 16


def test_every_kind_of_trigger_has_a_section() -> None:
    kinds = {model.model_fields["kind"].default for model in Trigger.__args__[0].__args__}  # pyright: ignore[reportAttributeAccessIssue]
    assert set(Triggers.model_fields) == kinds


def test_every_agent_can_be_given_models_of_its_own() -> None:
    assert set(outline().keys(("models",))) == {*AGENTS, "default"}


def test_a_trigger_with_nothing_behind_its_colon_is_not_narrowed() -> None:
    file = load(
        "version: 1\nworkflows: {w: {on: {pull_request: }, steps: {s: {agent: test}}}}"
    ).file
    assert file is not None
    assert file.workflows["w"].on.pull_request is not None


def test_the_schema_for_editors_accepts_the_example_and_knows_every_description() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    node = read(EXAMPLE.read_text())
    assert node is not None
    assert not list(validator.iter_errors(listed(node.plain())))
    for definition in [schema, *schema["$defs"].values()]:
        for name, prop in definition.get("properties", {}).items():
            assert prop.get("description"), name


def listed(value: object) -> Any:
    """The value with lists where the reader has tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, tuple) else value


def test_mistakes_are_named_at_their_own_line_and_column() -> None:
    loaded = load(
        "version: 1\n"
        "budgte: {}\n"
        "workflows:\n"
        "  w:\n"
        "    on: { push: {} }\n"
        "    steps:\n"
        "      a: { agent: review,\n"
        "           block_on: hihg }\n"
        "      b: { agent: revue }\n"
        "      c: { agent: test, timeout: soon, needs: a }\n"
    )
    assert loaded.file is None
    found = [(d.line, d.column, d.suggestion) for d in loaded.diagnostics]
    assert found == [
        (2, 1, "budget"),
        (8, 12, "high"),
        (9, 12, "review"),
        (10, 25, None),
        (10, 40, None),
    ]


def test_a_diagnostic_reads_as_editors_expect() -> None:
    text = MINIMAL.replace("agent: coding", "agent: coding, need: []")
    assert only(load(text, "ci/.conductor.yml")) == (
        "ci/.conductor.yml:2:58: There is no key `need` in `workflows.w.steps.s`. "
        "Did you mean `needs`?"
    )


def test_an_error_inside_a_list_does_not_make_the_list_wrong_as_well() -> None:
    assert "provider:model" in only(load(MINIMAL + "models: {default: [nonsense]}\n"))


def test_a_file_with_more_mistakes_than_anybody_reads_is_cut_short() -> None:
    loaded = load(MINIMAL + "".join(f"k{i}: 1\n" for i in range(4_900)))
    assert len(loaded.diagnostics) == 50


@pytest.mark.parametrize("name", [f.alias or n for n, f in StepBase.model_fields.items()])
def test_every_step_knows_the_common_keys(name: str) -> None:
    for agent in AGENTS:
        assert name in outline().keys(("workflows", "w", "steps", "s", agent))


KEYS = (
    *("version", "workflows", "w", "on", "push", "steps", "s", "agent", "needs", "if", "timeout"),
    *("environments", "freeze", "rules", "cron", "schedule", "models"),
)
ODD = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["10m", "review", "a", "success()", "**", "mock:x", "* * * * *", "main"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(ODD)
def test_a_value_of_any_shape_is_loaded_or_refused_with_a_place(value: object) -> None:
    text = "version: 1\nworkflows: " + flow(value)
    loaded = load(text)
    assert (loaded.file is None) == bool(loaded.diagnostics)
    for diagnostic in loaded.diagnostics:
        assert 1 <= diagnostic.line <= len(text.splitlines()) + 1
        assert "\n" not in diagnostic.message


def flow(value: object) -> str:
    """The value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet="a:-{}[]&*!|>'\"%@`#,? \n\t<0", max_size=80)
    )
)
def test_any_bytes_are_loaded_or_refused(data: bytes | str) -> None:
    loaded = load(data)
    assert (loaded.file is None) == bool(loaded.diagnostics)


def test_version_true_is_not_version_one() -> None:
    assert "`version`" in only(load(MINIMAL.replace("version: 1", "version: true")))


CONCURRENT = (
    "version: 1\nworkflows: {w: {on: {push: }, concurrency: %s, steps: {s: {agent: coding}}}}\n"
)


@pytest.mark.parametrize(
    ("written", "group", "cancels"),
    [
        ("cancel-superseded", None, True),
        ("run-all", None, False),
        ("{group: deploy}", "deploy", False),
        ("{group: 'a/{branch}-{pull-request}'}", "a/{branch}-{pull-request}", False),
        ("{cancel-superseded: true, group: x}", "x", True),
    ],
)
def test_concurrency_is_a_word_or_a_mapping(written: str, group: str | None, cancels: bool) -> None:
    text = CONCURRENT % written
    file = load(text).file
    assert file is not None, load(text).diagnostics
    found = file.workflows["w"].concurrency
    assert (found.group, found.cancel_superseded) == (group, cancels)
    node = read(text)
    assert node is not None
    Draft202012Validator(json_schema()).validate(listed(node.plain()))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("cancel-superseeded", "Did you mean `cancel-superseded`?"),
        ("7", "`workflows.w.concurrency` must be a mapping of keys to values."),
        ("{groop: x}", "Did you mean `group`?"),
        ("{group: '{head}'}", "placeholders: `{branch}`, `{pull-request}`, `{environment}`."),
        ("{group: ''}", "A concurrency group is 1 to 100 letters"),
        ("{group: x, cancel-superseded: 1}", "must be `true` or `false`"),
    ],
)
def test_mistakes_in_concurrency_are_named(written: str, said: str) -> None:
    assert said in only(load(CONCURRENT % written))
