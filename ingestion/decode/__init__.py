"""Decodes payloads, and encodes rows."""
