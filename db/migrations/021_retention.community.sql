-- Where the readings begin that retention keeps; a day that is partly older is kept whole.
CREATE OR REPLACE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() - make_interval(days => (config->>'metrics')::int)
    FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks'
$$;

-- How many readings an aggregate holds, without those that its view would add from finer ones.
CREATE FUNCTION rolled_up(aggregate name, first timestamptz, after timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    source text;
    found bigint;
BEGIN
    SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT source
    FROM timescaledb_information.continuous_aggregates WHERE view_name = aggregate;
    EXECUTE format('SELECT coalesce(sum(count), 0) FROM %s WHERE bucket >= $1 AND bucket < $2', source)
    INTO found USING first, after;
    RETURN found;
END
$$;

-- Refreshes `batch` buckets a transaction. TimescaleDB's own 10 make a day of minutes 144 transactions, however few
-- readings it has; versions before 2.29 do all in one, and have no such option.
CREATE PROCEDURE refresh_range(aggregate regclass, first timestamptz, after timestamptz, batch int) LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_proc WHERE proname = 'refresh_continuous_aggregate' AND 'options' = ANY (proargnames)) THEN
        CALL refresh_continuous_aggregate(
            aggregate, first, after, options => jsonb_build_object('buckets_per_batch', batch));
    ELSE
        CALL refresh_continuous_aggregate(aggregate, first, after);
    END IF;
END
$$;

-- Makes the aggregates of a day (from midnight UTC) that hold less than the table does: history that was loaded, or what
-- the policies missed. One that holds more is left: its readings are dropped already, and refreshing would wipe it.
CREATE PROCEDURE refresh_day(day timestamptz, INOUT refreshed int DEFAULT 0) LANGUAGE plpgsql AS $$
DECLARE
    after CONSTANT timestamptz := day + INTERVAL '24 hours';
    stored bigint;
    aggregate name;
BEGIN
    refreshed := 0;
    SELECT count(*) INTO stored FROM metrics WHERE time >= day AND time < after;
    FOREACH aggregate IN ARRAY ARRAY['metrics_1min', 'metrics_1hour', 'metrics_1day']::name[] LOOP
        IF rolled_up(aggregate, day, after) < stored THEN
            CALL refresh_range(aggregate::regclass, day, after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
END
$$;

-- The days that have chunks.
CREATE FUNCTION stored_days(before timestamptz) RETURNS SETOF timestamptz LANGUAGE sql STABLE AS $$
    SELECT DISTINCT day FROM timescaledb_information.chunks,
        generate_series(time_bucket('1 day', range_start), range_end - INTERVAL '1 microsecond', INTERVAL '24 hours') AS day
    WHERE hypertable_name = 'metrics' AND range_end <= before ORDER BY day
$$;

-- Old chunks go a few a transaction: each costs locks, of which a server has so many and no more. Readings go when they
-- are in the aggregates. `config` says after how many days, for the table and each aggregate.
CREATE PROCEDURE drop_old_chunks(job_id int, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT int := 20;
    part record;
    upto timestamptz;
    day timestamptz;
    refreshed int;
BEGIN
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

-- It takes the place of these.
SELECT remove_retention_policy('metrics', if_exists => true),
       remove_retention_policy('metrics_1min', if_exists => true),
       remove_retention_policy('metrics_1hour', if_exists => true),
       remove_retention_policy('metrics_1day', if_exists => true);
