"""The historian's schema: migrations, policies, and the commands `nexus db`."""
