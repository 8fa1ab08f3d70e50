"""By which notifications leave; each module has its settings, and `send`."""
