"""What the settings of several channels have."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict

STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

_URL = re.compile(r"https?://[^\s/?#]+(/\S*)?")


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise ValueError("write a whole URL, like https://cmms.plant.example/alarms")
    return text


def listed(value: Any) -> Any:
    """One value is a list of one."""
    return value if isinstance(value, list | tuple) else [value]


Url = Annotated[str, AfterValidator(_url)]
Texts = Annotated[tuple[str, ...], BeforeValidator(listed)]
