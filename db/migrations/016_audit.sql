-- Who wrote what to which device, and what became of it. Gateways say it, ingestion stores it, nobody changes it.
CREATE TABLE audit (
    time   timestamptz NOT NULL,
    id     text        PRIMARY KEY,
    topic  text        NOT NULL,
    event  text        NOT NULL,
    by     text,
    ok     boolean,
    detail jsonb       NOT NULL
);
CREATE INDEX audit_time ON audit (time);

COMMENT ON TABLE audit IS 'One row a write to a device';
COMMENT ON COLUMN audit.topic IS 'audit/{device path}/{tag}';
COMMENT ON COLUMN audit.by IS 'Who asked for it, as far as the asker said so';
COMMENT ON COLUMN audit.detail IS 'Asked value, the values before and after, the error, and whatever else the record says';

GRANT INSERT ON audit TO nexus_writer;
GRANT SELECT ON audit TO nexus_reader;
