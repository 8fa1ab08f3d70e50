-- The console shows which consumers there are.
GRANT SELECT ON consumers TO nexus_reader;
