-- How well an alarm system serves its operators, by EEMUA 191 and ISA-18.2: what calls a person, how often, and for how long.
CREATE VIEW alarms_raised AS
SELECT time, topic, device, tag, name, occurrence, priority, text FROM alarm_events
WHERE event IN ('raised', 'realarmed', 'unshelved', 'unsuppressed', 'in-service') AND state = 'unacknowledged';
COMMENT ON VIEW alarms_raised IS 'Each time that an alarm called a person; what was shelved, suppressed or out of service did not';

CREATE VIEW alarms_standing AS
SELECT topic, device, tag, name, priority, text, state, occurrence, now() - occurrence AS age,
       occurrence < now() - INTERVAL '24 hours' AS stale
FROM alarms_now WHERE active AND state IN ('unacknowledged', 'acknowledged');
COMMENT ON VIEW alarms_standing IS 'Alarms whose condition holds, and that nothing hides; stale after 24 hours';

-- How many were raised in each 10 minutes, those without any too.
CREATE FUNCTION alarm_rate(start timestamptz, stop timestamptz) RETURNS TABLE (bucket timestamptz, raised bigint)
LANGUAGE sql STABLE AS $$
    WITH counted AS (
        SELECT date_bin('10 minutes', time, '2000-01-01Z') AS at, count(*) AS raised
        FROM alarms_raised WHERE time >= start AND time < stop GROUP BY 1
    )
    SELECT bucket, coalesce(counted.raised, 0)
    FROM generate_series(date_bin('10 minutes', start, '2000-01-01Z'), stop - INTERVAL '1 microsecond', '10 minutes')
        AS bucket LEFT JOIN counted ON at = bucket
    ORDER BY bucket
$$;

-- The alarms that were raised most often, and their share of all.
CREATE FUNCTION alarm_top(start timestamptz, stop timestamptz, most int DEFAULT 10)
RETURNS TABLE (topic text, priority text, text text, raised bigint, share float8)
LANGUAGE sql STABLE AS $$
    SELECT a.topic, max(a.priority), max(a.text), count(*), count(*) / sum(count(*)) OVER ()::float8
    FROM alarms_raised AS a WHERE a.time >= start AND a.time < stop
    GROUP BY a.topic ORDER BY 4 DESC, 1 LIMIT most
$$;

-- Alarms that were raised so many `times` within a minute, how often, and how often they were raised in all.
CREATE FUNCTION alarm_chattering(start timestamptz, stop timestamptz, times int DEFAULT 3)
RETURNS TABLE (topic text, text text, bursts bigint, raised bigint)
LANGUAGE sql STABLE AS $$
    SELECT a.topic, max(a.text), count(*) FILTER (WHERE a.time - a.before <= INTERVAL '1 minute') AS bursts, count(*)
    FROM (
        SELECT one.*, lag(one.time, times - 1) OVER (PARTITION BY one.topic ORDER BY one.time) AS before
        FROM alarms_raised AS one WHERE one.time >= start AND one.time < stop
    ) AS a
    GROUP BY a.topic HAVING bool_or(a.time - a.before <= INTERVAL '1 minute') ORDER BY bursts DESC, 1
$$;

-- How long occurrences waited for a person, by priority; those that began then.
CREATE FUNCTION alarm_response(start timestamptz, stop timestamptz)
RETURNS TABLE (priority text, raised bigint, acknowledged bigint, median interval, p95 interval, longest interval)
LANGUAGE sql STABLE AS $$
    WITH each AS (
        SELECT max(e.priority) AS priority, min(e.time) FILTER (WHERE e.state = 'unacknowledged') AS at,
               min(e.time) FILTER (WHERE e.event = 'acknowledged') AS seen
        FROM alarm_events AS e WHERE e.time >= start AND e.occurrence >= start AND e.occurrence < stop
        GROUP BY e.topic, e.occurrence
    ), waited AS (
        SELECT one.priority, CASE WHEN one.seen >= one.at THEN one.seen - one.at END AS wait
        FROM each AS one WHERE at IS NOT NULL
    )
    SELECT w.priority, count(*), count(wait), percentile_cont(0.5) WITHIN GROUP (ORDER BY wait),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY wait), max(wait)
    FROM waited AS w GROUP BY 1 ORDER BY array_position(ARRAY['critical', 'high', 'medium', 'low'], w.priority)
$$;

-- All of it in a row. A flood is more than 10 in 10 minutes; shares are from 0 to 1.
CREATE FUNCTION alarm_statistics(start timestamptz, stop timestamptz)
RETURNS TABLE (
    raised bigint, per_10_minutes float8, peak_10_minutes bigint, flood_share float8, top_10_share float8,
    chattering bigint, standing bigint, stale bigint, shelved bigint, unacknowledged bigint, median_response interval
)
LANGUAGE sql STABLE AS $$
    SELECT rate.raised, rate.mean, rate.peak, rate.flood,
           (SELECT sum(share) FROM alarm_top(start, stop)), (SELECT count(*) FROM alarm_chattering(start, stop)),
           (SELECT count(*) FROM alarms_standing), (SELECT count(*) FROM alarms_standing AS s WHERE s.stale),
           (SELECT count(*) FROM alarms_now WHERE state = 'shelved'),
           (SELECT count(*) FROM alarms_now WHERE state IN ('unacknowledged', 'returned')),
           (
               SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY e.time - e.occurrence) FROM alarm_events AS e
               WHERE e.event = 'acknowledged' AND e.time >= start AND e.time < stop
           )
    FROM (
        SELECT coalesce(sum(r.raised), 0)::bigint AS raised, coalesce(avg(r.raised), 0)::float8 AS mean,
               coalesce(max(r.raised), 0) AS peak,
               coalesce(avg((r.raised > 10)::int), 0)::float8 AS flood
        FROM alarm_rate(start, stop) AS r
    ) AS rate
$$;

GRANT SELECT ON alarms_raised, alarms_standing TO nexus_reader;
