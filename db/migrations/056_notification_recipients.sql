-- Notifications: recipients of a mail that is taken for some only, whom an escalation tells, and indexes by which a large
-- outbox costs no more than a small one.
ALTER TABLE notifications ADD COLUMN remaining text[], ADD COLUMN refused text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN notifications.remaining IS 'Of a mail that some have: who has not got it';
COMMENT ON COLUMN notifications.refused IS 'Those of them whom the mail server refuses for ever';

ALTER TABLE notification_waits ADD COLUMN receivers text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN notification_waits.receivers IS 'Who is told, as the route said when the alarm was raised';

-- Whether an alarm is in a digest that is not sent yet.
DROP INDEX notifications_digest;
CREATE INDEX notifications_digest ON notifications (digest, topic) WHERE digest IS NOT NULL;
CREATE INDEX notifications_receiver ON notifications (receiver, id);
-- How many a receiver got lately, and its last digest.
CREATE INDEX notifications_sent ON notifications (receiver, settled) WHERE state = 'sent' AND kind <> 'digest';
CREATE INDEX notifications_digests ON notifications (receiver, created) WHERE kind = 'digest';

-- The outbox and the queue are read from their ends, where what has left lies until it is vacuumed.
ALTER TABLE notifications SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE notification_queue SET (autovacuum_vacuum_scale_factor = 0.01);

-- Where nobody sends any more, what is too old to be told goes, a little with each event.
CREATE OR REPLACE FUNCTION queue_notifications() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
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
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION queue_notifications() SET search_path = %I, pg_temp', current_schema());
END
$$;
