-- Run when NEXUS_TIME_ZONE has changed; TimescaleDB Community only. Days that cannot be computed again, because the hours or
-- minutes they were made from are dropped, stay as they are. Whoever may read it still may.
CREATE TEMPORARY TABLE days_before ON COMMIT DROP AS
SELECT * FROM metrics_1day WHERE bucket < (SELECT min(bucket) FROM {finer});
DELETE FROM days_before AS day USING (
    SELECT bucket FROM days_before GROUP BY bucket
    HAVING sum(count) <= rolled_up('{finer}', bucket, bucket + INTERVAL '1 day')
) AS whole
WHERE day.bucket = whole.bucket;
CREATE TEMPORARY TABLE readers_before ON COMMIT DROP AS
SELECT acl.grantee FROM pg_class, aclexplode(relacl) AS acl
WHERE pg_class.oid = 'metrics_1day'::regclass AND acl.privilege_type = 'SELECT' AND acl.grantee <> relowner;

DROP MATERIALIZED VIEW metrics_1day;
CREATE MATERIALIZED VIEW metrics_1day
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', bucket, {zone}) AS bucket,
       topic,
       sum(sum) / nullif(sum(numbers), 0)::float8 AS avg,
       min(min) AS min,
       max(max) AS max,
       first(first, bucket) FILTER (WHERE first IS NOT NULL) AS first,
       last(last, bucket) FILTER (WHERE last IS NOT NULL) AS last,
       sum(count)::bigint AS count,
       sum(good)::bigint AS good,
       sum(sum) AS sum,
       sum(numbers)::bigint AS numbers
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
        SELECT format('INSERT INTO %I.%I SELECT * FROM days_before',
                      materialization_hypertable_schema, materialization_hypertable_name)
        FROM timescaledb_information.continuous_aggregates WHERE view_name = 'metrics_1day');
END
$$;
