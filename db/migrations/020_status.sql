-- Whoever may log in may ask which schema this is.
GRANT SELECT ON nexus_migrations TO nexus_writer, nexus_reader;
