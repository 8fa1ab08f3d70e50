"""How often something may be tried: by address, by name, by device; in memory, and in bounded memory."""

from collections import OrderedDict


class Limit:
    """Lets each key try `burst` times at once, and then once every `seconds`.

    Remembers `most` keys, and forgets first whoever tried least lately.
    """

    def __init__(self, burst: int, seconds: float, most: int = 10_000) -> None:
        self._tolerance = (burst - 1) * seconds
        self._seconds = seconds
        self._most = most
        self._due: OrderedDict[str, float] = OrderedDict()  # when each would have used up nothing again

    def wait(self, key: str, now: float) -> float:
        """Counts a try, and gives 0.0; or counts none, and gives the seconds until the next one is allowed."""
        due = max(self._due.get(key, now), now)
        if (early := due - now - self._tolerance) > 0:
            return early
        self._due[key] = due + self._seconds
        self._due.move_to_end(key)
        if len(self._due) > self._most:
            self._due.popitem(last=False)
        return 0.0

    def forgive(self, key: str) -> None:
        """Takes a key's last try back."""
        if key in self._due:
            self._due[key] -= self._seconds


class RefusalQuota:
    """How many refusals are recorded: an attack is seen, and does not fill the table.

    Of one address ten at once and then one each six seconds, of all together six times as many.
    """

    def __init__(self) -> None:
        self._of_one = Limit(10, 6.0)
        self._of_all = Limit(60, 1.0, most=1)
        self._unrecorded = 0

    def admit(self, address: str, now: float) -> int | None:
        """How many since the last recorded one were not recorded; None if this one is not to be recorded either."""
        if self._of_one.wait(address, now) or self._of_all.wait("", now):
            self._unrecorded += 1
            return None
        unrecorded, self._unrecorded = self._unrecorded, 0
        return unrecorded


class LoginLimits:
    """How often a login may be tried: a guesser is slowed down, and cannot lock out whose name it is.

    Whoever logged in before from the same browser has a limit of their own, and is not held up by what strangers try.
    Of strangers each address is limited, and each name over all addresses, so loosely that one
    address cannot use it up.
    """

    def __init__(self) -> None:
        self._address = Limit(10, 10.0)
        self._name = Limit(100, 5.0)
        self._device = Limit(10, 10.0)
        self._oidc = Limit(10, 10.0)

    def wait(self, address: str, name: str, device: str | None, now: float) -> float:
        """Seconds until this may be tried; 0.0 counts a try. `device` is who is known from an earlier login."""
        if device is not None:
            return self._device.wait(device, now)
        return self._address.wait(address, now) or self._name.wait(name, now)

    def wait_oidc(self, address: str, now: float) -> float:
        """The same for a login that comes back from the provider, which has no part in the others."""
        return self._oidc.wait(address, now)

    def oidc_succeeded(self, address: str) -> None:
        """A shift whose people all come from one address is not held up."""
        self._oidc.forgive(address)

    def succeeded(self, address: str, name: str, device: str | None) -> None:
        """A try that was right counts for nothing."""
        if device is not None:
            self._device.forgive(device)
            return
        self._address.forgive(address)
        self._name.forgive(name)
