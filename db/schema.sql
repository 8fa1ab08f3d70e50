-- What `nexus db migrate` makes of an empty database on the tier "plain". To be read, not run: `make schema` writes it
-- from db/migrations; a comment above an object names the last migration that defines it.

-- Tables

-- 046_alarm_events.sql
-- What happened to alarms, an event a row. Gateways say it, ingestion stores it, each event once; nobody changes it.
CREATE TABLE alarm_events (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (topic, occurrence, state, "time")
);
CREATE INDEX alarm_events_time ON alarm_events ("time");
CREATE TRIGGER keep_alarm_states AFTER INSERT ON alarm_events REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION keep_alarm_states();
CREATE TRIGGER queue_notifications AFTER INSERT ON alarm_events REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION queue_notifications();
COMMENT ON COLUMN alarm_events.topic IS 'alarm/{device path}/{tag}/{name}, without the tag for an alarm of the device itself';
COMMENT ON COLUMN alarm_events.occurrence IS 'When the alarm was raised: with the topic, the key of an occurrence';
COMMENT ON COLUMN alarm_events.state IS 'After the event: normal, unacknowledged, acknowledged, returned, latched, shelved, suppressed or out-of-service';
COMMENT ON COLUMN alarm_events.since IS 'Since when the alarm is in this state';
COMMENT ON COLUMN alarm_events.active IS 'Whether the condition holds, whatever hides the alarm';
COMMENT ON COLUMN alarm_events.limit IS 'The limit that was crossed';
COMMENT ON COLUMN alarm_events.by IS 'Who acknowledged, shelved or otherwise changed the alarm';
COMMENT ON COLUMN alarm_events.until IS 'When the shelving ends';
COMMENT ON TABLE alarm_events IS 'The journal of alarms: one row an event, kept for NEXUS_RETENTION_ALARMS';
GRANT SELECT ON alarm_events TO nexus_reader;
GRANT INSERT ON alarm_events TO nexus_writer;

-- 046_alarm_events.sql
-- To find an alarm's last event among millions would need another index on all of them; so it is kept, by the insert
-- itself, whoever inserts. That of an alarm that stands stays here when retention takes its events.
CREATE TABLE alarm_states (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (topic)
);
COMMENT ON TABLE alarm_states IS 'The last event of each alarm';
GRANT SELECT ON alarm_states TO nexus_reader;

-- 041_annotations.sql
-- What people write beside the readings. Nobody changes it: a correction is another annotation.
CREATE TABLE annotations (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    created timestamp with time zone NOT NULL DEFAULT now(),
    person text NOT NULL,
    topic text,
    device text,
    start timestamp with time zone NOT NULL,
    stop timestamp with time zone NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (id),
    CHECK (((topic IS NULL) <> (device IS NULL))),
    CHECK ((start <= stop))
);
CREATE INDEX annotations_device ON annotations (device, start) WHERE (device IS NOT NULL);
CREATE INDEX annotations_topic ON annotations (topic, start) WHERE (topic IS NOT NULL);
COMMENT ON COLUMN annotations.device IS 'Path of a device, all of whose tags it is about';
COMMENT ON TABLE annotations IS 'What people have written about a time of a tag or a device';
GRANT INSERT ON annotations TO nexus_console;
GRANT SELECT ON annotations TO nexus_reader;

-- 016_audit.sql
-- Who wrote what to which device, and what became of it. Gateways say it, ingestion stores it, nobody changes it.
CREATE TABLE audit (
    time timestamp with time zone NOT NULL,
    id text NOT NULL,
    topic text NOT NULL,
    event text NOT NULL,
    by text,
    ok boolean,
    detail jsonb NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX audit_time ON audit ("time");
COMMENT ON COLUMN audit.topic IS 'audit/{device path}/{tag}';
COMMENT ON COLUMN audit.by IS 'Who asked for it, as far as the asker said so';
COMMENT ON COLUMN audit.detail IS 'Asked value, the values before and after, the error, and whatever else the record says';
COMMENT ON TABLE audit IS 'One row a write to a device';
GRANT SELECT ON audit TO nexus_reader;
GRANT INSERT ON audit TO nexus_writer;

-- 011_backups.sql
-- What `nexus db backup` has brought to its end, for whoever watches that it still does.
CREATE TABLE backups (
    finished timestamp with time zone NOT NULL DEFAULT now(),
    seconds double precision NOT NULL,
    bytes bigint NOT NULL,
    file text NOT NULL,
    PRIMARY KEY (finished)
);
GRANT SELECT ON backups TO nexus_reader;

-- 029_book.sql
CREATE TABLE committed (
    publisher text NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    changed timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher, first)
);
COMMENT ON COLUMN committed.changed IS 'When the range last grew';
COMMENT ON TABLE committed IS 'Numbers of messages that are stored, by publisher; kept in bulk mode only';

-- 042_completeness.sql
-- What gateways have counted of the readings of each device and hour. A count only grows, so the largest that came is
-- the last one, in whatever order messages came, and however often.
CREATE TABLE completeness (
    device text NOT NULL,
    time timestamp with time zone NOT NULL,
    run text NOT NULL,
    gateway text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    ended boolean NOT NULL,
    read bigint NOT NULL,
    marked bigint NOT NULL,
    sent bigint NOT NULL,
    repeated bigint NOT NULL,
    receipted bigint NOT NULL,
    dropped bigint NOT NULL,
    away bigint NOT NULL,
    resting bigint NOT NULL,
    overran bigint NOT NULL,
    PRIMARY KEY (device, "time", run)
);
CREATE INDEX completeness_time ON completeness ("time");
COMMENT ON COLUMN completeness.time IS 'The beginning of the hour, by the times of the readings';
COMMENT ON COLUMN completeness.run IS 'Who counted: new with each start of a gateway, and with each time that it takes the device';
COMMENT ON COLUMN completeness.until IS 'Until when the device was watched, from since on';
COMMENT ON COLUMN completeness.ended IS 'The device has left the device files: nothing is due after until';
COMMENT ON COLUMN completeness.marked IS 'Readings of bad quality that say that the device gave none';
COMMENT ON COLUMN completeness.repeated IS 'Of those sent: with the tag and time of one before, and so no row of their own';
COMMENT ON COLUMN completeness.receipted IS 'Of those sent: known to the gateway to be in the database';
COMMENT ON COLUMN completeness.dropped IS 'Of those sent: lost, for the limits of the spool or because the broker refused them';
COMMENT ON COLUMN completeness.away IS 'Due and not read: the device did not answer';
COMMENT ON COLUMN completeness.resting IS 'Due and not read: the circuit breaker was open';
COMMENT ON COLUMN completeness.overran IS 'Due and not read: the scan before took too long';
COMMENT ON TABLE completeness IS 'A row a device, hour and run of a gateway: what was read, sent and lost of that hour';
GRANT SELECT ON completeness TO nexus_reader;
GRANT INSERT, SELECT, UPDATE ON completeness TO nexus_writer;

-- 040_console.sql
CREATE TABLE console_audit (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    time timestamp with time zone NOT NULL DEFAULT now(),
    event text NOT NULL,
    person text NOT NULL,
    via text NOT NULL,
    address text NOT NULL,
    topic text,
    old jsonb,
    new jsonb,
    ok boolean,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,
    PRIMARY KEY (id)
);
CREATE INDEX console_audit_time ON console_audit ("time");
COMMENT ON COLUMN console_audit.via IS 'How the person was known: session, key, oidc, command (on a terminal), insecure, or none';
COMMENT ON COLUMN console_audit.ok IS 'NULL: asked for, and the outcome is another row';
COMMENT ON TABLE console_audit IS 'One row a login, change, write or refusal in the console; its role can add, and not change';
GRANT INSERT, SELECT ON console_audit TO nexus_console;

-- 040_console.sql
CREATE TABLE console_keys (
    id text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    hash bytea NOT NULL,
    created timestamp with time zone NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires timestamp with time zone,
    last_used timestamp with time zone,
    UNIQUE (name),
    PRIMARY KEY (id),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
COMMENT ON COLUMN console_keys.hash IS 'SHA-256 of the key, which is kept nowhere';
COMMENT ON COLUMN console_keys.last_used IS 'To the minute';
COMMENT ON TABLE console_keys IS 'API keys: programs that the console lets in';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_keys TO nexus_console;

-- 040_console.sql
CREATE TABLE console_secrets (
    name text NOT NULL,
    secret bytea NOT NULL,
    PRIMARY KEY (name)
);
COMMENT ON TABLE console_secrets IS 'What all replicas of the console sign cookies with; made by the first that starts';
GRANT INSERT, SELECT ON console_secrets TO nexus_console;

-- 040_console.sql
CREATE TABLE console_sessions (
    id bytea NOT NULL,
    name text NOT NULL,
    account text,
    role text,
    created timestamp with time zone NOT NULL DEFAULT now(),
    expires timestamp with time zone NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (account) REFERENCES console_users(name) ON DELETE CASCADE,
    CHECK (((account IS NULL) <> (role IS NULL))),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
CREATE INDEX console_sessions_account ON console_sessions (account);
COMMENT ON COLUMN console_sessions.id IS 'SHA-256 of what the signed cookie holds';
COMMENT ON COLUMN console_sessions.account IS 'Of whom has a password here, and that account''s role; else the role is what the OpenID provider said';
COMMENT ON TABLE console_sessions IS 'Who is logged in to the console; a row that is deleted ends a session';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_sessions TO nexus_console;

-- 040_console.sql
CREATE TABLE console_users (
    name text NOT NULL,
    role text NOT NULL,
    password text NOT NULL,
    created timestamp with time zone NOT NULL DEFAULT now(),
    changed timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (name),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
COMMENT ON COLUMN console_users.password IS 'scrypt$log2(N)$r$p$salt$key, the last two in base64';
COMMENT ON TABLE console_users IS 'People who log in to the console with a password';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_users TO nexus_console;

-- 025_consumers.sql
-- Which consumer has which number of its group. It is taken while the holder's connection lives: the server lists that by
-- login and application name, and under another login nobody can stand in for it. An advisory lock would do the same, but
-- whoever may connect may take any of those.
CREATE TABLE consumers (
    consumer_group text NOT NULL,
    number integer NOT NULL,
    login oid NOT NULL,
    application text NOT NULL,
    lag double precision,
    lag_at timestamp with time zone,
    PRIMARY KEY (consumer_group, number)
);
COMMENT ON COLUMN consumers.lag IS 'Seconds from the newest reading of the last batch to its commit, or that the oldest message waits';
COMMENT ON TABLE consumers IS 'The number of each consumer in its group; taken while its connection is open';
GRANT SELECT ON consumers TO nexus_reader;
GRANT INSERT, SELECT, UPDATE ON consumers TO nexus_writer;

-- 001_metrics.sql
CREATE TABLE metrics (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    value double precision,
    value_str text,
    quality smallint NOT NULL,
    unit text
);
CREATE INDEX metrics_time ON metrics USING brin ("time");
CREATE UNIQUE INDEX metrics_topic_time ON metrics (topic, "time");
COMMENT ON COLUMN metrics.time IS 'When the value was read, or the source''s own time';
COMMENT ON COLUMN metrics.topic IS 'dev/{device path}/{tag}';
COMMENT ON COLUMN metrics.value IS 'Numbers; booleans as 0 and 1';
COMMENT ON COLUMN metrics.value_str IS 'Texts; and the digits of integers beyond 2^53';
COMMENT ON COLUMN metrics.quality IS 'OPC classic: 192 good, 64 uncertain, 0 bad';
COMMENT ON TABLE metrics IS 'One row a reading';
GRANT SELECT ON metrics TO nexus_reader;
GRANT INSERT ON metrics TO nexus_writer;

CREATE TABLE nexus_migrations (
    name text NOT NULL,
    tier text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
);
GRANT SELECT ON nexus_migrations TO nexus_reader;
GRANT SELECT ON nexus_migrations TO nexus_writer;

-- 053_notifications.sql
CREATE TABLE notification_attempts (
    notification bigint NOT NULL,
    number integer NOT NULL,
    time timestamp with time zone NOT NULL,
    seconds real NOT NULL,
    sent boolean NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (notification, number),
    FOREIGN KEY (notification) REFERENCES notifications(id) ON DELETE CASCADE
);
COMMENT ON TABLE notification_attempts IS 'Each attempt to send a notification, and what the receiver said';
GRANT INSERT, SELECT ON notification_attempts TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notification_queue (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    stored timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (id)
);
COMMENT ON TABLE notification_queue IS 'Events of alarms that the routes have not judged yet';
GRANT DELETE, SELECT ON notification_queue TO nexus_console;

-- 053_notifications.sql
-- Notifications of alarms. An event is queued in the transaction that stores it, and judged by the console's routes; what
-- comes of it waits in the outbox until its receiver has it.
CREATE TABLE notification_sender (
    only_row boolean NOT NULL DEFAULT true,
    wanted_until timestamp with time zone NOT NULL,
    name text NOT NULL,
    since timestamp with time zone NOT NULL,
    PRIMARY KEY (only_row),
    CHECK (only_row)
);
COMMENT ON COLUMN notification_sender.wanted_until IS 'Renewed while a console sends: where none does, the queue does not grow';
COMMENT ON TABLE notification_sender IS 'Which console sends notifications, and until when events are queued for it';
GRANT INSERT, SELECT, UPDATE ON notification_sender TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notification_waits (
    topic text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    route text NOT NULL,
    step integer NOT NULL,
    began timestamp with time zone NOT NULL,
    due timestamp with time zone NOT NULL,
    receivers text[] NOT NULL DEFAULT '{}'::text[],
    PRIMARY KEY (topic, occurrence, route, step)
);
CREATE INDEX notification_waits_due ON notification_waits (due);
COMMENT ON COLUMN notification_waits.receivers IS 'Who is told, as the route said when the alarm was raised';
COMMENT ON TABLE notification_waits IS 'Escalations: occurrences of which others are told, unless they are acknowledged before';
GRANT DELETE, INSERT, SELECT ON notification_waits TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notifications (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    created timestamp with time zone NOT NULL,
    receiver text NOT NULL,
    channel text NOT NULL,
    route text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    topic text NOT NULL DEFAULT ''::text,
    word jsonb,
    summary jsonb,
    late boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'pending'::text,
    due timestamp with time zone NOT NULL,
    expires timestamp with time zone NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    settled timestamp with time zone,
    answer text NOT NULL DEFAULT ''::text,
    digest bigint,
    remaining text[],
    refused text[] NOT NULL DEFAULT '{}'::text[],
    UNIQUE (key, receiver),
    PRIMARY KEY (id),
    CHECK ((kind = ANY (ARRAY['event'::text, 'escalation'::text, 'digest'::text]))),
    CHECK ((state = ANY (ARRAY['pending'::text, 'sent'::text, 'dead'::text, 'digested'::text])))
);
CREATE INDEX notifications_dead ON notifications (id) WHERE (state = 'dead'::text);
CREATE INDEX notifications_digest ON notifications (digest, topic) WHERE (digest IS NOT NULL);
CREATE INDEX notifications_digests ON notifications (receiver, created) WHERE (kind = 'digest'::text);
CREATE INDEX notifications_due ON notifications (receiver, due) WHERE (state = 'pending'::text);
CREATE INDEX notifications_expires ON notifications (receiver, expires) WHERE (state = 'pending'::text);
CREATE INDEX notifications_of_alarm ON notifications (receiver, topic, id) WHERE ((state = 'pending'::text) AND (remaining IS NULL));
CREATE INDEX notifications_partly ON notifications (receiver, due) WHERE ((state = 'pending'::text) AND (remaining IS NOT NULL));
CREATE INDEX notifications_partly_made ON notifications (receiver, created) WHERE ((remaining IS NOT NULL) AND (kind <> 'digest'::text));
CREATE INDEX notifications_pending ON notifications (receiver, id) WHERE (state = 'pending'::text);
CREATE INDEX notifications_receiver ON notifications (receiver, id);
CREATE INDEX notifications_sent ON notifications (receiver, settled) WHERE ((state = 'sent'::text) AND (kind <> 'digest'::text));
CREATE INDEX notifications_settled ON notifications (settled);
CREATE INDEX notifications_waiting ON notifications (created) WHERE (state = 'pending'::text);
COMMENT ON COLUMN notifications.key IS 'Goes with the notification; one that is sent twice has the same';
COMMENT ON COLUMN notifications.word IS 'The event, as it travels on the alarm''s topic';
COMMENT ON COLUMN notifications.summary IS 'Of a digest: how many it stands for, and the most frequent';
COMMENT ON COLUMN notifications.due IS 'When it is tried next';
COMMENT ON COLUMN notifications.expires IS 'When it is given up: it is dead then, and may be tried again';
COMMENT ON COLUMN notifications.settled IS 'When it was sent, given up, or taken into a digest';
COMMENT ON COLUMN notifications.answer IS 'What the receiver said last';
COMMENT ON COLUMN notifications.digest IS 'The digest by which it was told';
COMMENT ON COLUMN notifications.remaining IS 'Of a mail that some have: who has not got it';
COMMENT ON COLUMN notifications.refused IS 'Those of them whom the mail server refuses for ever';
COMMENT ON TABLE notifications IS 'The outbox: one row a notification and receiver';
GRANT DELETE, INSERT, SELECT, UPDATE ON notifications TO nexus_console;

-- 001_metrics.sql
CREATE TABLE rejects (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    time timestamp with time zone NOT NULL DEFAULT now(),
    topic text NOT NULL,
    payload bytea NOT NULL,
    reason text NOT NULL,
    source text,
    tags text[],
    key uuid,
    retry timestamp with time zone,
    tried timestamp with time zone,
    PRIMARY KEY (id)
);
CREATE INDEX rejects_reason ON rejects (reason text_pattern_ops, "time");
CREATE INDEX rejects_retry ON rejects (id) WHERE (retry IS NOT NULL);
CREATE INDEX rejects_time ON rejects ("time");
CREATE UNIQUE INDEX rejects_key ON rejects (key);
COMMENT ON COLUMN rejects.time IS 'When it arrived';
COMMENT ON COLUMN rejects.topic IS 'Topic of the value, or of the message where all of it was refused';
COMMENT ON COLUMN rejects.source IS 'Topic that the message came on, where it is another';
COMMENT ON COLUMN rejects.tags IS 'The refused tags of a message of which others are stored; empty for a single row';
COMMENT ON COLUMN rejects.key IS 'The same for repetitions; none where nobody can tell, or while it is tried again';
COMMENT ON COLUMN rejects.retry IS 'When somebody asked for it to be tried again; infinity while it is tried';
COMMENT ON COLUMN rejects.tried IS 'When it was tried again last, and refused again';
COMMENT ON TABLE rejects IS 'What arrived and could not be stored, and why';
GRANT SELECT ON rejects TO nexus_reader;
GRANT INSERT ON rejects TO nexus_writer;

-- 054_rules.sql
CREATE TABLE rule_alarms (
    rule_group text NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (rule_group, topic)
);
COMMENT ON TABLE rule_alarms IS 'The last word of each alarm of a rule';
GRANT DELETE, INSERT, SELECT, UPDATE ON rule_alarms TO nexus_rules;

-- 054_rules.sql
CREATE TABLE rule_outbox (
    rule_group text NOT NULL,
    number bigint NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    retain boolean NOT NULL,
    PRIMARY KEY (rule_group, number)
);
COMMENT ON TABLE rule_outbox IS 'Messages of rules that are to be published, until ingestion has confirmed them';
GRANT DELETE, INSERT, SELECT ON rule_outbox TO nexus_rules;

-- 054_rules.sql
-- What `nexus rules` goes on from. It is written in the transaction that takes the inputs, by whoever holds the lock of
-- the group; nobody else needs any of it, and a publisher's name is a secret.
CREATE TABLE rule_publishers (
    rule_group text NOT NULL,
    publisher text NOT NULL,
    last bigint NOT NULL,
    offered boolean NOT NULL DEFAULT false,
    PRIMARY KEY (rule_group)
);
COMMENT ON COLUMN rule_publishers.offered IS 'Whether ingesters ever offered receipts, with `NEXUS_RECEIPTS=auto`';
COMMENT ON TABLE rule_publishers IS 'The name by which each group of rules numbers its messages, and the last number';
GRANT INSERT, SELECT, UPDATE ON rule_publishers TO nexus_rules;

-- 054_rules.sql
CREATE TABLE rule_states (
    rule_group text NOT NULL,
    path text NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (rule_group, path)
);
COMMENT ON TABLE rule_states IS 'Of each rule its clock, the newest inputs, the last results and the totals, as JSON';
GRANT INSERT, SELECT, UPDATE ON rule_states TO nexus_rules;

-- 007_topics.sql
-- Which topics there are, and the last value of each: a look into the index a topic, not a scan.
CREATE TABLE topics (
    topic text NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (topic)
);
COMMENT ON TABLE topics IS 'Every topic that has ever been stored';
GRANT SELECT ON topics TO nexus_reader;
GRANT INSERT ON topics TO nexus_writer;

-- Views

-- 046_alarm_events.sql
CREATE VIEW alarms_now AS
 SELECT "time",
    topic,
    device,
    tag,
    name,
    occurrence,
    state,
    since,
    event,
    active,
    acknowledged,
    value,
    value_str,
    "limit",
    unit,
    priority,
    text,
    response,
    by,
    reason,
    until
   FROM alarm_states
  WHERE state <> 'normal'::text;
COMMENT ON VIEW alarms_now IS 'The last event of each alarm that is not normal';
GRANT SELECT ON alarms_now TO nexus_reader;

-- 048_alarm_statistics.sql
-- How well an alarm system serves its operators, by EEMUA 191 and ISA-18.2: what calls a person, how often, and for how long.
CREATE VIEW alarms_raised AS
 SELECT "time",
    topic,
    device,
    tag,
    name,
    occurrence,
    priority,
    text
   FROM alarm_events
  WHERE (event = ANY (ARRAY['raised'::text, 'realarmed'::text, 'unshelved'::text, 'unsuppressed'::text, 'in-service'::text])) AND state = 'unacknowledged'::text;
COMMENT ON VIEW alarms_raised IS 'Each time that an alarm called a person; what was shelved, suppressed or out of service did not';
GRANT SELECT ON alarms_raised TO nexus_reader;

-- 048_alarm_statistics.sql
CREATE VIEW alarms_standing AS
 SELECT topic,
    device,
    tag,
    name,
    priority,
    text,
    state,
    occurrence,
    now() - occurrence AS age,
    occurrence < (now() - '24:00:00'::interval) AS stale
   FROM alarms_now
  WHERE active AND (state = ANY (ARRAY['unacknowledged'::text, 'acknowledged'::text]));
COMMENT ON VIEW alarms_standing IS 'Alarms whose condition holds, and that nothing hides; stale after 24 hours';
GRANT SELECT ON alarms_standing TO nexus_reader;

-- 039_plant_days.sql
CREATE VIEW metrics_1day AS
 SELECT date_trunc('day'::text, "time", plant_time_zone()) AS bucket,
    topic,
    avg(value) FILTER (WHERE quality >= 64) AS avg,
    min(value) FILTER (WHERE quality >= 64) AS min,
    max(value) FILTER (WHERE quality >= 64) AS max,
    (min(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS first,
    (max(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS last,
    count(*) AS count,
    count(*) FILTER (WHERE quality >= 192) AS good,
    sum(value) FILTER (WHERE quality >= 64) AS sum,
    count(value) FILTER (WHERE quality >= 64) AS numbers
   FROM metrics
  GROUP BY (date_trunc('day'::text, "time", plant_time_zone())), topic;
GRANT SELECT ON metrics_1day TO nexus_reader;

-- 038_direct_rollups.sql
CREATE VIEW metrics_1hour AS
 SELECT date_bin('01:00:00'::interval, "time", '2000-01-03 00:00:00+00'::timestamp with time zone) AS bucket,
    topic,
    avg(value) FILTER (WHERE quality >= 64) AS avg,
    min(value) FILTER (WHERE quality >= 64) AS min,
    max(value) FILTER (WHERE quality >= 64) AS max,
    (min(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS first,
    (max(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS last,
    count(*) AS count,
    count(*) FILTER (WHERE quality >= 192) AS good,
    sum(value) FILTER (WHERE quality >= 64) AS sum,
    count(value) FILTER (WHERE quality >= 64) AS numbers
   FROM metrics
  GROUP BY (date_bin('01:00:00'::interval, "time", '2000-01-03 00:00:00+00'::timestamp with time zone)), topic;
GRANT SELECT ON metrics_1hour TO nexus_reader;

-- 038_direct_rollups.sql
-- Each straight from the readings, and so that several processes may compute it: an ordered array_agg leaves it to one. First and
-- last are those with the least and the greatest time, of which a float8 keeps the microsecond until 2100.
CREATE VIEW metrics_1min AS
 SELECT date_bin('00:01:00'::interval, "time", '2000-01-03 00:00:00+00'::timestamp with time zone) AS bucket,
    topic,
    avg(value) FILTER (WHERE quality >= 64) AS avg,
    min(value) FILTER (WHERE quality >= 64) AS min,
    max(value) FILTER (WHERE quality >= 64) AS max,
    (min(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS first,
    (max(ARRAY[date_part('epoch'::text, "time"), value]) FILTER (WHERE quality >= 64 AND value IS NOT NULL))[2] AS last,
    count(*) AS count,
    count(*) FILTER (WHERE quality >= 192) AS good,
    sum(value) FILTER (WHERE quality >= 64) AS sum,
    count(value) FILTER (WHERE quality >= 64) AS numbers
   FROM metrics
  GROUP BY (date_bin('00:01:00'::interval, "time", '2000-01-03 00:00:00+00'::timestamp with time zone)), topic;
GRANT SELECT ON metrics_1min TO nexus_reader;

-- 007_topics.sql
CREATE VIEW metrics_latest AS
 SELECT topics.topic,
    last."time",
    last.value,
    last.value_str,
    last.quality,
    last.unit
   FROM topics
     CROSS JOIN LATERAL ( SELECT metrics."time",
            metrics.value,
            metrics.value_str,
            metrics.quality,
            metrics.unit
           FROM metrics
          WHERE metrics.topic = topics.topic
          ORDER BY metrics."time" DESC
         LIMIT 1) last;
COMMENT ON VIEW metrics_latest IS 'The newest row of each topic';
GRANT SELECT ON metrics_latest TO nexus_reader;

-- Functions and procedures

-- 048_alarm_statistics.sql
-- Alarms that were raised so many `times` within a minute, how often, and how often they were raised in all.
CREATE FUNCTION alarm_chattering(start timestamp with time zone, stop timestamp with time zone, times integer DEFAULT 3)
 RETURNS TABLE(topic text, text text, bursts bigint, raised bigint)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT a.topic, max(a.text), count(*) FILTER (WHERE a.time - a.before <= INTERVAL '1 minute') AS bursts, count(*)
    FROM (
        SELECT one.*, lag(one.time, times - 1) OVER (PARTITION BY one.topic ORDER BY one.time) AS before
        FROM alarms_raised AS one WHERE one.time >= start AND one.time < stop
    ) AS a
    GROUP BY a.topic HAVING bool_or(a.time - a.before <= INTERVAL '1 minute') ORDER BY bursts DESC, 1
$function$;

-- 048_alarm_statistics.sql
-- How many were raised in each 10 minutes, those without any too.
CREATE FUNCTION alarm_rate(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(bucket timestamp with time zone, raised bigint)
 LANGUAGE sql
 STABLE
AS $function$
    WITH counted AS (
        SELECT date_bin('10 minutes', time, '2000-01-01Z') AS at, count(*) AS raised
        FROM alarms_raised WHERE time >= start AND time < stop GROUP BY 1
    )
    SELECT bucket, coalesce(counted.raised, 0)
    FROM generate_series(date_bin('10 minutes', start, '2000-01-01Z'), stop - INTERVAL '1 microsecond', '10 minutes')
        AS bucket LEFT JOIN counted ON at = bucket
    ORDER BY bucket
$function$;

-- 048_alarm_statistics.sql
-- How long occurrences waited for a person, by priority; those that began then.
CREATE FUNCTION alarm_response(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(priority text, raised bigint, acknowledged bigint, median interval, p95 interval, longest interval)
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

-- 048_alarm_statistics.sql
-- All of it in a row. A flood is more than 10 in 10 minutes; shares are from 0 to 1.
CREATE FUNCTION alarm_statistics(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(raised bigint, per_10_minutes double precision, peak_10_minutes bigint, flood_share double precision, top_10_share double precision, chattering bigint, standing bigint, stale bigint, shelved bigint, unacknowledged bigint, median_response interval)
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

-- 048_alarm_statistics.sql
-- The alarms that were raised most often, and their share of all.
CREATE FUNCTION alarm_top(start timestamp with time zone, stop timestamp with time zone, most integer DEFAULT 10)
 RETURNS TABLE(topic text, priority text, text text, raised bigint, share double precision)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT a.topic, max(a.priority), max(a.text), count(*), count(*) / sum(count(*)) OVER ()::float8
    FROM alarms_raised AS a WHERE a.time >= start AND a.time < stop
    GROUP BY a.topic ORDER BY 4 DESC, 1 LIMIT most
$function$;

-- 029_book.sql
-- Books what comes; `booked` was called before, in the same transaction.
CREATE FUNCTION book(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET search_path TO 'public', 'pg_temp'
AS $function$
    WITH came AS (
        SELECT * FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    ), beside AS (
        SELECT found.* FROM (
            SELECT array_agg(publisher) AS names, array_agg(first - 1) AS before, array_agg(last + 1) AS after FROM came
        ) AS wider, overlapping(names, before, after) AS found
    ), merged AS (
        SELECT publisher, lower(part) AS first, upper(part) - 1 AS last FROM (
            SELECT publisher, unnest(range_agg(int8range(first, last, '[]'))) AS part
            FROM (SELECT * FROM came UNION ALL SELECT * FROM beside) AS parts
            GROUP BY publisher
        ) AS whole
    ), gone AS (
        DELETE FROM committed AS c USING merged AS m
        WHERE c.publisher = m.publisher AND c.first > m.first AND c.first <= m.last
    )
    INSERT INTO committed (publisher, first, last) SELECT publisher, first, last FROM merged
    ON CONFLICT (publisher, first) DO UPDATE SET last = excluded.last, changed = excluded.changed
$function$;
REVOKE EXECUTE ON FUNCTION book(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION book(publishers text[], firsts bigint[], lasts bigint[]) TO nexus_writer;

-- 029_book.sql
-- What is booked already of what comes. From here to the end of the transaction nobody else books for these publishers.
-- Writers may not read the book, which names the publishers.
CREATE FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS TABLE(publisher text, first bigint, last bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    names text[] := ARRAY(SELECT DISTINCT name FROM unnest(publishers) AS name ORDER BY name);
    locked bigint;
BEGIN
    INSERT INTO committed (publisher, first, last) SELECT name, 0, 0 FROM unnest(names) AS name ON CONFLICT DO NOTHING;
    SELECT count(*) INTO locked FROM (
        SELECT FROM committed AS c WHERE c.publisher = ANY (names) AND c.first = 0 ORDER BY c.publisher FOR UPDATE
    ) AS ours;
    IF locked < cardinality(names) THEN -- forgotten meanwhile
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'a publisher was forgotten meanwhile';
    END IF;
    RETURN QUERY SELECT * FROM overlapping(publishers, firsts, lasts);
END
$function$;
REVOKE EXECUTE ON FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[]) TO nexus_writer;

-- 025_consumers.sql
-- Gives the number wanted, or the lowest that is free; NULL if there is none. Whose it is already, may ask again.
CREATE FUNCTION claim_number(of_group text, wanted integer, most integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
DECLARE
    me CONSTANT text := current_setting('application_name');
    found int;
BEGIN
    SELECT number INTO found FROM consumers WHERE consumer_group = of_group AND number = wanted AND application = me;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    LOCK TABLE consumers IN SHARE ROW EXCLUSIVE MODE;
    SELECT min(free) INTO found
    FROM generate_series(coalesce(wanted, 0), coalesce(wanted, most - 1)) AS free
    WHERE NOT EXISTS (
        SELECT 1 FROM consumers
        JOIN pg_stat_activity AS live ON live.usesysid = login AND live.application_name = application
        WHERE consumer_group = of_group AND number = free AND application <> me
    );
    IF found IS NOT NULL THEN
        INSERT INTO consumers (consumer_group, number, login, application)
        SELECT of_group, found, usesysid, me FROM pg_stat_activity WHERE pid = pg_backend_pid()
        ON CONFLICT (consumer_group, number) DO UPDATE SET login = excluded.login, application = excluded.application;
    END IF;
    RETURN found;
END
$function$;
REVOKE EXECUTE ON FUNCTION claim_number(of_group text, wanted integer, most integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_number(of_group text, wanted integer, most integer) TO nexus_writer;

-- 014_conflicts.sql
-- Of rows that are in the table by topic and time, those with another value there. Writers may not read the table; this
-- tells them no more than whether what they bring is what is stored.
CREATE FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[])
 RETURNS TABLE(topic text, "time" timestamp with time zone, value double precision, value_str text, quality smallint, unit text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT came.topic, came.time, came.value, came.value_str, came.quality, came.unit
    FROM unnest(topics, times, numbers, texts, qualities, units)
         AS came (topic, time, value, value_str, quality, unit)
    JOIN metrics AS stored ON stored.topic = came.topic AND stored.time = came.time
    WHERE stored.time >= (SELECT min(one) FROM unnest(times) AS one)
      AND stored.time <= (SELECT max(one) FROM unnest(times) AS one)
      AND (stored.value, stored.value_str, stored.quality)
          IS DISTINCT FROM (came.value, came.value_str, came.quality)
$function$;
REVOKE EXECUTE ON FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[]) TO nexus_writer;

-- 026_records.sql
-- Old rejects and audit records go in steps, so that none holds many locks or much disk. `config` says after how many
-- days, by table; what it does not name is kept.
CREATE PROCEDURE drop_old_records(IN job_id integer, IN config jsonb)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
    most CONSTANT int := 10000;
    part record;
    gone bigint;
BEGIN
    FOR part IN SELECT key AS relation, value::int AS days FROM jsonb_each_text(config) LOOP
        LOOP
            EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM %1$I WHERE time < now() - make_interval(days => $1) ORDER BY time LIMIT $2))',
                part.relation)
            USING part.days, most;
            GET DIAGNOSTICS gone = ROW_COUNT;
            COMMIT;
            EXIT WHEN gone < most;
        END LOOP;
    END LOOP;
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE drop_old_records(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 044_reject_retry.sql
-- Of those that were taken, what is stored now goes; what is refused again stays. Writers may not touch any other.
CREATE FUNCTION drop_taken_rejects(ids bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    DELETE FROM rejects WHERE id = ANY (ids) AND retry = 'infinity'
$function$;
REVOKE EXECUTE ON FUNCTION drop_taken_rejects(ids bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_taken_rejects(ids bigint[]) TO nexus_writer;

-- 029_book.sql
-- What is older than the table keeps is refused when it comes again: nothing need be known of it.
CREATE PROCEDURE forget_committed(IN job_id integer, IN config jsonb)
 LANGUAGE sql
AS $procedure$
    DELETE FROM committed WHERE changed < now() - make_interval(days => (config->>'days')::int + 1)
$procedure$;
REVOKE EXECUTE ON PROCEDURE forget_committed(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 052_alarm_clock.sql
-- A gateway whose clock was ahead by years would say an alarm's last word until then: an event from the future gives way.
-- And who put an alarm into its state stays known with the state, though what happens below it meanwhile is nobody's doing.
CREATE FUNCTION keep_alarm_states()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO alarm_states AS known
    SELECT DISTINCT ON (topic) time, topic, device, tag, name, occurrence, state, since, event, active, acknowledged,
        value, value_str, "limit", unit, priority, text, response,
        first_value(by) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC),
        first_value(reason) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC), until
    FROM arrived ORDER BY topic, time DESC
    ON CONFLICT (topic) DO UPDATE SET
        time = excluded.time, occurrence = excluded.occurrence, state = excluded.state, since = excluded.since,
        event = excluded.event, active = excluded.active, acknowledged = excluded.acknowledged,
        value = excluded.value, value_str = excluded.value_str, "limit" = excluded."limit", unit = excluded.unit,
        priority = excluded.priority, text = excluded.text, response = excluded.response,
        by = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.by ELSE excluded.by END,
        reason = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.reason ELSE excluded.reason END,
        until = excluded.until
    WHERE known.time < excluded.time OR known.time > now() + interval '1 hour';
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION keep_alarm_states() FROM PUBLIC;

-- 049_reject_tried.sql
CREATE FUNCTION keep_taken_rejects(ids bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    UPDATE rejects SET retry = NULL, tried = now() WHERE id = ANY (ids) AND retry = 'infinity'
$function$;
REVOKE EXECUTE ON FUNCTION keep_taken_rejects(ids bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_taken_rejects(ids bigint[]) TO nexus_writer;

-- 021_retention.sql
-- Nothing is dropped here by itself: all is kept.
CREATE FUNCTION kept_from()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$ SELECT NULL::timestamptz $function$;

-- 008_late.sql
-- Nothing is compressed here, and views are never stale: nothing is late.
CREATE FUNCTION late_before()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$ SELECT NULL::timestamptz $function$;

-- 053_notifications.sql
-- Of all consoles one sends: whose session holds this lock, on which it also writes. It is the session's, so it goes with it.
CREATE FUNCTION lead_notifications()
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT pg_try_advisory_lock(53, 1)
$function$;
REVOKE EXECUTE ON FUNCTION lead_notifications() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lead_notifications() TO nexus_console;

-- 029_book.sql
-- The ranges that overlap what comes. Whatever the planner knows, each is looked up in the index: all else has no bound.
CREATE FUNCTION overlapping(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS TABLE(publisher text, first bigint, last bigint)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
    SELECT found.publisher, found.first, found.last
    FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    CROSS JOIN LATERAL (
        (SELECT c.* FROM committed AS c
         WHERE c.publisher = came.publisher AND c.first <= came.first ORDER BY c.first DESC LIMIT 1)
        UNION ALL
        SELECT c.* FROM committed AS c
        WHERE c.publisher = came.publisher AND c.first > came.first AND c.first <= came.last
    ) AS found
    WHERE found.last >= came.first
$function$;
REVOKE EXECUTE ON FUNCTION overlapping(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;

-- 039_plant_days.sql
-- Whose days the daily values are: NEXUS_TIME_ZONE, set by `nexus db migrate`.
CREATE FUNCTION plant_time_zone()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$ SELECT 'UTC' $function$;

-- 056_notification_recipients.sql
-- Where nobody sends any more, what is too old to be told goes, a little with each event.
CREATE FUNCTION queue_notifications()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF EXISTS (SELECT FROM notification_sender WHERE wanted_until > now()) THEN
        INSERT INTO notification_queue (time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until)
        SELECT time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until
        FROM arrived WHERE event <> 'comment' ORDER BY time;
    ELSE
        DELETE FROM notification_queue WHERE id = ANY (ARRAY(
            SELECT id FROM notification_queue WHERE stored < now() - interval '7 days'
            ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
        ));
    END IF;
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION queue_notifications() FROM PUBLIC;

-- 044_reject_retry.sql
-- Takes some, each once: one that is refused again waits until it is asked for again.
CREATE FUNCTION take_rejects(most integer)
 RETURNS TABLE(id bigint, topic text, source text, tags text[], payload bytea, arrived bigint)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    WITH taken AS (
        SELECT r.id FROM rejects AS r WHERE r.retry < 'infinity' ORDER BY r.id LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE rejects AS r SET retry = 'infinity' FROM taken WHERE r.id = taken.id
    RETURNING r.id, r.topic, coalesce(r.source, r.topic), r.tags, r.payload, (extract(epoch FROM r.time) * 1000)::bigint
$function$;
REVOKE EXECUTE ON FUNCTION take_rejects(most integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_rejects(most integer) TO nexus_writer;
