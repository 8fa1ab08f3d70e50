-- The policies that the first release set, with its default ages.
CALL remove_columnstore_policy('metrics', if_exists => true);
CALL add_columnstore_policy('metrics', after => make_interval(days => 7));

SELECT remove_retention_policy('metrics', if_exists => true),
       remove_retention_policy('metrics_1min', if_exists => true),
       remove_retention_policy('metrics_1hour', if_exists => true),
       remove_retention_policy('metrics_1day', if_exists => true);
SELECT add_retention_policy('metrics', drop_after => make_interval(days => 90)),
       add_retention_policy('metrics_1min', drop_after => make_interval(days => 365)),
       add_retention_policy('metrics_1hour', drop_after => make_interval(days => 1825));
SELECT add_retention_policy('metrics_1day', drop_after => make_interval(days => NULL))
WHERE NULL IS NOT NULL;

SELECT remove_continuous_aggregate_policy('metrics_1min', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1hour', if_exists => true),
       remove_continuous_aggregate_policy('metrics_1day', if_exists => true);
SELECT add_continuous_aggregate_policy('metrics_1min',
           start_offset => make_interval(days => 7),
           end_offset => INTERVAL '1 minute',
           schedule_interval => INTERVAL '1 minute'),
       add_continuous_aggregate_policy('metrics_1hour',
           start_offset => make_interval(days => 7 + 1),
           end_offset => INTERVAL '1 hour',
           schedule_interval => INTERVAL '10 minutes'),
       add_continuous_aggregate_policy('metrics_1day',
           start_offset => make_interval(days => 7 + 3),
           end_offset => INTERVAL '1 day',
           schedule_interval => INTERVAL '1 hour');

SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_rejects';
SELECT add_job('drop_old_rejects', INTERVAL '1 day', config => '{"days": 90}');
