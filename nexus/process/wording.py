"""Translates pydantic's errors for the author of a value."""

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

# By pydantic's error types; `{…}` are filled from the error's context.
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "json_invalid": "is not JSON",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "string_type": "must be a text: put it in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must not be longer than {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or greater",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "list_type": "must be a list, each item after a `- `",
    "too_short": "must not be empty: at least {min_length} is needed",
    "path_type": "must be a path: put it in quotes",
}


def words(fault: ErrorDetails, field: FieldInfo | None) -> str:
    """What is wrong with a value: what it must be, or a sentence of its own validator's."""
    kind = fault["type"]
    if kind in ("value_error", "assertion_error"):
        return fault["msg"].partition(", ")[2]
    if kind == "string_pattern_mismatch" and field is not None and field.examples:
        return f"must be written like {field.examples[0]}"
    return _WORDS.get(kind, "has the wrong form").format_map(fault.get("ctx", {}))
