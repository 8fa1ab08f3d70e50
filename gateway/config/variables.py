"""Which `${VARIABLES}` a device file may use."""

from nexus.config.variables import Allowed

PREFIX = "DEVICE_"

# Of these keys, and no others, the value may come from the environment: they say where a device is, and who we are to
# it. Everything else is published, logged or shown.
CONNECTING = frozenset(
    {
        "host",
        "port",
        "serial",
        "endpoint",
        "username",
        "password",
        "password_file",
        "certificate",
        "key",
        "trust",
    }
)


def allowed(prefix: str = PREFIX) -> Allowed:
    """The variables whose names begin with `prefix`."""
    return Allowed(prefix, CONNECTING, "device files", "NEXUS_DEVICE_PREFIX")
