-- TimescaleDB Community only; run at each migration, so that a changed age takes effect.
-- Refreshing looks back further than rows are on time, and never beyond retention: that would wipe the aggregates.
CALL remove_columnstore_policy('metrics', if_exists => true);
CALL add_columnstore_policy('metrics', after => make_interval(days => {compress_after}));

SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks';
SELECT alter_job(
    add_job('drop_old_chunks', INTERVAL '1 hour', config => jsonb_strip_nulls(jsonb_build_object(
        'metrics', {retention}, 'metrics_1min', {retention_1min}, 'metrics_1hour', {retention_1hour},
        'metrics_1day', {retention_1day}))),
    max_retries => -1, retry_period => INTERVAL '1 minute');

SELECT remove_continuous_aggregate_policy('metrics_1min', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1hour', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1day', if_exists => true);
SELECT add_continuous_aggregate_policy('metrics_1min',
           start_offset => make_interval(days => {refresh_1min}),
           end_offset => INTERVAL '1 minute',
           schedule_interval => INTERVAL '1 minute'),
       add_continuous_aggregate_policy('metrics_1hour',
           start_offset => make_interval(days => {refresh_1hour}),
           end_offset => INTERVAL '1 hour',
           schedule_interval => INTERVAL '10 minutes'),
       add_continuous_aggregate_policy('metrics_1day',
           start_offset => make_interval(days => {refresh_1day}),
           end_offset => INTERVAL '1 day',
           schedule_interval => INTERVAL '1 hour');

SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name IN ('drop_old_rejects', 'drop_old_records');
SELECT add_job('drop_old_records', INTERVAL '1 day', config => jsonb_strip_nulls(jsonb_build_object(
    'rejects', {retention_rejects}, 'audit', {retention_audit})));

SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'forget_committed';
SELECT add_job('forget_committed', INTERVAL '1 day', config => '{"days": {retention}}');
