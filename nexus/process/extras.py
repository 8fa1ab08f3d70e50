"""Optional dependencies: `pip install nexus-edge[modbus]` and the like."""

_EXTRAS = {
    **{"pymodbus": "modbus", "serial": "modbus", "asyncua": "opcua", "cryptography": "opcua", "snap7": "s7"},
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "joserfc", "psycopg_pool", "websockets"), "console"),
    "pyarrow": "export",
}


def missing(error: ModuleNotFoundError) -> str | None:
    """What to install for a missing module; None if it belongs to no extra."""
    name = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    return None if extra is None else f"needs the package {name}: pip install 'nexus-edge[{extra}]'"
