-- TimescaleDB shows a job's errors to the job's owner only, and a monitor is none.
-- TimescaleDB 2.29.2 on PostgreSQL 17.12 calls a job failed when its work is committed already, because it cannot put away
-- the job's portal: that is no failure.
CREATE FUNCTION job_states()
RETURNS TABLE (task text, schedule interval, failed boolean, finished timestamptz, failures bigint, error text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH errors AS (
        SELECT job_id, finish_time, err_message, err_message LIKE 'cannot drop portal % while it is being set up' AS harmless
        FROM timescaledb_information.job_errors
    )
    SELECT j.proc_name || coalesce(' ' || coalesce(c.view_name, j.hypertable_name), ''),
           j.schedule_interval,
           coalesce(s.last_run_status = 'Failed' AND NOT coalesce(last.harmless, false), false),
           greatest(nullif(s.last_successful_finish, '-infinity'),
                    (SELECT max(finish_time) FROM errors WHERE job_id = j.job_id AND harmless)),
           (SELECT count(*) FROM errors WHERE job_id = j.job_id AND NOT harmless),
           (SELECT err_message FROM errors WHERE job_id = j.job_id AND NOT harmless ORDER BY finish_time DESC LIMIT 1)
    FROM timescaledb_information.jobs j
    LEFT JOIN timescaledb_information.job_stats s USING (job_id)
    LEFT JOIN timescaledb_information.continuous_aggregates c
           ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
    LEFT JOIN LATERAL (
        SELECT harmless FROM errors WHERE job_id = j.job_id ORDER BY finish_time DESC LIMIT 1
    ) AS last ON true
    WHERE j.job_id >= 1000 ORDER BY 1
$$;

-- Days of readings that no aggregate has, though the policies are past them: `nexus db refresh` makes up for it.
CREATE FUNCTION days_not_rolled_up() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT count(*) FROM stored_days(late_before() - INTERVAL '5 days') AS day
    WHERE rolled_up('metrics_1day', day, day + INTERVAL '24 hours') = 0
      AND EXISTS (SELECT 1 FROM metrics WHERE time >= day AND time < day + INTERVAL '24 hours')
$$;

REVOKE EXECUTE ON FUNCTION job_states(), days_not_rolled_up() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_states(), days_not_rolled_up() TO nexus_reader, nexus_writer;
