"""The table of commands, against what the product promises."""

from typing import get_args

from bot.commands.table import VERBS, help_markdown
from pipelines.config import triggers

PROMISED = {
    "read": {"help", "status", "explain"},
    "triage": {"review", "dismiss", "pause", "resume", "cancel", "retry"},
    "write": {"fix", "test", "approve", "deploy", "rollback"},
}


def test_each_verb_needs_exactly_the_permission_that_is_promised() -> None:
    assert {name: verb.permission for name, verb in VERBS.items()} == {
        name: permission for permission, names in PROMISED.items() for name in names
    }
    assert {name for name, verb in VERBS.items() if verb.production == "maintain"} == {
        "deploy",
        "rollback",
        "approve",
    }


def test_every_verb_that_can_start_a_workflow_is_a_command() -> None:
    assert set(get_args(triggers.Verb)) <= set(VERBS)


def test_usage_and_example_begin_with_the_verb() -> None:
    for name, verb in VERBS.items():
        assert verb.usage.split()[0] == verb.example.split()[0] == str(verb) == name
        assert verb.help.endswith(".")


def test_the_help_names_every_verb_and_mentions_nobody() -> None:
    text = help_markdown("acme-conductor")
    for verb in VERBS.values():
        assert f"| `{verb.usage}` | {verb.help} | {verb.permission}" in text
    assert text.count("@") == text.count("`@") == 1
    assert not any(line.startswith("/") for line in text.splitlines())
