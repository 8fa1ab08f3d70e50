"""The error that answers a request about device files."""


class FilesError(Exception):
    """The request is refused. The text says why, and what would be right."""
