"""What is remembered of the historian between requests."""

from console.database import Database
from console.historian.catalogue import Catalogue
from console.historian.export import Exports
from console.historian.kept import KeptNow


class Historian:
    """One of each, for one database."""

    def __init__(self, database: Database) -> None:
        self.catalogue = Catalogue(database)
        self.kept = KeptNow()
        self.exports = Exports(database)
