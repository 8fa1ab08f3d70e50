"""Derived tags: calculated from a device's other tags, or totals of them."""
