"""Alarms: evaluated where values are read, kept on disk, said on the broker, and asked about."""
