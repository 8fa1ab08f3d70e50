-- Each straight from the readings, by TimescaleDB's time_bucket: of a range of buckets only the chunks are read that it is in.
-- First and last are those with the least and the greatest time, of which a float8 keeps the microsecond until 2100.
CREATE OR REPLACE VIEW metrics_1min AS
SELECT time_bucket('1 minute', time) AS bucket,
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

CREATE OR REPLACE VIEW metrics_1hour AS
SELECT time_bucket('1 hour', time) AS bucket,
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

CREATE OR REPLACE VIEW metrics_1day AS
SELECT time_bucket('1 day', time) AS bucket,
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
