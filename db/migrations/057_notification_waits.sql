-- Escalations: an alarm that calls again is waited for anew.
GRANT UPDATE (began, due, receivers) ON notification_waits TO nexus_console;
