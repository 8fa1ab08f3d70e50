-- Old chunks go a few a transaction: each costs locks, of which a server has so many and no more. Readings go when they
-- are in the aggregates. `config` says after how many days, for the table and each aggregate. Who reads an old chunk in an open
-- transaction makes it fail: it tries again in a minute. If it waited, all who ask for that chunk would wait behind it.
CREATE OR REPLACE PROCEDURE drop_old_chunks(job_id int, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT int := 20;
    part record;
    upto timestamptz;
    day timestamptz;
    refreshed int;
BEGIN
    PERFORM set_config('lock_timeout', '2s', false); -- for all its transactions
    FOR part IN SELECT key AS relation, value::int AS days FROM jsonb_each_text(config) ORDER BY length(key) LOOP
        LOOP
            SELECT max(range_end) INTO upto FROM (
                SELECT range_end FROM timescaledb_information.chunks
                WHERE range_end <= now() - make_interval(days => part.days) AND hypertable_name = coalesce(
                    (SELECT materialization_hypertable_name FROM timescaledb_information.continuous_aggregates
                     WHERE view_name = part.relation), part.relation)
                ORDER BY range_end LIMIT most
            ) AS oldest;
            EXIT WHEN upto IS NULL;
            IF part.relation = 'metrics' THEN
                FOR day IN SELECT stored_days(upto) LOOP
                    CALL refresh_day(day, refreshed);
                END LOOP;
            END IF;
            PERFORM drop_chunks(part.relation::regclass, older_than => upto);
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
