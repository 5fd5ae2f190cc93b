"""What is a command in a comment, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.grammar import MAX_COMMANDS, ParsedCommand, parse
from bot.commands.table import VERBS


def verbs(text: str) -> list[str]:
    return [command.verb for command in parse(text, "acme-conductor")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/conductor review", "review"),
        ("  /conductor review  ", "review"),
        ("/Conductor REVIEW", "review"),
        ("@acme-conductor review", "review"),
        ("@Acme-Conductor: review", "review"),
        ("@acme-conductor[bot] review", "review"),
        ("/conductor\treview", "review"),
        ("Thanks!\n/conductor review", "review"),
        ("Thanks!\r\n\r\n/conductor review\r\n", "review"),
        ("> quoted\n\n/conductor review", "review"),
        ("```\ncode\n```\n/conductor review", "review"),
        ("/conductor review\n---\nsent by mail", "review"),
        ("/conductor", "help"),
        ("@acme-conductor", "help"),
    ],
)
def test_a_command_stands_at_the_start_of_a_line(text: str, expected: str) -> None:
    assert verbs(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "please /conductor review",
        "see @acme-conductor review",
        "@acme-conductors review",
        "@someone-else review",
        "/conductors review",
        "/conductor/review",
        "//conductor review",
        "\\/conductor review",
        "    /conductor review",
        "\t/conductor review",
        "```\n/conductor review\n```",
        "~~~ text\n/conductor review",
        "```\n/conductor review",
        "`/conductor review`",
        "`code\n/conductor review\nmore`",
        "``a ` b\n/conductor review``",
        "> /conductor review",
        "> quoted\n/conductor review",
        "- /conductor review",
        "- item\n/conductor review",
        "1. item\n   /conductor review",
        "# /conductor review",
        "<!-- /conductor review -->",
        "<!--\n\n/conductor review\n\n-->",
        "text <!--\n/conductor review\n--> text",
        "<pre>\n/conductor review\n</pre>",
        "<div>\n/conductor review\n</div>",
        "[link\n/conductor review](https://example.com)",
        "[link\n/conductor review][a]\n\n[a]: https://example.com",
        "**bold\n/conductor review**",
        "![image\n/conductor review](https://example.com/a.png)",
        '[a]: https://example.com "title\n/conductor review"',
        "/сonductor review",
        "\u200b/conductor review",
        "\u202e/conductor review",
        "| a |\n| - |\n| /conductor review |",
    ],
)
def test_what_a_reader_would_not_take_for_a_command_is_none(text: str) -> None:
    assert verbs(text) == []


def test_arguments_are_the_words_behind_the_verb_as_they_were_typed() -> None:
    (command,) = parse("Hm.\n/conductor dismiss 3f9a `x` is *fine*,  really", "app")
    assert command == ParsedCommand(
        verb="dismiss", arguments=("3f9a", "`x`", "is", "*fine*,", "really"), line=2
    )


def test_invisible_characters_do_not_reach_the_arguments() -> None:
    (command,) = parse("/conductor deploy stag\u200b\u202eing\x00", "app")
    assert command.arguments == ("staging",)


def test_commands_are_returned_in_order_and_no_more_than_anybody_needs() -> None:
    assert verbs("/conductor review\ntext\n/conductor test") == ["review", "test"]
    assert len(parse("/conductor review\n" * 100, "app")) == MAX_COMMANDS


def test_a_verb_that_does_not_exist_is_returned_as_it_was_typed() -> None:
    assert verbs("/conductor reveiw") == ["reveiw"]
    (prose,) = parse("@app " + "X" * 1000, "app")
    assert prose.verb == "x" * 40


def test_a_forged_mark_does_not_make_a_command() -> None:
    assert verbs("`\ue0001\ue001\n/conductor review`") == []
    assert verbs("\ue0000\ue001/conductor review") == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_every_verb_is_that_command(verb: str) -> None:
    (command,) = parse(f"/conductor {VERBS[verb].example}", "app")
    assert command.verb == verb


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filler", ["[", "`", "> ", "*a", "- ", "<!--", "![a](", "&", "\\", "a\n"])
def test_a_comment_of_the_greatest_length_is_read_in_time(filler: str) -> None:
    text = (filler * 65_536)[:65_000]
    assert len(parse(text + "\n\n/conductor review", "app")) <= 1
    assert parse("/conductor review\n" + text, "app") in ((), parse("/conductor review", "app"))
    assert parse("/conductor review\n\n" + text, "app")[0].verb == "review"


@given(st.text(alphabet="/@conductrapp reviw\n`>-<!*[]()#\t\\~|", max_size=60))
def test_any_text_is_read(text: str) -> None:
    for command in parse(text + "\n/conductor status", "app"):
        assert text.count("\n") + 2 >= command.line >= 1
