"""What a model says is looked up in the files before anybody sees it."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.review.answer import ProposedFinding
from pipelines.agents.review.verification import MAX_FINDINGS, condense, verify
from pipelines.agents.review.view import FileView, build_view
from pipelines.diff import split_lines
from pipelines.model import Finding, Severity
from pipelines.ports import FileText
from tests.support.models import proposal
from tests.unit.agents.material import Tree, changed_files

OLD = """def first(rows):
    check(rows)
    return rows[0]


def second(rows):
    return rows[1]


def third(rows):
    value = rows[2]
    return value
"""
NEW = OLD.replace("    check(rows)\n", "").replace("rows[2]", "rows[3]")


def views_of(base: Tree, head: Tree) -> dict[str, FileView]:
    return {
        file.path: build_view(file, FileText(path=file.path, text=head.get(file.path)))
        for file in changed_files(base, head).files
    }


VIEWS = views_of({"a.py": OLD}, {"a.py": NEW})


def check(views: dict[str, FileView] = VIEWS, **changes: object) -> Finding | None:
    values = {**proposal("a.py", 10, "    value = rows[3]"), **changes}
    kept, dropped = verify([ProposedFinding.model_validate(values)], views)
    assert len(kept) + len(dropped) == 1
    return kept[0] if kept else None


def test_a_quote_on_its_line_is_kept_as_the_file_has_it() -> None:
    finding = check()
    assert finding
    assert (finding.start_line, finding.line, finding.in_diff) == (10, 10, True)
    assert finding.quote == "    value = rows[3]"


@pytest.mark.parametrize("line", [9, 11, 1, 0, -1, 45])
def test_a_wrong_line_is_corrected_if_the_quote_stands_only_once_nearby(line: int) -> None:
    finding = check(line=line)
    assert finding
    assert finding.line == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"line": 900},
        {"line": -900},
        {"line": 10**30},
        {"quote": "value = rows[2]"},
        {"quote": ""},
        {"quote": " \n "},
        {"quote": "def", "line": 3},
        {"quote": "value = rows[3]\nreturn other"},
        {"quote": "\n".join(["x"] * 5000)},
        {"path": "b.py"},
        {"path": "../a.py"},
        {"path": "/etc/passwd"},
        {"path": "a.py\x00"},
        {"side": "old"},
        {"title": "  "},
    ],
    ids=lambda changes: repr(changes)[:40],
)
def test_what_the_files_do_not_bear_out_is_dropped(changes: dict[str, object]) -> None:
    assert check(VIEWS, **changes) is None


def test_an_ambiguous_quote_on_the_wrong_line_is_dropped() -> None:
    views = views_of({}, {"a.py": "go(1)\nstop()\ngo(1)\n"})
    assert check(views, line=2, quote="go(1)") is None
    assert check(views, line=3, quote="go(1)")


def test_a_part_of_a_line_is_enough_to_quote_but_not_to_replace() -> None:
    finding = check(quote="rows[3]", suggestion="rows[2]")
    assert finding
    assert finding.quote == "    value = rows[3]"
    assert finding.suggestion is None


def test_removed_lines_are_quoted_on_the_old_side() -> None:
    finding = check(side="old", line=2, quote="    check(rows)", suggestion="    pass")
    assert finding
    assert (finding.side, finding.line, finding.in_diff) == ("LEFT", 2, True)
    assert finding.suggestion is None


def test_lines_around_the_diff_are_kept_but_not_placed_in_it() -> None:
    old = "\n".join(f"line {n}" for n in range(60)) + "\n"
    views = views_of({"a.txt": old}, {"a.txt": old.replace("line 3\n", "LINE 3\n")})
    finding = check(views, path="a.txt", line=51, quote="line 50", suggestion="LINE 50")
    assert finding
    assert not finding.in_diff
    assert finding.suggestion is None


@pytest.mark.parametrize(
    ("suggestion", "offered"),
    [
        ("    value = rows[2]", "    value = rows[2]"),
        ("    value = rows[2]\n", "    value = rows[2]"),
        ("    value = rows[2]\n    assert value", "    value = rows[2]\n    assert value"),
        ("", None),
        ("    value = rows[3]", None),
        ("    value = rows[3]\n", None),
        ("    value = rows[", None),
        ("value = rows[2]", None),
        ("    value = rows[2]  # \u202e", None),
        (f"    value = '{'ghp_' + 'aB3' * 12}'", None),
        ("    value = '[redacted]'", None),
        ("    x = 1\n" * 2000, None),
    ],
    ids=range(12),
)
def test_a_suggestion_is_offered_only_if_it_applies(suggestion: str, offered: str | None) -> None:
    finding = check(suggestion=suggestion)
    assert finding
    assert finding.suggestion == offered


def test_a_suggestion_gets_the_indentation_that_its_quote_left_out() -> None:
    finding = check(quote="value = rows[3]", suggestion="if rows:\n    value = rows[2]")
    assert finding
    assert finding.suggestion == "    if rows:\n        value = rows[2]"


def test_a_line_with_a_secret_is_quoted_without_it_and_never_replaced() -> None:
    secret = "ghp_" + "aB3" * 12
    views = views_of({}, {"a.py": f"token = '{secret}'\n"})
    finding = check(views, line=1, quote="token = '[redacted]'", suggestion="token = ''")
    assert finding
    assert secret not in finding.model_dump_json()
    assert finding.suggestion is None


def test_without_the_text_the_diff_itself_is_the_evidence() -> None:
    (file,) = changed_files({"a.py": OLD}, {"a.py": NEW}).files
    views = {"a.py": build_view(file, FileText(path="a.py", text=None, reason="too large"))}
    finding = check(views, suggestion="    value = rows[2]")
    assert finding
    assert finding.suggestion is None


def test_a_text_that_is_not_what_the_patch_leads_to_is_not_believed() -> None:
    (file,) = changed_files({"a.py": OLD}, {"a.py": NEW}).files
    view = build_view(file, FileText(path="a.py", text=OLD))
    assert view.raw is None
    assert view.right[10] == "    value = rows[3]"


def test_the_models_words_are_cut_cleaned_and_on_one_line() -> None:
    finding = check(title="a\u202eb\n\n" + "x" * 500, explanation="y\u200b" + "z" * 60_000)
    assert finding
    assert finding.title.startswith("ab xx")
    assert len(finding.title) == 160
    assert len(finding.explanation) == 2000
    assert "\u200b" not in finding.explanation


def test_a_line_of_minified_code_is_quoted_in_part() -> None:
    views = views_of({}, {"a.js": "var a=1;" * 100_000 + "\n"})
    finding = check(views, path="a.js", line=1, quote="var a=1;")
    assert finding
    assert len(finding.model_dump_json()) < 2_000


def test_the_same_finding_is_listed_once_at_its_worst() -> None:
    values = [proposal("a.py", 10, "    value = rows[3]", severity=s) for s in ("low", "critical")]
    kept, _ = verify([ProposedFinding.model_validate(v) for v in values], VIEWS)
    condensed, left_out = condense(kept)
    assert [finding.severity for finding in condensed] == [Severity.CRITICAL]
    assert left_out == 0


def test_ten_thousand_findings_become_fifty_the_worst_first() -> None:
    head = "".join(f"value_{n} = {n}\n" for n in range(300))
    views = views_of({}, {"a.py": head})
    severities = ("info", "low", "medium", "high", "critical")
    proposals = [
        ProposedFinding.model_validate(
            proposal("a.py", n % 300 + 1, f"value_{n % 300} = ", severity=severities[n % 5])
        )
        for n in range(10_000)
    ]
    kept, dropped = verify(proposals, views)
    condensed, left_out = condense(kept)
    assert dropped == []
    assert (len(condensed), left_out) == (MAX_FINDINGS, 250)
    assert {finding.severity for finding in condensed} == {Severity.CRITICAL}


rows = st.lists(
    st.sampled_from(["a = 1", "b = 2", "if a:", "    c = 3", "", "    d()"]), max_size=12
)


@given(rows, rows, st.data())
def test_whatever_is_kept_is_verbatim_and_placed_where_the_diff_allows(
    old: list[str], new: list[str], data: st.DataObject
) -> None:
    head = "\n".join(new) + "\n"
    views = views_of({"a.py": "\n".join(old) + "\n"}, {"a.py": head})
    if not views:
        return
    finding = check(
        views,
        side=data.draw(st.sampled_from(["new", "old"])),
        line=data.draw(st.integers(-2, 14)),
        quote="\n".join(data.draw(rows)),
        suggestion="\n".join(data.draw(rows)),
    )
    if finding is None:
        return
    lines = [line.removesuffix("\n") for line in split_lines(head)]
    places = views["a.py"].places
    assert finding.in_diff == places.allows(finding.side, finding.start_line, finding.line)
    if finding.side == "RIGHT":
        assert finding.quote == "\n".join(lines[finding.start_line - 1 : finding.line])
    if finding.suggestion is not None:
        lines[finding.start_line - 1 : finding.line] = finding.suggestion.split("\n")
        changed = "\n".join(lines)
        assert changed != head.removesuffix("\n")
        if parses(head):
            assert parses(changed)


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
