"""Topics: `dev/{device path}` and `dev/{device path}/{tag}`, and the ones beside `dev/`."""

from functools import lru_cache

ROOT = "dev/"

LONGEST_NAME = 1_024  # bytes
LONGEST = 2_000  # bytes of a topic: an index entry of the database has little more room
ALARMS = "alarm/#"  # all alarms of all devices
STATE = "state"  # the last level of a gateway's state, so it cannot be a gateway's name
TOTALS = "totals"  # the level above device paths in a gateway's topics; likewise

_FORBIDDEN = frozenset("+#\0")
_TOO_LONG = "is longer than 1,024 bytes"


def name_fault(name: str, *, path: bool = False) -> str | None:
    """Why `name` cannot be a tag (or, with `path`, a device path) in a topic; None if it can."""
    if len(name) > LONGEST_NAME:  # not cached: messages may contain any number of such names
        return _TOO_LONG
    return _name_fault(name, path)


@lru_cache(maxsize=16_384)  # the same names come again and again
def _name_fault(name: str, path: bool) -> str | None:
    if not name:
        return "is empty"
    if bad := sorted(_FORBIDDEN.intersection(name)):
        return f"contains {' and '.join(map(repr, bad))}, which MQTT reserves"
    if not path and "/" in name:
        return "contains '/', which separates the levels of a topic"
    if path and (name[0] == "/" or name[-1] == "/" or "//" in name):
        return "has an empty level: write it like plant/line1/plc001"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        return _TOO_LONG
    return None


def device(path: str) -> str:
    """Topic of a device's messages."""
    return ROOT + path


def tag(path: str, name: str) -> str:
    """Topic of one tag, which is also its key in the historian, whichever message it came in."""
    return f"{ROOT}{path}/{name}"


def beneath(name: str, tag: str) -> str:
    """The topic of a tag that came on `name`; without a name it is that topic itself."""
    return f"{name}/{tag}" if tag else name


def audit(path: str, name: str) -> str:
    """Topic of the audit records of one tag."""
    return f"audit/{path}/{name}"


def alarm(path: str, tag: str, name: str) -> str:
    """Topic of the retained state of an alarm; without a tag, of one of the device's own."""
    return f"alarm/{path}/{tag}/{name}" if tag else f"alarm/{path}/{name}"


def alarms(path: str) -> str:
    """Filter for the alarms of a device, and of the devices below it."""
    return f"alarm/{path}/#"


def ack(path: str, tag: str, name: str) -> str:
    """Topic of requests about an alarm."""
    return f"ack/{path}/{tag}/{name}" if tag else f"ack/{path}/{name}"


def status(path: str) -> str:
    """Topic of the retained state of a device."""
    return f"status/{path}"


def description(path: str) -> str:
    """Topic of the retained description of a device."""
    return f"device/{path}"


def command(path: str, name: str) -> str:
    """Topic of requests to write a tag."""
    return f"cmd/{path}/{name}"


def presence(group: str, member: str) -> str:
    """Topic of the retained presence of one gateway of a group."""
    return f"gateway/{group}/{member}"


def presences(group: str) -> str:
    """Filter for all messages between the gateways of a group."""
    return f"gateway/{group}/#"


def devices_of(group: str, member: str, number: int) -> str:
    """Topic of one part of the devices behind a gateway's digest."""
    return f"gateway/{group}/{member}/devices/{number}"


def gateway_state(group: str, member: str) -> str:
    """Topic of the retained state of one gateway of a group: for people; the group ignores it."""
    return f"gateway/{group}/{member}/{STATE}"


def totals(group: str, member: str, path: str) -> str:
    """Topic of the retained totals of a device, as one gateway of a group has them."""
    return f"gateway/{group}/{member}/{TOTALS}/{path}"


def totals_of(group: str, name: str) -> tuple[str, str] | None:
    """The gateway and the device whose totals a topic has; None if it has none."""
    prefix = f"gateway/{group}/"
    member, mark, path = name.removeprefix(prefix).partition(f"/{TOTALS}/")
    return (member, path) if mark and name.startswith(prefix) else None


def files(group: str, member: str) -> str:
    """Topic of requests about the device files of a gateway."""
    return f"file/{group}/{member}"


def member_of(group: str, name: str) -> tuple[str, bool] | None:
    """The gateway whose presence or list of devices a topic has, and whether it is a list; None if it is neither."""
    prefix = f"gateway/{group}/"
    if not name.startswith(prefix):
        return None
    levels = name[len(prefix) :].split("/")
    if (len(levels) > 1 and levels[-1] == STATE) or TOTALS in levels[1:-1]:
        return None
    if len(levels) > 2 and levels[-2] == "devices" and levels[-1].isdecimal():
        return "/".join(levels[:-2]), True
    return "/".join(levels), False


def user_of(member: str) -> str:
    """The broker user that a gateway's name begins with: the broker lets no other user publish there."""
    return member.partition("/")[0]


def receipt(publisher: str) -> str:
    """Topic of a publisher's receipts: which of its messages are in the database."""
    return f"receipt/{publisher}"


def receipt_offer(group: str) -> str:
    """Retained topic on which the ingesters of a group offer receipts."""
    return f"receipt-offer/{group}"


def shared_filter(group: str) -> str:
    """Filter by which the ingesters of a group share all devices' messages."""
    return f"$share/{group}/{ROOT}#"


def shared_audit_filter(group: str) -> str:
    """Filter by which they share the audit records of writes."""
    return f"$share/{group}/audit/#"


def shared_completeness_filter(group: str) -> str:
    """Filter by which they share what gateways count."""
    return f"$share/{group}/completeness/#"


def shared_alarm_filter(group: str) -> str:
    """Filter by which they share the alarms."""
    return f"$share/{group}/{ALARMS}"
