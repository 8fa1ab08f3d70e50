"""Says, once at a start, which variables look like settings of ours and are none: a slip would go unnoticed."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from nexus.process import log

# Of all services, as one environment often serves several; a test compares them with the settings.
_SETTINGS = """
API_HOST API_PORT BATCH_POINTS BATCH_SECONDS BROKER_AWAY BUFFER_POINTS COMPRESS_AFTER CONNECT_SECONDS
CONSOLE_CONNECTIONS CONSOLE_HOST CONSOLE_INSECURE CONSOLE_OIDC_CA_FILE CONSOLE_OIDC_CLIENT_ID
CONSOLE_OIDC_CLIENT_SECRET CONSOLE_OIDC_ISSUER CONSOLE_OIDC_NAME_CLAIM CONSOLE_OIDC_ROLES CONSOLE_OIDC_ROLE_CLAIM
CONSOLE_NOTIFY CONSOLE_OIDC_PROMPT CONSOLE_OIDC_SCOPE CONSOLE_PASSWORD CONSOLE_PORT CONSOLE_PROXIES
CONSOLE_QUERY_SECONDS CONSOLE_READ_ONLY CONSOLE_SESSION CONSOLE_URL COUNTS_INTERVAL DATABASE_URL DECODERS DEVICES
DEVICE_PREFIX DEVICE_SECRETS ENVIRONMENT
GROUP HEALTH_HOST HEALTH_PORT HTTP_HOSTS HTTP_TOKEN INGEST_MODE LEASE LEASES LOG_FORMAT LOG_LEVEL MEMBER MQTT_CA_FILE
MQTT_CERT_FILE MQTT_KEEPALIVE MQTT_KEY_FILE MQTT_PASSWORD_FILE MQTT_URL MQTT_USER OLDEST_DAYS PKI_DIR QUEUE_READINGS
READER_PASSWORD RECEIPTS RECEIVE_MAXIMUM REJECTS_MB REJECTS_ROWS RETENTION RETENTION_1DAY RETENTION_1HOUR
RETENTION_1MIN RETENTION_ALARMS RETENTION_AUDIT RETENTION_REJECTS RULES RULES_LATENESS RULES_PASSWORD SCAN_SLOT
SERVICE_ACCOUNT SESSION_SECONDS SPOOL_AGE SPOOL_BYTES SPOOL_DIR STATE_DIR TIME_ZONE WRITERS WRITER_PASSWORD
"""
KNOWN = frozenset(f"NEXUS_{name}" for name in _SETTINGS.split())
# What Kubernetes makes of services, what compose and the image read, and what only tests know.
_OTHERS = re.compile(
    r".*_SERVICE_(HOST|PORT.*)|.*_PORT(_\d.*)?|NEXUS_(TEST|IMAGE|DATABASE_SSLMODE|MOSQUITTO|PROMETHEUS)"
)


def unknown(environment: Mapping[str, str]) -> dict[str, str]:
    """Names that begin like ours and mean nothing here, and what is right, or "" where nothing is near."""
    names = (name for name in sorted(environment) if name.upper().startswith("NEXUS_"))
    strange = [name for name in names if name.upper() not in KNOWN and not _OTHERS.match(name.upper())]
    return {name: next(iter(get_close_matches(name.upper(), KNOWN, 1, 0.75)), "") for name in strange}


def warn(environment: Mapping[str, str]) -> None:
    """Logs a warning for each."""
    for name, near in unknown(environment).items():
        said = f"{name} is not a setting, and nothing reads it" + (f": did you mean {near}?" if near else "")
        log.get("settings").warning(said)
