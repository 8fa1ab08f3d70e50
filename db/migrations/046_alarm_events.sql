-- What happened to alarms, an event a row. Gateways say it, ingestion stores it, each event once; nobody changes it.
CREATE TABLE alarm_events (
    time         timestamptz NOT NULL,
    topic        text        NOT NULL,
    device       text        NOT NULL,
    tag          text        NOT NULL,
    name         text        NOT NULL,
    occurrence   timestamptz NOT NULL,
    state        text        NOT NULL,
    since        timestamptz NOT NULL,
    event        text        NOT NULL,
    active       boolean     NOT NULL,
    acknowledged boolean     NOT NULL,
    value        float8,
    value_str    text,
    "limit"      float8,
    unit         text,
    priority     text        NOT NULL,
    text         text        NOT NULL,
    response     text        NOT NULL,
    by           text,
    reason       text        NOT NULL,
    until        timestamptz,
    PRIMARY KEY (topic, occurrence, state, time)
);
CREATE INDEX alarm_events_time ON alarm_events (time);

COMMENT ON TABLE alarm_events IS 'The journal of alarms: one row an event, kept for NEXUS_RETENTION_ALARMS';
COMMENT ON COLUMN alarm_events.topic IS 'alarm/{device path}/{tag}/{name}, without the tag for an alarm of the device itself';
COMMENT ON COLUMN alarm_events.occurrence IS 'When the alarm was raised: with the topic, the key of an occurrence';
COMMENT ON COLUMN alarm_events.state IS 'After the event: normal, unacknowledged, acknowledged, returned, latched, shelved, suppressed or out-of-service';
COMMENT ON COLUMN alarm_events.since IS 'Since when the alarm is in this state';
COMMENT ON COLUMN alarm_events.active IS 'Whether the condition holds, whatever hides the alarm';
COMMENT ON COLUMN alarm_events."limit" IS 'The limit that was crossed';
COMMENT ON COLUMN alarm_events.by IS 'Who acknowledged, shelved or otherwise changed the alarm';
COMMENT ON COLUMN alarm_events.until IS 'When the shelving ends';

-- To find an alarm's last event among millions would need another index on all of them; so it is kept, by the insert
-- itself, whoever inserts. That of an alarm that stands stays here when retention takes its events.
CREATE TABLE alarm_states (LIKE alarm_events, PRIMARY KEY (topic)) WITH (fillfactor = 70);
COMMENT ON TABLE alarm_states IS 'The last event of each alarm';

-- Events may arrive in any order, and again. In order of the topics, so that two writers cannot block each other.
CREATE FUNCTION keep_alarm_states() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO alarm_states AS known
    SELECT DISTINCT ON (topic) * FROM arrived ORDER BY topic, time DESC
    ON CONFLICT (topic) DO UPDATE SET
        time = excluded.time, occurrence = excluded.occurrence, state = excluded.state, since = excluded.since,
        event = excluded.event, active = excluded.active, acknowledged = excluded.acknowledged,
        value = excluded.value, value_str = excluded.value_str, "limit" = excluded."limit", unit = excluded.unit,
        priority = excluded.priority, text = excluded.text, response = excluded.response, by = excluded.by,
        reason = excluded.reason, until = excluded.until
    WHERE known.time < excluded.time;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_alarm_states AFTER INSERT ON alarm_events
REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION keep_alarm_states();

CREATE VIEW alarms_now AS SELECT * FROM alarm_states WHERE state <> 'normal';
COMMENT ON VIEW alarms_now IS 'The last event of each alarm that is not normal';

REVOKE EXECUTE ON FUNCTION keep_alarm_states FROM PUBLIC;
GRANT INSERT ON alarm_events TO nexus_writer;
GRANT SELECT ON alarm_events, alarm_states, alarms_now TO nexus_reader;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_alarm_states SET search_path = %I, pg_temp', current_schema());
    -- A job that has no age for a table keeps it for ever, and a migration keeps what a job has.
    IF to_regclass('timescaledb_information.jobs') IS NOT NULL THEN
        EXECUTE $text$
            SELECT alter_job(job_id, config => config || '{"alarm_events": 730}')
            FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_records'
        $text$;
    END IF;
END
$$;
