-- Whose days the daily values are: NEXUS_TIME_ZONE, set by `nexus db migrate`.
CREATE FUNCTION plant_time_zone() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'UTC' $$;

CREATE OR REPLACE VIEW metrics_1day AS
SELECT date_trunc('day', time, plant_time_zone()) AS bucket,
       topic,
       avg(value) FILTER (WHERE quality >= 64) AS avg,
       min(value) FILTER (WHERE quality >= 64) AS min,
       max(value) FILTER (WHERE quality >= 64) AS max,
       (min(ARRAY[date_part('epoch', time), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS first,
       (max(ARRAY[date_part('epoch', time), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS last,
       count(*) AS count,
       count(*) FILTER (WHERE quality >= 192) AS good,
       sum(value) FILTER (WHERE quality >= 64) AS sum,
       count(value) FILTER (WHERE quality >= 64) AS numbers
FROM metrics
GROUP BY 1, 2;
