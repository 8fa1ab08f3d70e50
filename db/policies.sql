-- TimescaleDB Community only; run at each migration, so that a changed age takes effect: in its job alone, and at once.
-- All else is left as it is: the history of the jobs, and what an operator has set with alter_job.
-- Refreshing looks back further than rows are on time, and never beyond retention: that would wipe the aggregates.
DO $$
DECLARE
    wanted record;
    job int;
    has jsonb;
    target jsonb;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('policy_refresh_continuous_aggregate', 'metrics_1min', INTERVAL '1 minute', INTERVAL '1 minute',
            jsonb_build_object('start_offset', make_interval(days => {refresh_1min}))),
        ('policy_refresh_continuous_aggregate', 'metrics_1hour', INTERVAL '10 minutes', INTERVAL '1 hour',
            jsonb_build_object('start_offset', make_interval(days => {refresh_1hour}))),
        ('policy_refresh_continuous_aggregate', 'metrics_1day', INTERVAL '1 hour', INTERVAL '1 day',
            jsonb_build_object('start_offset', make_interval(days => {refresh_1day}))),
        ('compress_old_chunks', NULL, INTERVAL '12 hours', NULL, jsonb_build_object(
            'compress_after', make_interval(days => {compress_after}), 'hypertable_id',
            (SELECT id FROM _timescaledb_catalog.hypertable WHERE schema_name = current_schema() AND table_name = 'metrics'))),
        ('drop_old_chunks', NULL, INTERVAL '1 hour', NULL, jsonb_build_object(
            'metrics', {retention}, 'metrics_1min', {retention_1min}, 'metrics_1hour', {retention_1hour},
            'metrics_1day', {retention_1day})),
        ('drop_old_records', NULL, INTERVAL '1 day', NULL, jsonb_build_object(
            'rejects', {retention_rejects}, 'audit', {retention_audit},
            'console_audit', {retention_audit}, 'completeness', {retention_audit},
            'alarm_events', {retention_alarms})),
        ('forget_committed', NULL, INTERVAL '1 day', NULL, jsonb_build_object('days', {retention}))
    ) AS jobs (proc, relation, every, until, config)
    LOOP
        job := NULL;
        has := NULL;
        SELECT j.job_id, j.config INTO job, has
        FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.continuous_aggregates c
          ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
        WHERE j.proc_name = wanted.proc AND coalesce(c.view_name, j.hypertable_name) IS NOT DISTINCT FROM wanted.relation
        ORDER BY j.job_id LIMIT 1;
        -- An age that is NULL means "never": its key is left out.
        target := (coalesce(has, '{}') || wanted.config)
            - ARRAY(SELECT key FROM jsonb_each(wanted.config) WHERE value = 'null');
        IF target = has THEN
            CONTINUE;
        ELSIF job IS NOT NULL THEN
            PERFORM alter_job(job, config => target, next_start => now());
        ELSIF wanted.relation IS NOT NULL THEN
            PERFORM add_continuous_aggregate_policy(wanted.relation::regclass, (target->>'start_offset')::interval,
                end_offset => wanted.until, schedule_interval => wanted.every);
        ELSE
            job := add_job(wanted.proc::regproc, wanted.every, config => target);
            PERFORM alter_job(job, max_retries => -1, retry_period => least(wanted.every / 60, INTERVAL '10 minutes'));
        END IF;
    END LOOP;
    PERFORM delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_rejects'; -- of earlier versions
END
$$;
