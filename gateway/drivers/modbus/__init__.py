"""Modbus: over TCP, over serial lines, and over converters between the two."""
