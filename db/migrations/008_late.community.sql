-- Rows for compressed chunks arrive here, because writing them where they belong costs three times as much and would
-- hold up the fresh ones. `merge_late` brings them home, and refreshes the buckets that it touched.
CREATE TABLE metrics_late (LIKE metrics INCLUDING DEFAULTS);
CREATE INDEX metrics_late_time ON metrics_late (time);
COMMENT ON TABLE metrics_late IS 'On their way into compressed chunks of metrics; empty within a minute';

CREATE TABLE late_ranges (
    first timestamptz NOT NULL,
    after timestamptz NOT NULL
);
COMMENT ON TABLE late_ranges IS 'Whole minutes that late rows went into, until the aggregates are refreshed';

-- What is older than this is late: its chunk may be compressed, or its buckets are refreshed no more by the policies.
CREATE FUNCTION late_before() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT max(range_end) FROM timescaledb_information.chunks
         WHERE hypertable_name = 'metrics' AND is_compressed),
        (SELECT now() - (j.config->>'start_offset')::interval
         FROM timescaledb_information.jobs j
         JOIN timescaledb_information.continuous_aggregates c ON c.materialization_hypertable_name = j.hypertable_name
         WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1min')
    )
$$;

-- One transaction a run of minutes without a gap, and not beyond the hour: what it invalidates is what it touched.
CREATE PROCEDURE merge_late(job_id int DEFAULT NULL, config jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT int := 50000;
    start timestamptz;
    stop timestamptz;
    kept_from timestamptz;
    part record;
BEGIN
    LOOP
        SELECT date_trunc('minute', min(time)) INTO start FROM metrics_late;
        EXIT WHEN start IS NULL;
        SELECT min(minute) + INTERVAL '1 minute' INTO stop
        FROM generate_series(start, date_trunc('hour', start) + INTERVAL '59 minutes', INTERVAL '1 minute') AS minute
        WHERE minute = date_trunc('hour', start) + INTERVAL '59 minutes'
           OR NOT EXISTS (
               SELECT 1 FROM metrics_late
               WHERE time >= minute + INTERVAL '1 minute' AND time < minute + INTERVAL '2 minutes'
           );
        INSERT INTO late_ranges VALUES (start, stop);
        WITH moved AS (
            DELETE FROM metrics_late
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM metrics_late WHERE time >= start AND time < stop LIMIT most))
            RETURNING *
        )
        INSERT INTO metrics (time, topic, value, value_str, quality, unit)
        SELECT time, topic, value, value_str, quality, unit FROM moved
        ORDER BY topic, time
        ON CONFLICT DO NOTHING;
        COMMIT;
    END LOOP;

    -- What retention has dropped cannot be computed again: older buckets stay as they are.
    SELECT now() - (j.config->>'drop_after')::interval INTO kept_from
    FROM timescaledb_information.jobs j
    WHERE j.proc_name = 'policy_retention' AND j.hypertable_name = 'metrics';
    DELETE FROM late_ranges WHERE first < kept_from;
    COMMIT;

    FOR part IN SELECT DISTINCT first, after FROM late_ranges ORDER BY first LOOP
        CALL refresh_continuous_aggregate('metrics_1min', part.first, part.after);
    END LOOP;
    FOR part IN
        SELECT DISTINCT date_trunc('hour', first) AS first, date_trunc('hour', first) + INTERVAL '1 hour' AS after
        FROM late_ranges ORDER BY 1
    LOOP
        CALL refresh_continuous_aggregate('metrics_1hour', part.first, part.after);
    END LOOP;
    FOR part IN
        SELECT DISTINCT time_bucket('1 day', first) AS first, time_bucket('1 day', first) + INTERVAL '1 day' AS after
        FROM late_ranges ORDER BY 1
    LOOP
        CALL refresh_continuous_aggregate('metrics_1day', part.first, part.after);
    END LOOP;
    DELETE FROM late_ranges;
    COMMIT;
END
$$;

-- A policy that refreshes the same buckets at the same time makes it fail: it soon tries again.
SELECT alter_job(add_job('merge_late', INTERVAL '10 seconds'), retry_period => INTERVAL '10 seconds', max_retries => -1);

GRANT INSERT ON metrics_late TO nexus_writer;
