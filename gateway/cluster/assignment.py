"""Decides which devices are ours: rendezvous hashing over the members that have them; never two poll one device. Pure.

A member takes a device when it ranks first among those that have it, and all of them have made room for it. A device
that it already polls, it keeps until another member ranks before it. A device is never taken from a member that defines
the same path differently.

Shares go to broker users first, then to the members of each user: however many names a user has, it gets one share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nexus.contract import topic
from nexus.contract.presence import Key, Mark, key

ALL_KEPT = 0  # in place of more kept devices than a presence may name
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Rival:
    """Another member, as far as it matters for the assignment.

    `devices` is None while they are unknown. `is_live` if we saw it renew its presence, rather than only a retained
    one, and saw its Lease where Leases are used; it is `welcome` until it has been without one for too long. It
    `has_made_room` for all our current devices; it `may_have_taken` ours while we were away.
    """

    name: str
    devices: Mapping[Key, Mark] | None
    is_live: bool
    is_welcome: bool
    has_made_room: bool
    may_have_taken: bool
    keeps: frozenset[Key]

    @property
    def described(self) -> tuple[object, ...]:
        """What counts of it, but its devices."""
        return self.name, self.is_live, self.is_welcome, self.has_made_room, self.may_have_taken, self.keeps


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to poll, which rivals we have made room for, and who defines devices of ours differently."""

    ours: frozenset[Key]
    room_for: frozenset[str]
    contested: dict[Key, str] = field(default_factory=dict)


def assign(
    me: str, devices: Mapping[Key, Mark], holding: frozenset[Key], rivals: Sequence[Rival], *, may_take: bool
) -> Assignment:
    """Decides on each of `devices`; what is not in `holding` is only taken if `may_take`."""
    contested: dict[Key, str] = {}
    crowded: set[str] = set()
    seeds = [(*_seed(me, rival.name), rival) for rival in rivals]
    mine, my_user = key(me), key(topic.user_of(me))
    ours = set()
    for device, definition in devices.items():
        held = device in holding
        users, own, is_ours = _mixed(my_user, device), _mixed(mine, device), held or may_take
        for seed, is_of_our_user, rival in seeds:
            if rival.devices is None:
                is_ours &= not rival.may_have_taken if held else False
                continue
            if (theirs := rival.devices.get(device)) is None:
                continue
            first = _mixed(seed, device) > (own if is_of_our_user else users)
            yields = first
            if theirs != definition:
                contested[device] = rival.name
                kept = device in rival.keeps or ALL_KEPT in rival.keeps
                yields = first and kept if held else first or kept
            if held and not rival.is_live and first:
                crowded.add(rival.name)  # a retained presence is no reason to let go, nor to announce it
                continue
            is_ours &= not yields and not (rival.may_have_taken if held else not rival.has_made_room)
        if is_ours:
            ours.add(device)
    unknown = {rival.name for rival in rivals if rival.devices is None}
    room = frozenset(rival.name for rival in rivals if rival.is_welcome) - unknown - crowded
    return Assignment(frozenset(ours), room, contested)


def rank(member: str, device: Key) -> tuple[int, int]:
    """The member with the highest rank comes first for a device."""
    return _mixed(key(topic.user_of(member)), device), _mixed(key(member), device)


def _seed(me: str, other: str) -> tuple[int, bool]:
    """With what to compare ours, and whether that is among the members of one user."""
    user = topic.user_of(other)
    is_of_our_user = user == topic.user_of(me)
    return key(other if is_of_our_user else user), is_of_our_user


def _mixed(seed: int, device: Key) -> int:
    mixed = (seed ^ device) * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & _MASK
    return mixed ^ mixed >> 32
