-- For NEXUS_INGEST_MODE=bulk: which numbers of which publisher are stored, booked with their rows.
CREATE TABLE committed (
    publisher text           PRIMARY KEY,
    numbers   int8multirange NOT NULL
);
COMMENT ON TABLE committed IS 'Numbers of messages that are stored, by publisher; kept in bulk mode only';

GRANT SELECT, INSERT, UPDATE ON committed TO nexus_writer;
