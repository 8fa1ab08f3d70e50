"""What the keys of device files mean, in a line each, and how addresses are written: for `nexus schema`."""

from typing import Any

DEVICE = {
    "name": "In logs, metrics and /api/devices; no two devices have the same.",
    "path": "Where in the topics it stands: dev/{path}/{tag}. Default: the name.",
    "protocol": "What the device speaks; it decides which other keys there are.",
    "template": "Takes the keys of that template, where the device has none of its own.",
    "interval": "How often its tags are read; 100ms or longer.",
    "timeout": "How long an answer may take; up to 60s.",
    "breaker": "When a device that fails is left alone, and for how long.",
    "publish": "tag: a message for each reading; device: a message for each scan, a hundredth of the broker's work.",
    "tags": "The values to read; at least one.",
    "failures": "This many failures in a row, and the device rests.",
    "open_for": "How long it rests at first; twice as long each time.",
    "max_open_for": "How long it rests at most.",
}

TAG = {
    "name": "The last level of its topic: without /, + and #.",
    "address": "Where in the device it is, in the protocol's own notation.",
    "unit": "Unit of measurement, stored with each value.",
    "scale": "The value is multiplied by this; booleans and texts stay as they are.",
    "offset": "Added after scaling.",
    "interval": "How often this tag is read. Default: the device's.",
    "on_change": "Send only changes.",
    "deadband": "Send only changes by more than this: of the tag's unit (0.5), or of the last value sent (0.5%).",
    "max_silence": "With on_change or deadband: send at least this often.",
    "writable": "May be written by commands.",
    "min": "The smallest value that may be written.",
    "max": "The largest value that may be written.",
    "word_order": "Order of the registers, where this tag differs from its device.",
    "byte_order": "Order of the bytes within a register, where this tag differs from its device.",
}

OF_PROTOCOLS = {
    "host": "Name or IP address of the device; ${DEVICE_…} for a variable.",
    "port": "TCP port.",
    "unit": "Unit id; a gateway to serial devices tells them apart by it.",
    "addressing": "What the numbers in addresses count from: modicon (40001 is the first), zero or one.",
    "word_order": "Order of the registers of a value.",
    "byte_order": "Order of the bytes within a register.",
    "request_delay": "Pause before each request, for serial converters that need one.",
    "max_registers": "The largest block of registers that the device answers.",
    "max_bits": "The largest block of coils or inputs that the device answers.",
    "gap": "A hole between two tags of up to this size is read over, to save a request.",
    "transaction_ids": "zero: for converters that answer each request with number 0.",
    "serial": "Serial port of this machine, like /dev/ttyUSB0.",
    "baudrate": "Bits a second.",
    "data_bits": "Bits of a character.",
    "parity": "Parity of a character.",
    "stop_bits": "Stop bits of a character.",
    "rack": "Rack of the CPU; usually 0.",
    "slot": "Slot of the CPU; S7-300: 2, S7-1200 and 1500: 1 or 0.",
    "connection": "The kind of connection that is taken from the PLC's few.",
    "endpoint": "Address of the server, like opc.tcp://192.168.1.30:4840.",
    "security": "How the connection is encrypted, and whom it trusts.",
    "username": "User of the server; anonymous without.",
    "password": "Password of the user: better a variable, ${DEVICE_…}, or password_file.",
    "password_file": "File that holds the password.",
    "insecure_password": "true: the password may travel without encryption.",
    "mode": "subscribe: the server tells what changes; poll: read at each interval.",
    "clock": "Which clock timestamps a reading: the source's, the server's, or this gateway's.",
    "sampling": "How often the server looks at an item. Default: the tag's interval.",
    "queue": "Changes that the server keeps for each item between two reports.",
    "profile": "s7-1200: at most 100 nodes a call and 1,000 items; auto: by the server's product.",
    "batch": "Nodes in a call, for servers that name no limit and fail beyond some number.",
    "policy": "Security policy of the server's endpoint.",
    "certificate": "Our certificate for this server, PEM or DER. Default: our own.",
    "key": "The certificate's private key.",
    "trust": "A certificate, a folder of them, or any.",
    "application_uri": "The name that the server's certificate must carry, instead of the endpoint's host.",
}
# Of `security`, where a device's key of the same name means something else.
SECURITY = {**OF_PROTOCOLS, "mode": "Sign, or SignAndEncrypt."}


def _any_case(text: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in text)


_DB, _DBX = _any_case("DB"), _any_case("DBX")
_S7_PLACE = (
    rf"({_DB}\d+(\.{_DB}[XBWDxbwd]\d+(\.\d)?|:\d+(\.\d)?)|[MIQEAmiqea][XBWDxbwd]?\d+(\.\d)?):[A-Za-z]+([(\[]\d+[)\]])?"
)
_S7_SHORT = rf"{_DB}\d+,[A-Za-z]+\d+(\.\d+)?|[MIQEAmiqea][A-Za-z]*\d+(\.\d+)?|{_DB}\d+\.{_DBX}\d+\.\d"

# By protocol family.
ADDRESSES: dict[str, dict[str, Any]] = {
    "modbus": {
        "pattern": r"^\s*((coil|discrete):\d+(:bool)?"
        r"|(holding|input):\d+(:(u?int(16|32|64)|float(32|64)|string\(\d+\))|\.\d+:bool))\s*$",
        "examples": ["holding:40001:float32", "holding:40020.3:bool", "input:30010:string(8)", "coil:1:bool"],
    },
    "opcua": {
        "pattern": r"^\s*((nsu=[^;]*|srv=\d+|ns=\d+);)*(i=\d+|s=.+|g=[0-9A-Fa-f-]+|b=.*)\s*$",
        "examples": ["ns=2;s=Press.Force", "ns=3;i=1001", "nsu=urn:vendor:press;s=Force"],
    },
    "s7": {
        "pattern": rf"^\s*%?({_S7_PLACE}|{_S7_SHORT})\s*$",
        "examples": ["DB1.DBD0:REAL", "DB1.DBX4.0:BOOL", "DB1.DBB10:STRING(16)", "MW20:INT"],
    },
}
