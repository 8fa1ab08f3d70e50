"""Expressions over tags: what they mean, what is refused, and that nothing else ever comes of them."""

import pickle
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexus.alarms.expression import EvaluationError, Expression, ExpressionError, parse
from nexus.alarms.grammar import LONGEST
from nexus.contract.reading import Value

VALUES: Mapping[str, Value] = {
    "temperature": 84.5,
    "voltage": 230.0,
    "current": 10,
    "status": 0b1010,
    "negative": -2,
    "running": True,
    "stopped": False,
    "state": "RUN",
    "mode": "RUN",
    "zero": 0,
    "bad": None,
    "pump 1": 3,
    "pump-1": 3,
    "µ": 7,
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("voltage * current / 1000", 2.3),
        ("-temperature + 4.5", -80.0),
        ("current // 3 + current % 3", 4),
        ("2 ** 3 ** 0", 2.0),
        ("temperature > 80 and not stopped", True),
        ("current and running", True),
        ("zero or stopped", False),
        ("80 < temperature <= 84.5 != current", True),
        ("state == 'RUN'", True),
        ("state == mode", True),
        ("state != mode", False),
        ("'RUN' == state == mode", True),
        ("running == true", True),
        ("running == True != false", True),
        ("min(temperature, current, 3)", 3),
        ("max(abs(negative), zero)", 2),
        ("bit(status, 3) and not bit(status, 2)", True),
        ("bit(negative, 63)", True),
        ("zero != 0 and 1 / zero > 2", False),
        ('tag("pump 1") * 2', 6),
        ("µ", 7),
        ("state", "RUN"),
        ("0x10 + 1_000 + 1e2", 1116.0),
        ("  running  ", True),
    ],
)
def test_an_expression_has_the_result_that_it_reads_like(text: str, result: Value) -> None:
    found = parse(text, VALUES).evaluate(VALUES)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / zero", "division by zero"),
        ("current % zero", "division by zero"),
        ("10 ** (current ** 3)", "larger than numbers are"),
        ("1e300 * 1e300 * zero * temperature", "larger than numbers are"),
        ("18446744073709551615 * current", "larger than numbers are"),
        ("negative ** 0.5", "to the power of a fraction"),
        ("bit(temperature, 1)", "bit() takes whole numbers"),
        ("bad > 3", "tag bad has no value"),
        ("bad", "tag bad has no value"),
        ("bad == state", "tag bad has no value"),
        ("missing + 1", "tag missing has no value"),
        ("state > 3", "tag state is a text, and a number is needed"),
        ("state * 1000000", "tag state is a text, and a number is needed"),
        ("state % 1000000", "tag state is a text, and a number is needed"),
        ("state or running", "tag state is a text, and a number is needed"),
        ("min(state, current)", "tag state is a text, and a number is needed"),
        ("current == 'RUN'", "tag current is not a text, and is compared with one"),
        ("current == state", "a text is compared with a number: current, state"),
    ],
)
def test_an_evaluation_that_has_no_result_says_why(text: str, reason: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        parse(text).evaluate(VALUES)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("temprature > 3", "there is no tag 'temprature' here; did you mean 'temperature'?"),
        ("qq > 3", "there is no tag 'qq' here; known: bad, current, mode, negative, pump 1, pump-1, running, state …"),
        ("pump-1 > 3", "there is no tag 'pump' here; write tag(\"pump-1\") for the tag pump-1"),
        ("pump 1 > 3", 'a tag whose name is more than one word is written tag("pump 1")'),
        ("temperature.max > 3", 'a tag whose name has a dot is written tag("a.b")'),
        ("voltage = 3", "write `==` to compare"),
        ("running && stopped", "write `and`"),
        ("running OR stopped", "write `or`"),
        ("!running", "write `not`"),
        ("voltage <> 3", "write `!=`"),
        ("voltage ≥ 3", "write `>=`"),
        ("voltage => 3", "write `>=`"),
        ("voltage > 1,5", "a comma has no meaning here: write a decimal point as in 1.5"),
        ("status & 4", "write `and`, or bit(value, 3) for one bit"),
        ("~running", "write `not`"),
        ("voltage ^ 2", "write `**` for powers"),
        ("status >> 2", "and nothing else"),
        ("(voltage", "'(' was never closed"),
        ("voltage > ", "something is missing or wrong here"),
        ("state == 'RUN", "unterminated string literal"),
        ("sqrt(voltage)", "the functions are tag(), bit(), min(), max(), abs()"),
        ("voltage.bit_length()", "the functions are"),
        ("min(voltage)", "min() takes two values or more"),
        ("max(*running, 3)", "and nothing else"),
        ("abs(voltage, 1)", "abs() takes one value"),
        ("min(voltage, 3, key=abs)", "min() takes no named values"),
        ("bit(status, 64)", "write bit(value, 3): the bits are 0 to 63"),
        ("bit(status, current)", "write bit(value, 3)"),
        ("tag(state)", "with the name of the tag in quotes"),
        ("state < 'RUN'", "texts compare by == and != with texts"),
        ("'RUN' == 3", "texts compare by == and != with texts"),
        ("'RUN' * 1000000", "a number is needed here"),
        ("running and 'RUN'", "a number is needed here"),
        ("voltage / 0", "this is a division by zero"),
        ("voltage % (2 - 2.0)", "this is a division by zero"),
        ("2 ** 10000", "this has no result"),
        ("(-8) ** 0.5", "this has no result"),
        ("bit(1.5, 0)", "this has no result"),
        ("1e999", "the number is too large"),
        ("99999999999999999999", "the number is too large"),
        ("1j", "and nothing else"),
        ("None", "and nothing else"),
        ("b'RUN'", "and nothing else"),
        ("f'{state}'", "and nothing else"),
        ("[voltage]", "and nothing else"),
        ("lambda: 3", "and nothing else"),
        ("voltage if running else 0", "and nothing else"),
        ("state in 'RUN'", "and nothing else"),
        ("running is true", "and nothing else"),
        ("voltage[0]", "and nothing else"),
        ("", "is empty"),
        ("voltage\n> 3", "an invisible character here"),
        ("voltage\u00a0> 3", "an invisible character here"),
        ("voltage\0> 3", "an invisible character here"),
        ("voltage > \ud800", "an invisible character here"),
        ("1" * (LONGEST + 1), "has 1,001 characters: 1,000 are the most"),
        ("+".join("1" * 251), "has more than 250 parts"),
        ("not " * 100 + "running", "nested too deeply"),
        ("(" * 250 + "1" + ")" * 250, "too many nested parentheses"),
        ("-" * 900 + "1", "has more than 250 parts"),
        ("9" * 900, "the number is too large"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, VALUES)
    assert said in caught.value.problem


def test_the_caret_is_under_the_place() -> None:
    for text, place in [
        ("µ > 3 and temprature > 3", "temprature"),
        ("voltage > 3 && running", "&&"),
        ("(voltage > 3) & running", "& running"),
        ("voltage + 3 / (1 - 1)", "1 - 1"),
        ("'a' == 'b' == 3 + 'c'", "'c'"),
        ("running and " * 40 + "temprature", "temprature"),
    ]:
        with pytest.raises(ExpressionError) as caught:
            parse(text, VALUES)
        _, shown, caret = str(caught.value).splitlines()
        assert shown[caret.index("^") :].startswith(place)
        assert len(shown) < 110


def test_names_are_those_of_the_tags() -> None:
    assert parse('a + tag("b c") > min(d, 3) and true').names == {"a", "b c", "d"}


@pytest.mark.parametrize(
    ("text", "kind"), [("state", "tag"), ("'RUN'", "text"), ("voltage + 1", "number"), ("not running", "boolean")]
)
def test_the_kind_of_a_result_is_known_where_no_tag_decides_it(text: str, kind: str) -> None:
    assert parse(text).kind == kind


def test_a_condition_is_true_or_false_and_never_a_text() -> None:
    assert [parse(text).is_true(VALUES) for text in ("voltage", "zero", "running", "voltage > 300")] == [
        True,
        False,
        True,
        False,
    ]
    with pytest.raises(EvaluationError, match="neither true nor false"):
        parse("state").is_true(VALUES)


def test_what_is_equal_is_one_object_and_survives_pickling() -> None:
    expression = parse("voltage > 3")
    assert parse(" voltage > 3", VALUES) is expression
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert repr(expression) == "Expression(text='voltage > 3')"


WORDS = [
    *VALUES,
    "and",
    "or",
    "not",
    "min(",
    "max(",
    "abs(",
    "bit(",
    "tag('state'",
    "(",
    ")",
    ",",
    "=",
    "==",
    "!=",
    "<",
]
WORDS += [">=", "+", "-", "*", "/", "//", "%", "**", "0", "1", "3", "1e300", "2", "'RUN'", "if", "else", "in", "lambda"]
WORDS += [".", "[", "]", ":", "{", "}", "f'", "__class__", "#", "\\", "@", "~", "64", "0x", "1_", "True", "None", "is"]
ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def outcome(text: str, values: Mapping[str, Value]) -> Value:
    """The result, or None for the two errors that there are."""
    try:
        found = parse(text).evaluate(values)
    except (ExpressionError, EvaluationError):
        return None
    assert found is not None
    return found


@given(st.text(max_size=50) | st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
@example("1if 1else 2")
@example("'\\d' == state")
@example("0_0 + 1__0")
@example("ﬁ > 3")  # which Python reads as fi
def test_no_text_raises_anything_else(text: str) -> None:
    outcome(text, VALUES)


def operations(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "and", "or", "==", "!=", "<", ">="])
    two = st.tuples(inner, signs, inner).map(lambda parts: f"({' '.join(parts)})")
    return two | inner.map(lambda one: f"not {one}") | st.tuples(inner, inner).map("min({0[0]}, {0[1]})".format)


LEAVES = st.sampled_from([*"abc", "'RUN'", "0", "1.5", "18446744073709551615", "1e300", "true", "bit(a, 3)", "abs(b)"])


@given(st.recursive(LEAVES, operations, max_leaves=8), st.fixed_dictionaries({}, optional=dict.fromkeys("abc", ANY)))
@example("a ** b ** c", {"a": 10.0, "b": 10.0, "c": 10.0})
@example("a * b", {"a": "x", "b": 10**12})
@example("a % b", {"a": "%1000000000d", "b": 1})
@example("a / b", {"a": 10**400, "b": 1})
@example("bit(a, 63)", {"a": 10**400})
def test_no_values_raise_anything_else(text: str, values: dict[str, Value]) -> None:
    found = outcome(text, values)
    assert found is None or isinstance(found, float | int | str)


def test_an_expression_reaches_nothing_of_python() -> None:
    for text in ("__import__", "open", "v", "print", "globals", "__builtins__", "equal", "power"):
        assert isinstance(parse(text), Expression), "it is a tag's name like any other"
        with pytest.raises(EvaluationError, match=f"tag {text} has no value"):
            parse(text).evaluate({})
        with pytest.raises(ExpressionError, match="the functions are"):
            parse(f"{text}()")
