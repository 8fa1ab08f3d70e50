-- What is older than this is dropped with its chunk: storing it would only make chunks for the retention policy to drop.
CREATE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() - (config->>'drop_after')::interval
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND hypertable_name = 'metrics'
$$;
