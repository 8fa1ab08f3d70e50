"""What is said to whoever asked."""


class FilesError(Exception):
    """It is not done. The text says why, and what would be right."""
