"""What is installed only for those who need it: `pip install nexus-edge[modbus]` and its like."""

_EXTRAS = {
    **{"pymodbus": "modbus", "serial": "modbus", "asyncua": "opcua", "cryptography": "opcua", "snap7": "s7"},
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "joserfc", "psycopg_pool", "websockets"), "console"),
    "pyarrow": "export",
}


def missing(error: ModuleNotFoundError) -> str | None:
    """What to install, for a module that is not there; None if it is not one of an extra's."""
    name = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    return None if extra is None else f"needs the package {name}: pip install 'nexus-edge[{extra}]'"
