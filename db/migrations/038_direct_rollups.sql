-- Each straight from the readings, and so that several processes may compute it: an ordered array_agg leaves it to one. First and
-- last are those with the least and the greatest time, of which a float8 keeps the microsecond until 2100.
CREATE OR REPLACE VIEW metrics_1min AS
SELECT date_bin('1 minute', time, timestamptz '2000-01-03 00:00:00+00') AS bucket,
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
SELECT date_bin('1 hour', time, timestamptz '2000-01-03 00:00:00+00') AS bucket,
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
SELECT date_bin('1 day', time, timestamptz '2000-01-03 00:00:00+00') AS bucket,
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
