"""Reports are claims: each format is read within limits, and nothing in one can do harm."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.testing.reports import (
    Claims,
    CoveredLines,
    UnreadableReport,
    read_coverage,
    read_go,
    read_jest,
    read_junit,
    read_unittest,
)

Reader = Callable[[str], Claims | CoveredLines]
READERS: tuple[Reader, ...] = (read_junit, read_jest, read_go, read_unittest, read_coverage)
GO = "\n".join(
    json.dumps(event)
    for event in (
        {"Action": "start", "Package": "shop"},
        {"Action": "run", "Package": "shop", "Test": "TestTotal"},
        {"Action": "output", "Package": "shop", "Test": "TestTotal", "Output": "cart_test.go:9: 3"},
        {"Action": "fail", "Package": "shop", "Test": "TestTotal", "Elapsed": 0.5},
        {"Action": "pass", "Package": "shop", "Test": "TestEmpty", "Elapsed": 0},
        {"Action": "skip", "Package": "shop", "Test": "TestLater"},
        {"Action": "run", "Package": "shop", "Test": "TestCrash"},
        {"Action": "fail", "Package": "shop"},
        {"Action": "build-output", "ImportPath": "x", "Output": "text"},
    )
)
JEST = json.dumps(
    {
        "numTotalTests": 3,
        "success": False,
        "testResults": [
            {
                "name": "/tmp/x/src/cart.test.js",
                "status": "failed",
                "message": "",
                "assertionResults": [
                    {"fullName": "cart adds", "status": "passed", "duration": 3},
                    {
                        "fullName": "cart fails",
                        "status": "failed",
                        "failureMessages": ["Error: x\n at src/cart.test.js:7:3"],
                    },
                    {"fullName": "cart later", "status": "pending"},
                ],
            },
            {
                "name": "/tmp/x/src/b.test.js",
                "status": "failed",
                "message": "SyntaxError",
                "assertionResults": [],
            },
        ],
    }
)
UNITTEST = """\
test_a (test_x.T.test_a) ... ok
test_b (test_x.T.test_b)
It has words. ... FAIL
test_c (test_x.T.test_c) ... noise
ERROR
test_d (test_x.T) ... skipped 'later'

======================================================================
FAIL: test_b (test_x.T.test_b)
It has words.
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/w/test_x.py", line 8, in test_b
AssertionError: 1 != 2
======================================================================
ERROR: setUpClass (test_x.U)
----------------------------------------------------------------------
boom
----------------------------------------------------------------------
Ran 4 tests in 0.001s

FAILED (failures=1, errors=2, skipped=1)
"""


def outcomes(claims: Claims) -> dict[str, str]:
    return {case.name: case.outcome for case in claims.cases}


def test_junit_names_outcomes_places_and_times() -> None:
    claims = read_junit(
        "<testsuites><testsuite tests='4'>"
        "<testcase classname='a.B' name='one' time='0.5' file='a.py' line='4'/>"
        "<testcase classname='a.B' name='two'><failure message='bad'>a.py:9: no</failure>"
        "</testcase>"
        "<testcase name='three'><error>x</error><system-out>hidden</system-out></testcase>"
        "<testcase name='four'><skipped/></testcase>"
        "</testsuite></testsuites>"
    )
    assert outcomes(claims) == {
        "a.B::one": "passed",
        "a.B::two": "failed",
        "three": "error",
        "four": "skipped",
    }
    one, two, three, _ = claims.cases
    assert (one.path, one.line, one.seconds) == ("a.py", 5, 0.5)
    assert two.message == "bada.py:9: no"
    assert "hidden" not in three.message
    assert not claims.miscounted


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e999", "x", "", "1,234.5"])
def test_impossible_times_and_lines_do_not_break_a_case(text: str) -> None:
    (case,) = read_junit(
        f"<testsuite><testcase name='a' time='{text}' line='{text}'/></testsuite>"
    ).cases
    assert 0 <= case.seconds < 1e6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        "<testsuite>",
        "<html/>",
        "<!DOCTYPE a><testsuite/>",
        "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><testsuite>&c;</testsuite>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><testsuite/>",
        "<testsuite>" + "<a>" * 100 + "</a>" * 100 + "</testsuite>",
        "<testsuite>" + "x" * (10 * 1024 * 1024) + "</testsuite>",
        "<testsuite>&undefined;</testsuite>",
        "<testsuite>\x00</testsuite>",
    ],
)
def test_what_is_not_a_plain_junit_report_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(UnreadableReport) as refused:
        read_junit(text)
    assert str(refused.value)


def test_a_million_cases_are_refused_and_ten_thousand_are_cut_and_counted() -> None:
    many = "<testcase name='a'/>"
    with pytest.raises(UnreadableReport, match="more than 200,000 cases"):
        read_junit(f"<testsuite>{many * 200_001}</testsuite>")
    claims = read_junit(f"<testsuite>{many * 6_000}</testsuite>")
    assert (len(claims.cases), claims.total) == (5_000, 6_000)
    assert claims.repeated == ("a",)


def test_suites_inside_suites_are_not_called_miscounted() -> None:
    inner = "<testsuite tests='1'><testcase name='a'/></testsuite>"
    assert not read_junit(f"<testsuite tests='2'>{inner}{inner}</testsuite>").miscounted
    assert read_junit("<testsuite tests='2'><testcase name='a'/></testsuite>").miscounted


def test_secrets_and_hidden_characters_do_not_leave_a_report() -> None:
    token = "ghp_" + "a1B2" * 9
    (case,) = read_junit(
        f"<testsuite><testcase name='a\u202eb'><failure>{token}</failure></testcase></testsuite>"
    ).cases
    assert case.name == "ab"
    assert token not in case.message


def test_go_events_give_outcomes_and_a_test_without_an_end_crashed() -> None:
    claims = read_go("# some/package\n" + GO + "\nexit status 1\n")
    assert outcomes(claims) == {
        "shop": "error",
        "shop::TestTotal": "failed",
        "shop::TestEmpty": "passed",
        "shop::TestLater": "skipped",
        "shop::TestCrash": "error",
    }
    assert "cart_test.go:9" in next(c for c in claims.cases if c.name == "shop::TestTotal").message


def test_jest_json_gives_outcomes_and_a_file_that_does_not_load_is_an_error() -> None:
    claims = read_jest(JEST)
    assert outcomes(claims) == {
        "cart.test.js::cart adds": "passed",
        "cart.test.js::cart fails": "failed",
        "cart.test.js::cart later": "skipped",
        "b.test.js": "error",
    }
    assert not claims.miscounted


def test_unittest_lines_give_outcomes_also_where_other_output_stands_between() -> None:
    claims = read_unittest(UNITTEST)
    assert outcomes(claims) == {
        "test_x.T::test_a": "passed",
        "test_x.T::test_b": "failed",
        "test_x.T::test_c": "error",
        "test_x.T::test_d": "skipped",
        "test_x.U::setUpClass": "error",
    }
    assert "line 8" in claims.cases[1].message
    assert not claims.miscounted
    assert read_unittest(UNITTEST.replace("Ran 4", "Ran 5")).miscounted


@pytest.mark.parametrize(
    "text",
    [
        "<coverage><packages><package><classes><class filename='a.py'><lines>"
        "<line number='1' hits='2'/><line number='2' hits='0'/><line number='x' hits='1'/>"
        "</lines></class></classes></package></packages></coverage>",
        json.dumps({"files": {"a.py": {"executed_lines": [1], "missing_lines": [2]}}}),
        "TN:\nSF:a.py\nDA:1,4\nDA:2,0\nend_of_record\n",
    ],
)
def test_coverage_is_read_in_three_formats(text: str) -> None:
    covered = read_coverage(text)
    assert (covered.total_covered, covered.total) == (1, 2)


def refusal(reader: Reader, text: str) -> str:
    """Why a text is not read, or a dot if it is."""
    try:
        reader(text)
    except UnreadableReport as refused:
        return str(refused)
    return "."


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=300))
def test_any_text_is_read_or_refused_and_never_crashes(reader: Reader, text: str) -> None:
    assert refusal(reader, text)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(cut=st.integers(0, 1000), insert=st.sampled_from(["", "null", "[", "<a", "-1", "'"]))
def test_a_damaged_report_is_read_or_refused_and_never_crashes(
    reader: Reader, cut: int, insert: str
) -> None:
    junit = "<testsuite tests='1'><testcase name='a' time='1'><failure>x</failure></testcase>"
    for whole in (GO, JEST, UNITTEST, f"{junit}</testsuite>"):
        assert refusal(reader, whole[:cut] + insert + whole[cut:])
