"""Alarms: evaluated where values are read, kept on disk, published, and changed by requests."""
