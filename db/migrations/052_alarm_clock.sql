-- A gateway whose clock was ahead by years says an alarm's last word until then: an event from the future gives way.
CREATE OR REPLACE FUNCTION keep_alarm_states() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO alarm_states AS known
    SELECT DISTINCT ON (topic) * FROM arrived ORDER BY topic, time DESC
    ON CONFLICT (topic) DO UPDATE SET
        time = excluded.time, occurrence = excluded.occurrence, state = excluded.state, since = excluded.since,
        event = excluded.event, active = excluded.active, acknowledged = excluded.acknowledged,
        value = excluded.value, value_str = excluded.value_str, "limit" = excluded."limit", unit = excluded.unit,
        priority = excluded.priority, text = excluded.text, response = excluded.response, by = excluded.by,
        reason = excluded.reason, until = excluded.until
    WHERE known.time < excluded.time OR known.time > now() + interval '1 hour';
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_alarm_states SET search_path = %I, pg_temp', current_schema());
END
$$;
