"""The console: the historian over HTTP, live values, and the plant's state for people and programs."""
