-- What is older than this is late: its chunk is compressed, or its buckets are refreshed no more by the policies.
-- In bulk mode today's chunk is in the columnstore from its first large batch on, and without a unique index writing
-- beside that costs nothing more: there only the policies count. TimescaleDB names the aggregate of a policy by its view,
-- and in some versions by the table behind it.
CREATE OR REPLACE FUNCTION late_before() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT max(range_end) FROM timescaledb_information.chunks
         WHERE hypertable_name = 'metrics' AND is_compressed
           AND (SELECT indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass)),
        (SELECT now() - (j.config->>'start_offset')::interval
         FROM timescaledb_information.jobs j
         JOIN timescaledb_information.continuous_aggregates c
           ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
         WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1min')
    )
$$;
