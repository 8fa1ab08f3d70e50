"""`nexus probe`: raw Modbus registers as every type in every order, to see which one makes sense."""

from dataclasses import dataclass
from itertools import product

from gateway.drivers.driver import DeviceError
from gateway.drivers.modbus.address import NUMBERS, READS, Address, Order, decoder, parse
from gateway.drivers.modbus.line import ModbusExceptionError, RequestTiming, shared
from gateway.drivers.modbus.settings import TcpSettings
from gateway.drivers.modbus.wire import Tcp, reading
from gateway.tools.oneshot import table
from nexus.contract.reading import Value

_AROUND = 1  # registers on each side: off by one is the most common mistake
_WIDEST = 4
_ORDERS: dict[tuple[Order, Order], str] = {
    ("big", "big"): "ABCD",
    ("little", "big"): "CDAB",
    ("big", "little"): "BADC",
    ("little", "little"): "DCBA",
}
_SCALES = (1.0, 0.1, 0.01, 0.001, 10.0, 100.0)
_TOLERANCE = 0.002  # of the expected value, which changes while you look


@dataclass(frozen=True)
class Fit:
    """A reading of the registers that gives what is expected; `shift` in registers from the address asked for."""

    shift: int
    type: str
    word_order: Order
    byte_order: Order
    scale: float
    value: float


async def probe(settings: TcpSettings, text: str, timeout: float, expected: float | None) -> list[str]:
    """Reads once; returns a table, and the YAML line that fits. Raises DeviceError and ValueError."""
    asked = parse(text if text.count(":") > 1 else f"{text}:uint16", settings.addressing)
    if asked.table not in ("holding", "input"):
        raise ValueError("probe looks at registers: give an address like holding:40001 or input:30001")
    registers = await _registers(settings, asked, timeout)
    lines = [_shown(registers, asked, settings), "", *table(list(_rows(registers, asked, expected)))]
    if expected is None:
        return lines
    found = fits(registers, asked, expected)
    if not found:
        return [*lines, "", f"nothing here is {expected:g}: check the address, and whether the value is still the same"]
    return [*lines, "", *(f"fits: {_yaml(fit, asked, settings)}" for fit in found[:5])]


def fits(registers: dict[int, int], asked: Address, expected: float) -> list[Fit]:
    """What gives the expected value, likeliest first: at the address itself, unscaled, in the usual order."""
    found = []
    for shift, kind, order in product((0, -1, 1), NUMBERS, _ORDERS):
        value = _value(registers, asked, shift, kind, order)
        one_register_in_another_word_order = kind.endswith("16") and order[0] == "little"
        if not isinstance(value, int | float) or value == 0 or one_register_in_another_word_order:
            continue
        found += [
            Fit(shift, kind, *order, scale, value * scale)
            for scale in (_SCALES if not kind.startswith("float") else (1.0,))
            if abs(value * scale - expected) <= abs(expected) * _TOLERANCE
        ]
    return sorted(found, key=_unlikeliness)


def _unlikeliness(fit: Fit) -> tuple[object, ...]:
    orders = list(_ORDERS)
    return fit.shift != 0, fit.scale != 1, orders.index((fit.word_order, fit.byte_order)), list(NUMBERS).index(fit.type)


async def _registers(settings: TcpSettings, asked: Address, timeout: float) -> dict[int, int]:
    """Registers by number, counted from zero; those that the device refuses are left out."""
    timing, found = RequestTiming(timeout, settings.request_delay), dict[int, int]()
    first, last = max(0, asked.start - _AROUND), min(65535, asked.start + _WIDEST - 1 + _AROUND)
    async with shared(Tcp(settings.host, settings.port)) as line:
        for number in range(first, last + 1):
            try:
                [found[number]] = await line.read(settings.unit, reading(READS[asked.table], number, 1), timing)
            except ModbusExceptionError:
                continue
    if asked.start not in found:
        raise DeviceError(f"unit {settings.unit} has no {asked.table} register {asked.start} (counted from zero)")
    return found


def _value(registers: dict[int, int], asked: Address, shift: int, kind: str, order: tuple[Order, Order]) -> Value:
    start = asked.start + shift
    address = parse(f"{asked.table}:{max(start, 0)}:{kind}", "zero", *order) if start + 4 <= 65535 else None
    if address is None or start < 0 or any(start + at not in registers for at in range(address.count)):
        return None
    words = [registers[start + at] for at in range(address.count)]
    return decoder([address], start)(words)[0]


def _rows(registers: dict[int, int], asked: Address, expected: float | None) -> list[tuple[str, ...]]:
    marked = {(fit.shift, fit.type, fit.word_order, fit.byte_order) for fit in fits(registers, asked, expected or 0)}
    rows = [("register", "type", *_ORDERS.values())]
    for shift, kind in product((0, -1, 1), NUMBERS):
        cells = []
        for order in _ORDERS:
            value = _value(registers, asked, shift, kind, order)
            shown = "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)
            cells.append(f"{shown} <==" if (shift, kind, *order) in marked else shown)
        if any(cells):
            rows.append((f"{asked.start + shift:>5} ({shift:+d})" if shift else f"{asked.start:>5}", kind, *cells))
    return rows


def _shown(registers: dict[int, int], asked: Address, settings: TcpSettings) -> str:
    words = ", ".join(f"{number}: {word:04X}" for number, word in sorted(registers.items()))
    return f"{asked.table} registers of unit {settings.unit}, counted from zero: {words}"


def _yaml(fit: Fit, asked: Address, settings: TcpSettings) -> str:
    first = {"modicon": 40001 if asked.table == "holding" else 30001, "zero": 0, "one": 1}[settings.addressing]
    number = asked.start + fit.shift + first
    scale = "" if fit.scale == 1 else f", scale: {fit.scale:g}"
    orders = (
        ""
        if (fit.word_order, fit.byte_order) == ("big", "big")
        else (f"   with word_order: {fit.word_order}, byte_order: {fit.byte_order} for the device")
    )
    return f'- {{name: …, address: "{asked.table}:{number}:{fit.type}"{scale}}}{orders}'
