"""What `nexus` does: a function a command. Each imports what it needs when it is called."""

from nexus.runtime import log, settings


def configure_log(service: str) -> None:
    """Logs as the environment says."""
    process = settings.load(settings.Process)
    log.configure(service, process.log_level, process.log_format)
