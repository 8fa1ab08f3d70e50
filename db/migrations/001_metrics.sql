CREATE TABLE metrics (
    time      timestamptz NOT NULL,
    topic     text        NOT NULL,
    value     float8,
    value_str text,
    quality   smallint    NOT NULL,
    unit      text
);

COMMENT ON TABLE metrics IS 'One row a reading';
COMMENT ON COLUMN metrics.time IS 'When the value was read, or the source''s own time';
COMMENT ON COLUMN metrics.topic IS 'dev/{device path}/{tag}';
COMMENT ON COLUMN metrics.value IS 'Numbers; booleans as 0 and 1';
COMMENT ON COLUMN metrics.value_str IS 'Texts; and the digits of integers beyond 2^53';
COMMENT ON COLUMN metrics.quality IS 'OPC classic: 192 good, 64 uncertain, 0 bad';

CREATE TABLE rejects (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time    timestamptz NOT NULL DEFAULT now(),
    topic   text        NOT NULL,
    payload bytea       NOT NULL,
    reason  text        NOT NULL
);

CREATE INDEX rejects_time ON rejects (time);

COMMENT ON TABLE rejects IS 'What arrived and could not be stored, and why';
