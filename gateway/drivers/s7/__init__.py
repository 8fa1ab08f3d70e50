"""Siemens S7 over ISO on TCP."""
