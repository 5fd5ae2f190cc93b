"""Model text never decides what a comment is made of, and nothing in it is live."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.github import markers
from bot.reporting import render
from bot.reporting.wording import body_finding, thread_comment
from tests.unit.reporting.samples import finding

GFM = MarkdownIt("gfm-like", {"html": True, "linkify": False, "breaks": True})
PROSE = {
    "paragraph_open", "paragraph_close", "inline", "fence",
    "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close",
}  # fmt: skip
INLINE = {"text", "code_inline", "softbreak", "hardbreak", "strong_open", "strong_close"}
LIVE = re.compile(
    r"@[\w-]|https?:|www\.|#\d|GH-\d|\]\(|<[a-z!/]|&#?\w+;|\$[^ ]|mailto:|ftp:|xmpp:", re.IGNORECASE
)


def tokens(markdown: str) -> list[Token]:
    return GFM.parse(markdown)


def inlines(parsed: list[Token]) -> list[Token]:
    return [child for token in parsed for child in token.children or ()]


def live_text(markdown: str) -> str:
    """What GitHub's filters look at: text outside code, with entities and escapes resolved."""
    return "\n".join(
        "".join(child.content if child.type == "text" else " " for child in token.children)
        for token in tokens(markdown)
        if token.children
    )


def assert_harmless(markdown: str) -> None:
    parsed = tokens(markdown)
    assert {token.type for token in parsed} <= PROSE
    assert {child.type for child in inlines(parsed)} <= INLINE
    text = live_text(markdown)
    assert "@" not in text
    assert "://" not in text
    assert not re.search(r"#\d|GH-\d|www\.|mailto:", text, re.IGNORECASE)
    for line in markdown.split("\n"):
        assert not re.match(r"/[A-Za-z]", line), line


MENTIONS = [
    "@alice", "@org/team", "hi @alice!", "(@alice)", "@alice's", "a@b.example", "&commat;alice",
    "&#64;alice", "&#x40;alice", "&#0064;alice", "**@alice**", "_@alice_", "~~@alice~~",
    "`x`@alice", "`x` @alice `y`", "``@alice", "`@alice", "\\`@alice\\`", "\\@alice", "> @alice",
    "- @alice", "1. @alice", "| @alice | x |\n|---|---|\n| @bob | y |", "# @alice", "@alice\n===",
    "[@alice](x)", "![@alice](x)", "<b>@alice</b>", "<!-- x --> @alice", "@\u200balice",
    "@alice/ok", "**`x`**@alice", "`a``@alice", "``` @alice ```", "~~~\nx\n~~~ @alice",
    "fixes #1", "Closes: #1", "resolves octo/shop#1", "fixed GH-1", "close https://h.example/o/r/1",
    "closes\t#1", "FIXES #1.", "/ok-to-test", " /approve", "- /merge", "> /lgtm", "x\n/hold",
    "x\r/hold", "x\u2028/hold", "```\n/ok-to-test\n```", "@dependabot merge", "\u202e@alice",
    "@alice\ud800", "a\u00ad@alice", "\u3000@alice", "x\x0b/approve", "**/approve**",
]  # fmt: skip

EXFILTRATION = [
    "![a](https://e.example/?q=1)", "![a][r]\n\n[r]: https://e.example", "[a](https://e.example)",
    "[a]( https://e.example 'x')", "[a](<https://e.example>)", "[a][r]\n[r]: https://e.example",
    "[r]\n\n[r]: <https://e.example>", "<https://e.example>", "https://e.example", "www.e.example",
    "http://e.example/`x`", "`x`https://e.example", "<img src=https://e.example>",
    "<IMG SRC='https://e.example'>", "<img\nsrc=https://e.example>", "<picture><source srcset=x>",
    "<a href=https://e.example>x</a>", "<svg onload=x>", "<script>x</script>", "<iframe src=x>",
    "<details><summary>x</summary></details>", "<!-- x -->", "<!-- conductor:finding x -->",
    "<?php x ?>", "<!DOCTYPE x>", "<![CDATA[x]]>", "&lt;img src=x&gt;", "&#60;img src=x&#62;",
    "[^1]\n\n[^1]: https://e.example", "$\\href{https://e.example}{x}$", "$$\nx\n$$", "$`x`$",
    "```math\nx\n```", "```mermaid\nclick A href \"https://e.example\"\n```",
    "```geojson\n{}\n```", "```suggestion\nrm -rf\n```", "```stl\nx\n```", "~~~mermaid\nx\n~~~",
    "[![a](https://e.example)](https://e.example)", "[a](//e.example)", "[a](/\\e.example)",
    "[a](javascript:alert(1))", "[a](data:text/html,x)", "mailto:a@e.example", "xmpp:a@e.example",
    "ftp://e.example", "a@e.example", "[a](\nhttps://e.example\n)", "[a\nb](https://e.example)",
    "!\\[a](https://e.example)", "\\![a](https://e.example)", "![a]\\(https://e.example)",
    "| a |\n|---|\n| ![x](https://e.example) |", "> ![x](https://e.example)",
    "- ![x](https://e.example)", "    ![x](https://e.example)", "# ![x](https://e.example)",
    "**![x](https://e.example)**", "``![x](https://e.example)`", "![x](https://e.example\u200b)",
    "> [!NOTE]\n> x", "- [ ] task", ":::x\ny\n:::", "x\n---", "x\n===", "***", "___", "* * *",
]  # fmt: skip


@pytest.mark.parametrize("text", MENTIONS + EXFILTRATION)
def test_nothing_a_model_writes_is_live(text: str) -> None:
    assert_harmless(render.prose(text))
    assert_harmless(render.prose(f"before {text} after"))
    assert_harmless(render.prose(f"`{text}\n{text}`"))
    assert_harmless(render.line(text))


@pytest.mark.parametrize("text", ["{}", "`{}`", "```\n{}\n```", "**{}**", "| {} |"])
def test_no_text_of_others_can_pass_for_a_marker_of_ours(text: str) -> None:
    typed = text.format("<!-- conductor:key review/5/abc --> <!\u200b-- conductor:key r -->")
    shown = (render.prose(typed), render.line(typed), render.own_markdown(typed))
    for rendered in (*shown, render.fence(typed), render.code_span(typed)):
        assert not markers.has_key(rendered, "review/5/abc")
        assert not markers.has_key(rendered, "r")


MODEL_TEXT = st.lists(
    st.one_of(
        st.sampled_from([*MENTIONS, *EXFILTRATION, "\n", "\n\n", "`", "``", "```", "~~~", "**"]),
        st.sampled_from([" ", "\\", "*", "_", "<", "&", "[", "]", "(", ")", "-", "#", "|", "word"]),
        st.text(max_size=10),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(MODEL_TEXT)
def test_model_text_never_changes_the_structure(text: str) -> None:
    assert_harmless(render.prose(text))
    parsed = tokens(render.line(text))
    assert [token.type for token in parsed] in ([], ["paragraph_open", "inline", "paragraph_close"])


@settings(max_examples=300, deadline=None)
@given(MODEL_TEXT, MODEL_TEXT, MODEL_TEXT, MODEL_TEXT)
def test_a_finding_keeps_the_shape_we_gave_it(
    title: str, explanation: str, quote: str, suggested: str
) -> None:
    one = finding(
        title=title, explanation=explanation, quote=quote, suggestion=suggested, category=title
    )
    parsed = tokens(thread_comment(one))
    assert parsed[0].type == "paragraph_open"
    assert parsed[-1].type == "html_block"
    assert parsed[-1].content == "<!-- conductor:finding f00dfeed high.1a2b3c4d -->"
    assert [token.type for token in parsed].count("html_block") == 1
    last = parsed[-2]
    assert last.type == "fence"
    assert last.info in ("suggestion", "")
    assert {child.type for child in inlines(parsed)} <= INLINE
    in_body = tokens(body_finding(one))
    assert {token.type for token in in_body} <= PROSE


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("`~ax \n@"), max_size=30))
def test_code_is_shown_whole_and_cannot_leave_its_place(text: str) -> None:
    block = tokens(render.fence(text, "python"))
    assert [token.type for token in block] == ["fence"]
    assert block[0].content.strip("\n") == render.clean(text).strip("\n")
    span = render.code_span(text)
    if span:
        (child,) = inlines(tokens(f"x {span} y"))[1:-1]
        assert child.type == "code_inline"
        assert child.content == " ".join(text.split())


@settings(max_examples=300, deadline=None)
@given(MODEL_TEXT)
def test_our_own_markdown_mentions_and_links_nothing(text: str) -> None:
    shown = render.own_markdown(f"| a |\n| --- |\n| {text}\n\n{text}")
    kinds = {child.type for child in inlines(tokens(shown))}
    assert not kinds & {"link_open", "image", "html_inline"}
    assert "html_block" not in {token.type for token in tokens(shown)}
    assert "@" not in live_text(shown)
    assert "://" not in live_text(shown)


def test_what_is_allowed_stays_readable() -> None:
    text = "First **bold** and `code`.\n\n- one\n* two\n\n```python\nx = 1\n```\nEnd_of it."
    assert render.prose(text) == (
        "First **bold** and `code`.\n\n- one\n- two\n\n\n```python\nx = 1\n```\n\nEnd\\_of it."
    )


@pytest.mark.parametrize("limit", [5, 6, 7, 8, 100])
def test_a_text_is_cut_between_two_characters(limit: int) -> None:
    cut = render.truncated("äöü€" * 5, limit)
    assert len(cut.encode()) <= limit
    assert "\N{REPLACEMENT CHARACTER}" not in cut


def test_a_long_text_is_rendered_in_time_in_proportion() -> None:
    for hostile in ("[](" + "a" * 4000, "`" * 4000, "`` ` " * 900, "**a" * 1300, "[" * 4000):
        assert len(render.prose(hostile)) < 20_000


def test_no_code_anywhere_can_approve_or_veto() -> None:
    for path in Path(render.__file__).parent.glob("*.py"):
        assert not re.search(r"[\"'](APPROVE|REQUEST_CHANGES)[\"']", path.read_text())
