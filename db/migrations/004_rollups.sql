-- Without continuous aggregates the same queries work on views, which compute as they are read.
CREATE VIEW metrics_1min AS
SELECT date_bin('1 minute', time, timestamptz '2000-01-03 00:00:00+00') AS bucket,
       topic,
       avg(value) FILTER (WHERE quality >= 64) AS avg,
       min(value) FILTER (WHERE quality >= 64) AS min,
       max(value) FILTER (WHERE quality >= 64) AS max,
       (array_agg(value ORDER BY time) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[1] AS first,
       (array_agg(value ORDER BY time DESC) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[1] AS last,
       count(*) AS count,
       count(*) FILTER (WHERE quality >= 192) AS good,
       sum(value) FILTER (WHERE quality >= 64) AS sum,
       count(value) FILTER (WHERE quality >= 64) AS numbers
FROM metrics
GROUP BY 1, 2;

CREATE VIEW metrics_1hour AS
SELECT date_bin('1 hour', bucket, timestamptz '2000-01-03 00:00:00+00') AS bucket,
       topic,
       sum(sum) / nullif(sum(numbers), 0)::float8 AS avg,
       min(min) AS min,
       max(max) AS max,
       (array_agg(first ORDER BY bucket) FILTER (WHERE first IS NOT NULL))[1] AS first,
       (array_agg(last ORDER BY bucket DESC) FILTER (WHERE last IS NOT NULL))[1] AS last,
       sum(count)::bigint AS count,
       sum(good)::bigint AS good,
       sum(sum) AS sum,
       sum(numbers)::bigint AS numbers
FROM metrics_1min
GROUP BY 1, 2;

CREATE VIEW metrics_1day AS
SELECT date_bin('1 day', bucket, timestamptz '2000-01-03 00:00:00+00') AS bucket,
       topic,
       sum(sum) / nullif(sum(numbers), 0)::float8 AS avg,
       min(min) AS min,
       max(max) AS max,
       (array_agg(first ORDER BY bucket) FILTER (WHERE first IS NOT NULL))[1] AS first,
       (array_agg(last ORDER BY bucket DESC) FILTER (WHERE last IS NOT NULL))[1] AS last,
       sum(count)::bigint AS count,
       sum(good)::bigint AS good,
       sum(sum) AS sum,
       sum(numbers)::bigint AS numbers
FROM metrics_1hour
GROUP BY 1, 2;
