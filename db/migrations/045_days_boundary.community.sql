-- From when on the plant's days are computed. Those before it are of other time zones than the plant's: their hours are
-- dropped, and they are kept as they were. `nexus db migrate` sets it when NEXUS_TIME_ZONE changes.
CREATE FUNCTION days_computed_from() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '-infinity' $$;

-- As before, but days from before that are left; and so is what TimescaleDB has computed for no topic yet, and will compute
-- for all: were it written for some, the view would show it of these only.
CREATE OR REPLACE FUNCTION refresh_topics(aggregate name, topics text[], first timestamptz, after timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    materialized text;
    computed text;
    live timestamptz;
    buckets text;
BEGIN
    IF aggregate = 'metrics_1day' THEN
        SELECT min(days.first), max(days.after) INTO first, after FROM plant_days(first, after) AS days
        WHERE days.first >= days_computed_from();
    END IF;
    SELECT format('%I.%I', h.schema_name, h.table_name), format('%I.%I', c.partial_view_schema, c.partial_view_name),
           greatest(_timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(h.id)), now() - INTERVAL '2 days')
    INTO STRICT materialized, computed, live
    FROM _timescaledb_catalog.continuous_agg c JOIN _timescaledb_catalog.hypertable h ON h.id = c.mat_hypertable_id
    WHERE c.user_view_schema = current_schema() AND c.user_view_name = aggregate;
    buckets := format('topic = ANY ($1) AND bucket >= %L AND bucket < %L', first, least(after, live));
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
    FOR part IN SELECT * FROM plant_days(day, after) AS days WHERE days.first >= days_computed_from() LOOP
        IF rolled_up('metrics_1day', part.first, part.after) < rolled_up(finer, part.first, part.after) THEN
            CALL refresh_range('metrics_1day', part.first, part.after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
END
$$;
