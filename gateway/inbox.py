"""Requests to a gateway by MQTT: writes, actions on alarms, and changes of device files."""

import asyncio

from gateway.alarms.requests import AlarmRequests
from gateway.commands.command import Commands
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.subscription import subscribe
from gateway.files.requests import FileRequests
from nexus import mqtt
from nexus.contract.ack import ROOT as ALARMS
from nexus.contract.command import ROOT as COMMANDS


class Inbox:
    """Hands each request to the part that carries it out. Their tasks belong to `group`."""

    def __init__(
        self,
        commands: Commands,
        alarms: AlarmRequests,
        files: FileRequests,
        control: ControlTopics,
        group: asyncio.TaskGroup,
    ) -> None:
        self._commands, self._alarms, self._files = commands, alarms, files
        self._control, self._group = control, group

    async def join(self, connection: mqtt.Connection) -> None:
        """Subscribes to requests that are made from now on. Raises MqttError."""
        for name in (f"{COMMANDS}#", f"{ALARMS}#", self._files.topic):
            await subscribe(self._control, connection, name, only_new=True)

    def take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        """Takes a message if it is a request."""
        if not (self._files.take(self._group, connection, message) or self._alarms.take(connection, message)):
            self._commands.take(connection, message)
