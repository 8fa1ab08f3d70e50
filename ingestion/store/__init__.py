"""Batches into the database, and what cannot be stored."""
