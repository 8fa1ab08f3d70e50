"""The errors that end a process, and what they tell its caller."""


class ConfigError(Exception):
    """The operator has to change something before this can run. One line a fault; exit code 2."""


class InvariantError(Exception):
    """Something that we hold true of ourselves is not: the process ends, in order, with exit code 1."""
