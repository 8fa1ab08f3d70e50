-- Sum and number of values are carried along, so that averages stay exact up the hierarchy.
CREATE MATERIALIZED VIEW metrics_1min
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 minute', time) AS bucket,
       topic,
       avg(value) FILTER (WHERE quality >= 64) AS avg,
       min(value) FILTER (WHERE quality >= 64) AS min,
       max(value) FILTER (WHERE quality >= 64) AS max,
       first(value, time) FILTER (WHERE quality >= 64 AND value IS NOT NULL) AS first,
       last(value, time) FILTER (WHERE quality >= 64 AND value IS NOT NULL) AS last,
       count(*) AS count,
       count(*) FILTER (WHERE quality >= 192) AS good,
       sum(value) FILTER (WHERE quality >= 64) AS sum,
       count(value) FILTER (WHERE quality >= 64) AS numbers
FROM metrics
GROUP BY 1, 2
WITH NO DATA;

CREATE MATERIALIZED VIEW metrics_1hour
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 hour', bucket) AS bucket,
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
FROM metrics_1min
GROUP BY 1, 2
WITH NO DATA;

CREATE MATERIALIZED VIEW metrics_1day
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', bucket) AS bucket,
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
FROM metrics_1hour
GROUP BY 1, 2
WITH NO DATA;
