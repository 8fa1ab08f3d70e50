"""Writes batches into the database, and rejects what cannot be stored."""
