"""What an expression may hold: a part of Python's syntax, checked and translated; an error has a caret. Pure."""

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Literal

from nexus.alarms.functions import compiled

LONGEST = 1_000  # characters
MOST_NODES = 250
DEEPEST = 60
LARGEST_BIT = 63

_BEFORE, _AFTER = 60, 40  # characters that are shown around what is wrong

Kind = Literal["number", "boolean", "text", "tag"]  # of a tag it is not known before it has a value

_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
_DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod)
_ORDERS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_COMPARISONS = {**_ORDERS, ast.Eq: "==", ast.NotEq: "!="}
_SIGNS = {ast.USub: "-", ast.UAdd: "+"}
_TRUTHS = {"true": True, "false": False}

# What people write who know other languages, and what it is called here.
_SLIPS = (
    (re.compile(r"&&|\bAND\b"), "write `and`"),
    (re.compile(r"\|\||\bOR\b"), "write `or`"),
    (re.compile(r"!(?!=)|\bNOT\b"), "write `not`"),
    (re.compile(r"<>|≠"), "write `!=`"),
    (re.compile(r"≤|=<"), "write `<=`"),
    (re.compile(r"≥|=>"), "write `>=`"),
    (re.compile(r"(?<![=<>!])=(?!=)"), "write `==` to compare"),
)
_REMEDIES: dict[type[ast.AST], str] = {
    ast.Tuple: "a comma has no meaning here: write a decimal point as in 1.5",
    ast.Attribute: 'a tag whose name has a dot is written tag("a.b")',
    ast.BitAnd: "write `and`, or bit(value, 3) for one bit",
    ast.BitOr: "write `or`, or bit(value, 3) for one bit",
    ast.BitXor: "write `**` for powers, or `!=` for either, but not both",
    ast.Invert: "write `not`",
}
_WRONG = 'something is missing or wrong here; a tag whose name is more than one word is written tag("pump 1")'
_USES = {
    "tag": 'write tag("pump 1"), with the name of the tag in quotes',
    "bit": f"write bit(value, 3): the bits are 0 to {LARGEST_BIT}",
    "min": "min() takes two values or more",
    "max": "max() takes two values or more",
    "abs": "abs() takes one value",
}
_LANGUAGE = (
    "an expression has tags, numbers, texts, true, false, comparisons, and, or, not, + - * / // % **, "
    "min(), max(), abs() and bit(value, n), and nothing else"
)


class ExpressionError(Exception):
    """`problem` says what is wrong with `text`, and what would be right; `column` counts its characters from 0."""

    def __init__(self, problem: str, text: str, column: int) -> None:
        super().__init__(problem, text, column)
        self.problem, self.text, self.column = problem, text, column

    def __str__(self) -> str:
        begin = max(0, self.column - _BEFORE)
        shown, dots = self.text[begin : self.column + _AFTER], "…" if begin else ""
        return f"{self.problem}\n  {dots}{shown}\n  {' ' * (self.column - begin + len(dots))}^"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression as Python, where `v` has the tags' values; `name` if it is just a tag."""

    code: str
    kind: Kind
    is_constant: bool = False
    name: str = ""


class Grammar:
    """Reads one expression: `names` are its tags, with the column of the first use.

    Of these, `numbers` must be numbers, true or false, and `texts` texts.

    The code is of our making: of what the text holds it has tags' names, texts and numbers only, each as a literal.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: dict[str, int] = {}
        self.numbers: set[str] = set()
        self.texts: set[str] = set()

    def read(self) -> Part:
        """The whole. Raises ExpressionError."""
        self._check_characters()
        tree = self._tree()
        if sum(isinstance(node, ast.expr) for node in ast.walk(tree)) > MOST_NODES:
            raise ExpressionError(f"has more than {MOST_NODES} parts: divide it between derived tags", self.text, 0)
        return self._part(tree, 1)

    def _check_characters(self) -> None:
        if not self.text:
            raise ExpressionError("is empty: write it like temperature > 80", self.text, 0)
        if len(self.text) > LONGEST:
            raise ExpressionError(f"has {len(self.text):,} characters: {LONGEST:,} are the most", self.text, 0)
        for column, character in enumerate(self.text):
            if not character.isprintable():
                shown = "".join(one if one.isprintable() else " " for one in self.text)
                raise ExpressionError("has an invisible character here: remove it", shown, column)

    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what they warn of is refused, or means what it says
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise self._slip(error) from None
        except (ValueError, RecursionError, MemoryError):
            raise ExpressionError("is nested too deeply, or has a number that is too long", self.text, 0) from None

    def _slip(self, error: SyntaxError) -> ExpressionError:
        for pattern, remedy in _SLIPS:
            if (found := pattern.search(self.text)) is not None:
                return ExpressionError(remedy, self.text, found.start())
        column = min(max((error.offset or 1) - 1, 0), len(self.text))
        says_why = error.msg.startswith(("'", "unmatched", "unterminated", "closing parenthesis", "too many nested"))
        return ExpressionError(error.msg if says_why else _WRONG, self.text, column)

    def _part(self, node: ast.expr, depth: int) -> Part:
        if depth > DEEPEST:
            raise self._wrong(node, "this is nested too deeply: divide it between derived tags")
        match node:
            case ast.Constant():
                part = self._constant(node)
            case ast.Name():
                written = self._written(node)
                part = _truth(written) if written in _TRUTHS else self._tag(node, written)
            case ast.UnaryOp():
                part = self._unary(node, depth)
            case ast.BinOp():
                part = self._binary(node, depth)
            case ast.BoolOp():
                part = self._junction(node, depth)
            case ast.Compare():
                part = self._comparison(node, depth)
            case ast.Call():
                part = self._call(node, depth)
            case _:
                raise self._wrong(node, _REMEDIES.get(type(node), _LANGUAGE))
        return part

    def _constant(self, node: ast.Constant) -> Part:
        match node.value:
            case bool():
                return _truth(str(node.value).lower())
            case str():
                return Part(repr(node.value), "text", True)
            case int() if node.value.bit_length() <= 64:
                return Part(repr(node.value), "number", True)
            case float() if node.value <= 1e300:
                return Part(repr(node.value), "number", True)
            case int() | float():
                raise self._wrong(node, "the number is too large")
        raise self._wrong(node, _LANGUAGE)

    def _tag(self, node: ast.expr, name: str) -> Part:
        self.names.setdefault(name, self._column(node))
        return Part(f"v[{name!r}]", "tag", name=name)

    def _unary(self, node: ast.UnaryOp, depth: int) -> Part:
        part = self._part(node.operand, depth + 1)
        if isinstance(node.op, ast.Not):
            return Part(f"(not {self._number(part, node.operand)})", "boolean", part.is_constant)
        if (sign := _SIGNS.get(type(node.op))) is None:
            raise self._wrong(node, _REMEDIES[type(node.op)])
        return Part(f"({sign}{self._number(part, node.operand)})", "number", part.is_constant)

    def _binary(self, node: ast.BinOp, depth: int) -> Part:
        if (sign := _ARITHMETIC.get(type(node.op))) is None:
            raise self._wrong(node.right, _REMEDIES.get(type(node.op), _LANGUAGE), before=True)
        one, two = self._part(node.left, depth + 1), self._part(node.right, depth + 1)
        left, right = self._number(one, node.left), self._number(two, node.right)
        if isinstance(node.op, _DIVISIONS) and two.is_constant and not compiled(right)({}):
            raise self._wrong(node.right, "this is a division by zero")
        code = f"power({left}, {right})" if sign == "**" else f"({left} {sign} {right})"
        is_constant = one.is_constant and two.is_constant
        if is_constant:
            self._calculate(code, node)
        return Part(code, "number", is_constant)

    def _calculate(self, code: str, node: ast.expr) -> None:
        """What has no tags has one result, or never one."""
        try:
            compiled(code)({})
        except (ArithmeticError, ValueError):
            raise self._wrong(node, "this has no result: it is larger than numbers are, or no number") from None

    def _junction(self, node: ast.BoolOp, depth: int) -> Part:
        parts = [self._part(one, depth + 1) for one in node.values]
        codes = [self._number(part, one) for part, one in zip(parts, node.values, strict=True)]
        word = " and " if isinstance(node.op, ast.And) else " or "
        # Python's own gives the last of the values that it looked at.
        return Part(f"(not not ({word.join(codes)}))", "boolean", all(part.is_constant for part in parts))

    def _comparison(self, node: ast.Compare, depth: int) -> Part:
        nodes = [node.left, *node.comparators]
        parts = [self._part(one, depth + 1) for one in nodes]
        signs = [_COMPARISONS.get(type(op), "") for op in node.ops]
        if "" in signs:
            raise self._wrong(node, _LANGUAGE)
        kinds = {part.kind for part in parts}
        is_constant = all(part.is_constant for part in parts)
        if kinds == {"tag"} and not set(signs) & set(_ORDERS.values()):
            pairs = zip(parts, signs, parts[1:], strict=False)
            alike = [f"{'' if sign == '==' else 'not '}equal({a.code}, {b.code})" for a, sign, b in pairs]
            return Part(f"({' and '.join(alike)})", "boolean", is_constant)
        if kinds <= {"text", "tag"} and "text" in kinds and not set(signs) & set(_ORDERS.values()):
            self.texts.update(part.name for part in parts if part.kind == "tag")
            # A text stays as it is with nothing added; a number cannot be added to.
            codes = [part.code if part.kind == "text" else f"({part.code} + '')" for part in parts]
        else:
            codes = [self._number(part, one) for part, one in zip(parts, nodes, strict=True)]
        chain = "".join(f" {sign} {code}" for sign, code in zip(signs, codes[1:], strict=True))
        return Part(f"({codes[0]}{chain})", "boolean", is_constant)

    def _call(self, node: ast.Call, depth: int) -> Part:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _USES:
            raise self._wrong(node, f"the functions are {', '.join(f'{known}()' for known in _USES)}")
        if node.keywords:
            raise self._wrong(node, f"{name}() takes no named values: leave out what is before the =")
        match name, node.args:
            case "tag", [ast.Constant(value=str() as written)]:
                return self._tag(node, written)
            case "bit", [value, ast.Constant(value=int() as bit)] if type(bit) is int and 0 <= bit <= LARGEST_BIT:
                part = self._part(value, depth + 1)
                code = f"bit({self._number(part, value)}, {bit:d})"
                if part.is_constant:
                    self._calculate(code, node)
                return Part(code, "boolean", part.is_constant)
            case ("min" | "max", [_, _, *_]) | ("abs", [_]):
                parts = [self._part(one, depth + 1) for one in node.args]
                codes = [self._number(part, one) for part, one in zip(parts, node.args, strict=True)]
                return Part(f"{name}({', '.join(codes)})", "number", all(one.is_constant for one in parts))
        raise self._wrong(node, _USES[name])

    def _number(self, part: Part, node: ast.expr) -> str:
        """The code of what must be a number or a boolean; of a tag that shows once it has a value."""
        if part.kind == "text":
            raise self._wrong(
                node, "a number is needed here, and this is a text: texts compare by == and != with texts"
            )
        if part.kind != "tag":
            return part.code
        self.numbers.add(part.name)
        return f"+{part.code}"  # of all values only numbers and booleans have a sign

    def _written(self, node: ast.expr) -> str:
        """As it stands in the text: Python takes some letters for others, µ (U+00B5) for μ (U+03BC)."""
        return self.text.encode()[node.col_offset : node.end_col_offset].decode()

    def _column(self, node: ast.expr) -> int:
        return len(self.text.encode()[: node.col_offset].decode())

    def _wrong(self, node: ast.expr, problem: str, *, before: bool = False) -> ExpressionError:
        column = self._column(node)
        if before:  # the sign, not what follows it
            column = len(self.text[:column].rstrip(" (")) - 1
        return ExpressionError(problem, self.text, column)


def _truth(word: str) -> Part:
    return Part(str(_TRUTHS[word]), "boolean", True)
