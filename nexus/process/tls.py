"""TLS trust: the same on every version of Python."""

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies the server's certificate and name. Raises OSError if the file is not there, or holds none.

    From 3.13 on Python also refuses authorities that lack extensions of RFC 5280, which OpenSSL, Go and browsers do not
    ask for: many plants' own, as `openssl req -x509` makes them, and those of older clusters.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
