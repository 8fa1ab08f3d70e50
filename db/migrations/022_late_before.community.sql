-- What is older than this is late. The policies look back a day longer than that: what is on time now is still refreshed
-- when they are late, or have failed for a while.
-- Who connects while the database is restored sees no hypertables, to the connection's end: rows would be lost, and the
-- ingester asks here before it writes any.
CREATE OR REPLACE FUNCTION late_before() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('timescaledb.restoring', true) = 'on' THEN
        RAISE EXCEPTION USING ERRCODE = 'cannot_connect_now', MESSAGE = 'the database is being restored';
    END IF;
    RETURN greatest(
        (SELECT max(range_end) FROM timescaledb_information.chunks
         WHERE hypertable_name = 'metrics' AND is_compressed
           AND (SELECT indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass)),
        (SELECT now() - (j.config->>'start_offset')::interval + INTERVAL '1 day'
         FROM timescaledb_information.jobs j
         JOIN timescaledb_information.continuous_aggregates c
           ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
         WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1min')
    );
END
$$;
