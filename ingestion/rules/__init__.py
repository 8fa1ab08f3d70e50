"""`nexus rules`: derived tags and alarms across devices, with their state in the database."""
