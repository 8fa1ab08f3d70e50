"""Translates libyaml's errors for the author of a file: the line at fault, and what to do. Pure."""

import yaml

_INDENTATION = "wrong indentation: begin keys and items of one list in the same column"
_UNCLOSED = "this ends without its '{0}': a comma, a quote or the '{0}' itself is missing"

# libyaml's text; whether the mistake is where the parser had begun, or where it stopped; and our message.
_REMEDIES = (
    ("tab character", False, "a tab: YAML is indented with spaces only"),
    ("did not find expected ',' or '}'", True, _UNCLOSED.format("}")),
    ("did not find expected ',' or ']'", True, _UNCLOSED.format("]")),
    ("quoted scalar found unexpected end", True, "the quote that begins here is never closed"),
    ("scanning a simple key", True, "a key needs a colon and a space, like `host: plc`"),
    ("mapping values are not allowed", False, f"{_INDENTATION}; or a text that contains `: ` is not in quotes"),
    ("expected '-' indicator", False, _INDENTATION),
    ("block mapping did not find expected key", False, _INDENTATION),
    ("cannot start any token", False, "a text that begins with a special character must be in quotes"),
    ("parsing a quoted scalar", False, "a backslash in double quotes is special: use single quotes, or write two"),
)


def problem_of(error: yaml.MarkedYAMLError, text: str) -> tuple[int | None, str]:
    """The line, counted from 1, and the message."""
    stopped = error.problem_mark or error.context_mark
    begun = error.context_mark or stopped
    if stopped is None or begun is None:
        return None, f"{error.problem or error.context}"
    lines = text.splitlines() or [""]
    at = min(stopped.line, len(lines) - 1)  # not after the end of the file
    is_tab = lines[at][stopped.column : stopped.column + 1] == "\t"
    said = "tab character" if is_tab else f"{error.context} {error.problem}"
    for needle, is_where_it_began, message in _REMEDIES:
        if needle in said:
            return (begun.line if is_where_it_began else at) + 1, message
    return at + 1, f"{error.problem or error.context}"
