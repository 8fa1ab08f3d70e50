-- How many late rows wait is for everybody to see.
GRANT SELECT ON metrics_late TO nexus_reader;
