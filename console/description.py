"""Prints the API's description, for the types of the pages: `python -m console.description`."""

import json

from console import app


def main() -> None:
    print(json.dumps(app.api("of this checkout").openapi(), indent=1, sort_keys=True))  # noqa: T201  that is what it is for


if __name__ == "__main__":
    main()
