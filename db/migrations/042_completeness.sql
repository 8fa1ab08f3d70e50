-- What gateways have counted of the readings of each device and hour. A count only grows, so the largest that came is
-- the last one, in whatever order messages came, and however often.
CREATE TABLE completeness (
    device    text        NOT NULL,
    time      timestamptz NOT NULL,
    run       text        NOT NULL,
    gateway   text        NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    ended     boolean     NOT NULL,
    read      bigint      NOT NULL,
    marked    bigint      NOT NULL,
    sent      bigint      NOT NULL,
    repeated  bigint      NOT NULL,
    receipted bigint      NOT NULL,
    dropped   bigint      NOT NULL,
    away      bigint      NOT NULL,
    resting   bigint      NOT NULL,
    overran   bigint      NOT NULL,
    PRIMARY KEY (device, time, run)
);
CREATE INDEX completeness_time ON completeness (time);

COMMENT ON TABLE completeness IS 'A row a device, hour and run of a gateway: what was read, sent and lost of that hour';
COMMENT ON COLUMN completeness.time IS 'The beginning of the hour, by the times of the readings';
COMMENT ON COLUMN completeness.run IS 'Who counted: new with each start of a gateway, and with each time that it takes the device';
COMMENT ON COLUMN completeness.until IS 'Until when the device was watched, from since on';
COMMENT ON COLUMN completeness.ended IS 'The device has left the device files: nothing is due after until';
COMMENT ON COLUMN completeness.marked IS 'Readings of bad quality that say that the device gave none';
COMMENT ON COLUMN completeness.repeated IS 'Of those sent: with the tag and time of one before, and so no row of their own';
COMMENT ON COLUMN completeness.receipted IS 'Of those sent: known to the gateway to be in the database';
COMMENT ON COLUMN completeness.dropped IS 'Of those sent: lost, for the limits of the spool or because the broker refused them';
COMMENT ON COLUMN completeness.away IS 'Due and not read: the device did not answer';
COMMENT ON COLUMN completeness.resting IS 'Due and not read: the circuit breaker was open';
COMMENT ON COLUMN completeness.overran IS 'Due and not read: the scan before took too long';

GRANT SELECT, INSERT, UPDATE ON completeness TO nexus_writer;
GRANT SELECT ON completeness TO nexus_reader;
