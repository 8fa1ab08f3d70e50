"""The historian's schema: migrations, policies, and what `nexus db` says of it."""
