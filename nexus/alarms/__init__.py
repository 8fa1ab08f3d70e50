"""Alarms by ISA-18.2, and the expressions that they are written in. Pure."""
