-- Notifications: what some recipients of a mail have holds up nothing; what nobody has yet is found beside any number of it.
DROP INDEX notifications_of_alarm;
CREATE INDEX notifications_of_alarm ON notifications (receiver, topic, id) WHERE state = 'pending' AND remaining IS NULL;
CREATE INDEX notifications_partly ON notifications (receiver, due) WHERE state = 'pending' AND remaining IS NOT NULL;
CREATE INDEX notifications_partly_made ON notifications (receiver, created) WHERE remaining IS NOT NULL AND kind <> 'digest';
