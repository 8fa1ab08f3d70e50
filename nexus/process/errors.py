"""The errors that end a process, with their exit codes."""


class ConfigError(Exception):
    """The operator has to change something before this can run. One line a fault; exit code 2."""


class UnavailableError(Exception):
    """Something that a command needs is not available, such as a database that does not answer; exit code 1."""


class InvariantError(BaseException):
    """Something that we hold true of ourselves is not: the process ends, in order, with exit code 1.

    No `except Exception` takes it for the fault of a message, a device or a peer: it passes through all of them.
    """
