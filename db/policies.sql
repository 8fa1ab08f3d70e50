-- TimescaleDB Community only; run at each migration, so that a changed age takes effect.
-- Refreshing looks back as far as rows are uncompressed: beyond raw retention it would wipe the aggregates.
CALL remove_columnstore_policy('metrics', if_exists => true);
CALL add_columnstore_policy('metrics', after => make_interval(days => {compress_after}));

SELECT remove_retention_policy('metrics', if_exists => true),
       remove_retention_policy('metrics_1min', if_exists => true),
       remove_retention_policy('metrics_1hour', if_exists => true),
       remove_retention_policy('metrics_1day', if_exists => true);
SELECT add_retention_policy('metrics', drop_after => make_interval(days => {retention})),
       add_retention_policy('metrics_1min', drop_after => make_interval(days => {retention_1min})),
       add_retention_policy('metrics_1hour', drop_after => make_interval(days => {retention_1hour}));
SELECT add_retention_policy('metrics_1day', drop_after => make_interval(days => {retention_1day}))
WHERE {retention_1day} IS NOT NULL;

SELECT remove_continuous_aggregate_policy('metrics_1min', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1hour', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1day', if_exists => true);
SELECT add_continuous_aggregate_policy('metrics_1min',
           start_offset => make_interval(days => {compress_after}),
           end_offset => INTERVAL '1 minute',
           schedule_interval => INTERVAL '1 minute'),
       add_continuous_aggregate_policy('metrics_1hour',
           start_offset => make_interval(days => {compress_after} + 1),
           end_offset => INTERVAL '1 hour',
           schedule_interval => INTERVAL '10 minutes'),
       add_continuous_aggregate_policy('metrics_1day',
           start_offset => make_interval(days => {compress_after} + 3),
           end_offset => INTERVAL '1 day',
           schedule_interval => INTERVAL '1 hour');

SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_rejects';
SELECT add_job('drop_old_rejects', INTERVAL '1 day', config => '{"days": {retention_rejects}}');
