"""File systems and tables in memory."""

from __future__ import annotations


class FakeStorage:
    """As much of :class:`~local.plugin.storage.LocalStorage` as bodies use."""

    def __init__(self) -> None:
        self.file_systems: set[tuple[str, str]] = set()
        self.tables: set[tuple[str, str]] = set()

    def create_file_system(self, account: str, name: str) -> None:
        self.file_systems.add((account, name))

    def has_file_system(self, account: str, name: str) -> bool:
        return (account, name) in self.file_systems

    def delete_file_system(self, account: str, name: str) -> None:
        self.file_systems.discard((account, name))

    def create_table(self, account: str, name: str) -> None:
        self.tables.add((account, name))

    def has_table(self, account: str, name: str) -> bool:
        return (account, name) in self.tables

    def delete_table(self, account: str, name: str) -> None:
        self.tables.discard((account, name))
