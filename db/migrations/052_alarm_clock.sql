-- A gateway whose clock was ahead by years would say an alarm's last word until then: an event from the future gives way.
-- And who put an alarm into its state stays known with the state, though what happens below it meanwhile is nobody's doing.
CREATE OR REPLACE FUNCTION keep_alarm_states() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO alarm_states AS known
    SELECT DISTINCT ON (topic) time, topic, device, tag, name, occurrence, state, since, event, active, acknowledged,
        value, value_str, "limit", unit, priority, text, response,
        first_value(by) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC),
        first_value(reason) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC), until
    FROM arrived ORDER BY topic, time DESC
    ON CONFLICT (topic) DO UPDATE SET
        time = excluded.time, occurrence = excluded.occurrence, state = excluded.state, since = excluded.since,
        event = excluded.event, active = excluded.active, acknowledged = excluded.acknowledged,
        value = excluded.value, value_str = excluded.value_str, "limit" = excluded."limit", unit = excluded.unit,
        priority = excluded.priority, text = excluded.text, response = excluded.response,
        by = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.by ELSE excluded.by END,
        reason = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.reason ELSE excluded.reason END,
        until = excluded.until
    WHERE known.time < excluded.time OR known.time > now() + interval '1 hour';
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_alarm_states SET search_path = %I, pg_temp', current_schema());
END
$$;
