"""Notifications of alarms: judged by routes, kept in an outbox, sent by one console of all."""
