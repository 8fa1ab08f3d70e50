"""The historian's queries, the same on all three tiers. Times leave as UTC without a zone: that costs least."""

from typing import LiteralString

KEPT = """
SELECT plant_time_zone(), to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL
"""
ROLLUPS = """
SELECT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_name = 'metrics_1min'),
       (SELECT config FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks' LIMIT 1)
"""

RAW = """
SELECT time AT TIME ZONE 'UTC', value, value_str, quality
FROM metrics
WHERE topic = %(topic)s AND time >= %(start)s AND time < %(end)s
ORDER BY time
LIMIT %(limit)s
"""
NEWEST = """
SELECT time AT TIME ZONE 'UTC', value, value_str, quality, unit
FROM metrics
WHERE topic = %(topic)s AND time >= %(start)s AND time < %(end)s
ORDER BY time DESC
LIMIT %(limit)s
"""

# First and last are those with the least and the greatest time; a bucket is a number among the edges.
_FROM_RAW = """
SELECT width_bucket(time, %(edges)s::timestamptz[]) - 1 AS number,
       min(value) FILTER (WHERE quality >= 64),
       max(value) FILTER (WHERE quality >= 64),
       avg(value) FILTER (WHERE quality >= 64),
       (min(ARRAY[date_part('epoch', time), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2],
       (max(ARRAY[date_part('epoch', time), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2],
       count(*),
       count(*) FILTER (WHERE quality >= 192),
       min(quality)
FROM metrics
WHERE topic = %(topic)s AND time >= %(start)s AND time < %(end)s
GROUP BY 1
ORDER BY 1
"""

# A rollup knows how many readings are good, and how many are numbers that are not bad: what is neither counts as bad.
_FROM_ROLLUP = """
SELECT width_bucket(bucket, %(edges)s::timestamptz[]) - 1 AS number,
       min(min),
       max(max),
       sum(sum) / nullif(sum(numbers), 0)::float8,
       (min(ARRAY[date_part('epoch', bucket), first]) FILTER (WHERE first IS NOT NULL))[2],
       (max(ARRAY[date_part('epoch', bucket), last]) FILTER (WHERE last IS NOT NULL))[2],
       sum(count)::bigint,
       sum(good)::bigint,
       CASE WHEN sum(good) = sum(count) THEN 192 WHEN sum(numbers) = sum(count) THEN 64 ELSE 0 END::smallint
FROM {}
WHERE topic = %(topic)s AND bucket >= %(start)s AND bucket < %(end)s
GROUP BY 1
ORDER BY 1
"""
BUCKETS: dict[str, LiteralString] = {
    "metrics": _FROM_RAW,
    "metrics_1min": _FROM_ROLLUP.replace("{}", "metrics_1min"),
    "metrics_1hour": _FROM_ROLLUP.replace("{}", "metrics_1hour"),
    "metrics_1day": _FROM_ROLLUP.replace("{}", "metrics_1day"),
}

# Those whose newest reading is not good (`quality` says what it is), and those that have none since then (null).
NOT_GOOD = """
SELECT asked.topic, last.quality
FROM unnest(%(topics)b::text[]) AS asked (topic)
LEFT JOIN LATERAL (
    SELECT quality
    FROM metrics
    WHERE metrics.topic = asked.topic AND time >= %(since)s
    ORDER BY time DESC
    LIMIT 1
) AS last ON true
WHERE last.quality IS NULL OR last.quality < 192
"""

LAST = """
SELECT asked.topic, last.time AT TIME ZONE 'UTC', last.value, last.value_str, last.quality, last.unit
FROM unnest(%(topics)b::text[]) AS asked (topic)
CROSS JOIN LATERAL (
    SELECT time, value, value_str, quality, unit
    FROM metrics
    WHERE metrics.topic = asked.topic AND time >= %(since)s
    ORDER BY time DESC
    LIMIT 1
) AS last
"""
