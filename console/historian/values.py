"""Values and qualities as the API gives them. Pure."""


def plain(value: float | None, text: str | None) -> float | str | None:
    """Texts, and the digits of integers beyond 2^53, are strings."""
    return value if text is None else text


def quality_name(quality: int) -> str:
    """OPC classic's code as a word."""
    return "good" if quality >= 192 else "uncertain" if quality >= 64 else "bad"
