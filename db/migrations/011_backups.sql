-- What `nexus db backup` has brought to its end, for whoever watches that it still does.
CREATE TABLE backups (
    finished timestamptz PRIMARY KEY DEFAULT now(),
    seconds float8 NOT NULL,
    bytes bigint NOT NULL,
    file text NOT NULL
);
GRANT SELECT ON backups TO nexus_reader;
