"""The `if` of a step."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.conditions import ConditionError, parse
from pipelines.model import Conclusion

S, N, F, T = Conclusion.SUCCESS, Conclusion.NEUTRAL, Conclusion.FAILURE, Conclusion.TIMED_OUT
C, K, A = Conclusion.CANCELLED, Conclusion.SKIPPED, Conclusion.ACTION_REQUIRED


@pytest.mark.parametrize(
    ("text", "needs", "expected"),
    [
        ("success()", (), True),
        ("success()", (S, N), True),
        ("success()", (S, F), False),
        ("success()", (S, K), False),
        ("success()", (C,), False),
        ("success()", (A,), False),
        ("failure()", (S, F), True),
        ("failure()", (T,), True),
        ("failure()", (S, K, C), False),
        ("failure()", (), False),
        ("always()", (F, C, K), True),
        ("!failure()", (K,), True),
        ("!success()", (K,), True),
        ("failure() || success()", (K,), False),
        ("  success ( ) ", (S,), True),
    ],
)
def test_what_became_of_the_needs_decides(
    text: str, needs: tuple[Conclusion, ...], expected: bool
) -> None:
    assert parse(text).evaluate(needs, ()) is expected


@pytest.mark.parametrize(
    ("text", "paths", "expected"),
    [
        ("changed('src/**')", ("src/a.py",), True),
        ("changed('src/**')", ("docs/a.md",), False),
        ("changed('src/**')", (), False),
        ("!changed('docs/**')", ("docs/a.md",), False),
        ("changed('a') || changed('b') && changed('c')", ("a",), True),
        ("(changed('a') || changed('b')) && changed('c')", ("a",), False),
        ("(changed('a') || changed('b')) && changed('c')", ("c", "b"), True),
        ("!(changed('a') || changed('b'))", ("c",), True),
        ("!!changed('a')", ("a",), True),
    ],
)
def test_changed_paths_combine_with_the_usual_precedence(
    text: str, paths: tuple[str, ...], expected: bool
) -> None:
    assert parse(text).evaluate((S,), paths) is expected


def test_a_condition_about_paths_alone_still_wants_its_needs_to_succeed() -> None:
    condition = parse("changed('a')")
    assert condition.evaluate((S,), ("a",))
    assert not condition.evaluate((F,), ("a",))
    assert parse("always() && changed('a')").evaluate((F,), ("a",))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("   ", 4),
        ("sucess()", 1),
        ("success", 1),
        ("success(", 1),
        ("success('x')", 1),
        ("changed()", 1),
        ('changed("a")', 1),
        ("changed('a', 'b')", 1),
        ("changed('[')", 1),
        ("success() &&", 13),
        ("success() & failure()", 11),
        ("success() failure()", 11),
        ("(success()", 11),
        ("success())", 10),
        ("always() and success()", 10),
        ("always() || || success()", 13),
        ("true", 1),
        ("1 == 1", 1),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert caught.value.position == position
    assert str(caught.value).isprintable()


ATOMS = ["success()", "failure()", "always()", "changed('a')"]
EXPRESSIONS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map(lambda e: f"!({e})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) && ({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})||{p[1]}"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_every_expression_means_what_it_means_in_python(text: str) -> None:
    python = text.replace("!", " not ").replace("&&", " and ").replace("||", " or ")
    asks = any(word in text for word in ("success", "failure", "always"))
    for need, path in itertools.product((S, F, K), ("a", "b")):
        names = {
            "success": lambda need=need: need is S,
            "failure": lambda need=need: need is F,
            "always": lambda: True,
            "changed": lambda glob, path=path: path == glob,
        }
        expected = eval(python, names) and (asks or need is S)
        assert parse(text).evaluate((need,), (path,)) is expected


@given(st.text(alphabet="sucefailrwyhnged()'!&| a", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    position = 1
    try:
        parse(text).evaluate((), ("a",))
    except ConditionError as error:
        position = error.position
    assert 1 <= position <= len(text) + 1
