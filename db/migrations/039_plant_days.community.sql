-- Whose days the daily values are: NEXUS_TIME_ZONE, set by `nexus db migrate`, which makes `metrics_1day` anew.
CREATE FUNCTION plant_time_zone() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'UTC' $$;

-- The plant's days that meet a range of time, from midnight to midnight: of 23 to 25 hours.
CREATE FUNCTION plant_days(start timestamptz, stop timestamptz)
RETURNS TABLE (first timestamptz, after timestamptz) LANGUAGE sql STABLE AS $$
    SELECT day AT TIME ZONE plant_time_zone(), (day + INTERVAL '1 day') AT TIME ZONE plant_time_zone()
    FROM generate_series(date_trunc('day', start AT TIME ZONE plant_time_zone()),
                         (stop AT TIME ZONE plant_time_zone()) - INTERVAL '1 microsecond', INTERVAL '1 day') AS day
$$;

-- What days are made from: hours, or minutes where the plant's hours are not those of UTC.
CREATE FUNCTION days_made_from() RETURNS name LANGUAGE sql STABLE AS $$
    SELECT finer.view_name FROM timescaledb_information.continuous_aggregates AS days
    JOIN timescaledb_information.continuous_aggregates AS finer
      ON days.hypertable_name IN (finer.view_name, finer.materialization_hypertable_name)
    WHERE days.view_name = 'metrics_1day'
$$;

-- Computes buckets of some topics again, where TimescaleDB's own refresh would compute those of all topics: it reads what
-- they read, a thousandth of it where one tag of a thousand was late. The plant's days are computed whole. A bucket that
-- holds more than can be computed is left, because its readings are dropped already. The lock keeps policies from writing
-- the same buckets.
CREATE OR REPLACE FUNCTION refresh_topics(aggregate name, topics text[], first timestamptz, after timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    materialized text;
    computed text;
    buckets text;
BEGIN
    IF aggregate = 'metrics_1day' THEN
        SELECT min(days.first), max(days.after) INTO first, after FROM plant_days(first, after) AS days;
    END IF;
    buckets := format('topic = ANY ($1) AND bucket >= %L AND bucket < %L', first, after);
    SELECT format('%I.%I', h.schema_name, h.table_name), format('%I.%I', c.partial_view_schema, c.partial_view_name)
    INTO STRICT materialized, computed
    FROM _timescaledb_catalog.continuous_agg c JOIN _timescaledb_catalog.hypertable h ON h.id = c.mat_hypertable_id
    WHERE c.user_view_schema = current_schema() AND c.user_view_name = aggregate;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', materialized);
    EXECUTE format($sql$
        WITH computed AS MATERIALIZED (SELECT * FROM %2$s WHERE %3$s), fuller AS (
            SELECT topic, bucket FROM %1$s AS old JOIN computed USING (topic, bucket)
            WHERE %3$s AND old.count > computed.count
        ), replaced AS (
            DELETE FROM %1$s AS old USING computed
            WHERE old.topic = computed.topic AND old.bucket = computed.bucket AND old.count <= computed.count
        )
        INSERT INTO %1$s SELECT * FROM computed
        WHERE NOT EXISTS (SELECT FROM fuller WHERE fuller.topic = computed.topic AND fuller.bucket = computed.bucket)
        $sql$, materialized, computed, buckets) USING topics;
END
$$;

-- Makes the aggregates of a day of UTC that hold less than the table does: history that was loaded, or what the policies
-- missed. One that holds more is left: its readings are dropped already, and refreshing would wipe it. So it is with the
-- plant's days in it, and what they are made from.
CREATE OR REPLACE PROCEDURE refresh_day(day timestamptz, INOUT refreshed int DEFAULT 0) LANGUAGE plpgsql AS $$
DECLARE
    after CONSTANT timestamptz := day + INTERVAL '24 hours';
    finer CONSTANT name := days_made_from();
    stored bigint;
    aggregate name;
    part record;
BEGIN
    refreshed := 0;
    SELECT count(*) INTO stored FROM metrics WHERE time >= day AND time < after;
    FOREACH aggregate IN ARRAY ARRAY['metrics_1min', 'metrics_1hour']::name[] LOOP
        IF rolled_up(aggregate, day, after) < stored THEN
            CALL refresh_range(aggregate::regclass, day, after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
    FOR part IN SELECT * FROM plant_days(day, after) LOOP
        IF rolled_up('metrics_1day', part.first, part.after) < rolled_up(finer, part.first, part.after) THEN
            CALL refresh_range('metrics_1day', part.first, part.after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
END
$$;

-- Days of readings that no aggregate has, though the policies are past them: `nexus db refresh` makes up for it.
CREATE OR REPLACE FUNCTION days_not_rolled_up() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT count(DISTINCT day) FROM stored_days(late_before() - INTERVAL '5 days') AS day,
        plant_days(day, day + INTERVAL '24 hours') AS ours
    WHERE rolled_up('metrics_1day', ours.first, ours.after) = 0
      AND EXISTS (SELECT 1 FROM metrics
                  WHERE time >= greatest(day, ours.first) AND time < least(day + INTERVAL '24 hours', ours.after))
$$;
