-- What people write beside the readings. Nobody changes it: a correction is another annotation.
CREATE TABLE annotations (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created timestamptz NOT NULL DEFAULT now(),
    person  text        NOT NULL,
    topic   text,
    device  text,
    start   timestamptz NOT NULL,
    stop    timestamptz NOT NULL,
    text    text        NOT NULL,
    CHECK ((topic IS NULL) <> (device IS NULL)),
    CHECK (start <= stop)
);
CREATE INDEX annotations_topic ON annotations (topic, start) WHERE topic IS NOT NULL;
CREATE INDEX annotations_device ON annotations (device, start) WHERE device IS NOT NULL;

COMMENT ON TABLE annotations IS 'What people have written about a time of a tag or a device';
COMMENT ON COLUMN annotations.device IS 'Path of a device, all of whose tags it is about';

GRANT SELECT ON annotations TO nexus_reader;
GRANT INSERT ON annotations TO nexus_console;
