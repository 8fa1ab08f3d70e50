"""One-shot tools for commissioning, which use the drivers without a gateway, and return lines of text."""
