"""A spreadsheet's CSV: encodings, separators and cells, as Excel writes and reads them."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

Encoding = Literal["utf-8", "utf-16", "cp1252"]
Separator = Literal[",", ";", "tab"]

# Columns whose numbers may have decimal commas, if the separator is a semicolon.
NUMBERS = frozenset({"scale", "offset", "interval", "deadband", "max_silence", "min", "max"}) | {
    "raw low", "raw high", "scaled low", "scaled high"
}  # fmt: skip
NO = ("", "0", "false", "no")
# Excel writes true and false in the user's language.
TRUTHS = {"yes": True, "true": True, "1": True, "x": True, "wahr": True, "ja": True, "vrai": True, "oui": True} | {
    "no": False, "false": False, "0": False, "falsch": False, "nein": False, "faux": False, "non": False
}  # fmt: skip
_CODECS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "cp1252": "cp1252"}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS = {"tab": "\t"}
_GUARDED = tuple("=+-@'")  # a cell that begins with one of these would be a formula
_DECIMAL = re.compile(r"(-?\d*),(\d+(?:[eE][-+]?\d+| *%| *(?:ms|s|m|h|d))?)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Tag:
    """A tag's keys as YAML, and what is not taken over."""

    keys: Sequence[tuple[str, str]]
    remarks: Sequence[str] = ()

    @property
    def line(self) -> str:
        inner = ", ".join(f"{key}: {text}" for key, text in self.keys)
        return f"      - {{{inner}}}" + "".join(f"  # {remark}" for remark in self.remarks)


def decoded(data: bytes) -> str:
    """The text of a file in whichever encoding Excel has saved it. Raises ValueError."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return data.decode(codec)
    if b"\0" in data[:2]:
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def encoded(text: str, encoding: Encoding) -> bytes:
    """The bytes of a file that Excel opens. Raises ValueError that names the characters that the encoding lacks."""
    try:
        return text.encode(_CODECS[encoding])
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!r} is not in {encoding}: use --encoding utf-8") from None


def rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with the numbers of their (last) lines; columns in lower case. Raises ValueError.

    Where a semicolon or a tab separates, numbers may have decimal commas: they get points.
    """
    first, _, rest = text.partition("\n")
    skipped = 0
    if named := re.fullmatch(r"\"?sep=(.)\"?\r?", first):  # Excel's own way to declare the separator
        separator, text, skipped = named[1], rest, 1
    else:
        separator = max(",;\t", key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            cells = {(key or "").strip().lower(): cell for key, cell in row.items() if isinstance(cell, str)}
            found = {key: _read(key, cell, comma=separator != ",") for key, cell in cells.items()}
            if any(found.values()):
                yield reader.line_num + skipped, found
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _read(column: str, cell: str, *, comma: bool) -> str:
    inner = cell[1:]
    if cell.startswith("'") and (inner.startswith(_GUARDED) or inner != inner.strip()):
        return inner
    cell = cell.strip()
    if comma and column in NUMBERS and (match := _DECIMAL.fullmatch(cell)):
        return f"{match[1]}.{match[2]}"
    return cell


def written(columns: Sequence[str], lines: Iterable[dict[str, Any]], separator: Separator) -> str:
    """The text of a file; with semicolons numbers have decimal commas, as where Excel separates so."""
    out = StringIO(newline="")
    writer = csv.writer(out, delimiter=_SEPARATORS.get(separator, separator), lineterminator="\r\n")
    writer.writerow(columns)
    comma = separator == ";"
    writer.writerows([_cell(line.get(column), comma=comma) for column in columns] for line in lines)
    return out.getvalue()


def _cell(value: object, *, comma: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return repr(value).replace(".", ",") if comma else repr(value)
    text = str(value)
    return f"'{text}" if text.startswith(_GUARDED) or text != text.strip() else text


def quoted(text: str, *, raw: bool = False) -> str:
    """A text quoted for a device file; with `raw`, its variables stay."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if raw else f'"{escaped}"'.replace("$", "$$")


def number(text: str, key: str) -> str:
    """A number as YAML, with all of its digits. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{key} {text!r} is not a number")
    return text if re.fullmatch(r"-?\d{1,15}", text) else repr(float(text))


def truth(text: str, key: str) -> str:
    """A boolean, in any of the languages of Excel that we know. Raises ValueError."""
    if (found := TRUTHS.get(text.lower())) is None:
        raise ValueError(f"{key} {text!r} is neither yes nor no")
    return "true" if found else "false"


def plain(text: str) -> str:
    """A number unquoted, everything else as a text."""
    try:
        return number(text, "")
    except ValueError:
        return quoted(text)


def tag_name(text: str) -> str:
    """A tag's name as a topic level can hold it."""
    return re.sub(r"[/+#\s]+", "_", text.strip())
