-- Run when NEXUS_TIME_ZONE has changed; TimescaleDB Community only. Up to the last day that cannot be computed again, because
-- hours or minutes it was made from are dropped, all stay as they are. What is left of the first of the new days, behind
-- these, is a shorter day. Whoever may read it still may.
CREATE TEMPORARY TABLE days_before ON COMMIT DROP AS SELECT * FROM {computed};
CREATE TEMPORARY TABLE ends ON COMMIT DROP AS
SELECT bucket, (bucket AT TIME ZONE plant_time_zone() + INTERVAL '1 day') AT TIME ZONE plant_time_zone() AS after,
       sum(count) AS count
FROM days_before GROUP BY bucket;
CREATE TEMPORARY TABLE boundary ON COMMIT DROP AS
SELECT stop, CASE WHEN day = stop THEN stop ELSE (day AT TIME ZONE {zone} + INTERVAL '1 day') AT TIME ZONE {zone} END AS midnight
FROM (SELECT max(after) AS stop FROM ends WHERE count > rolled_up('{finer}', bucket, after)) AS kept,
     LATERAL date_trunc('day', stop, {zone}) AS day;
DELETE FROM days_before AS day USING ends, boundary
WHERE day.bucket = ends.bucket AND (stop IS NULL OR after > stop);
CREATE TEMPORARY TABLE short_day ON COMMIT DROP AS
SELECT {day} FROM {finer} WHERE bucket >= (SELECT stop FROM boundary) AND bucket < (SELECT midnight FROM boundary) GROUP BY 1, 2;
CREATE TEMPORARY TABLE readers_before ON COMMIT DROP AS
SELECT acl.grantee FROM pg_class, aclexplode(relacl) AS acl
WHERE pg_class.oid = 'metrics_1day'::regclass AND acl.privilege_type = 'SELECT' AND acl.grantee <> relowner;

DROP MATERIALIZED VIEW metrics_1day;
CREATE MATERIALIZED VIEW metrics_1day
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT {day}
FROM {finer}
GROUP BY 1, 2
WITH NO DATA;

DO $$
DECLARE
    reader oid;
BEGIN
    FOR reader IN SELECT grantee FROM readers_before LOOP
        EXECUTE format('GRANT SELECT ON metrics_1day TO %s', CASE reader WHEN 0 THEN 'PUBLIC' ELSE reader::regrole::text END);
    END LOOP;
    EXECUTE (
        SELECT format('INSERT INTO %I.%I SELECT * FROM days_before UNION ALL SELECT * FROM short_day',
                      materialization_hypertable_schema, materialization_hypertable_name)
        FROM timescaledb_information.continuous_aggregates WHERE view_name = 'metrics_1day');
    EXECUTE format('CREATE OR REPLACE FUNCTION days_computed_from() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS %L',
                   format('SELECT timestamptz %L', (SELECT coalesce(midnight, '-infinity') FROM boundary)));
END
$$;
