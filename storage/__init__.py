"""Where datasets live: the directory and its files, the one writer, the journal. Nothing here knows of Prefect."""

from prefect_datagen.storage.directory import DatasetDirectory
from prefect_datagen.storage.journal import Journal, JournalStatistics
from prefect_datagen.storage.memory import MemoryDataset, MemoryStore
from prefect_datagen.storage.reader import DatasetReader
from prefect_datagen.storage.store import RowGroupCommit, RowGroupStore, RunRecord

__all__ = [
    "DatasetDirectory",
    "DatasetReader",
    "Journal",
    "JournalStatistics",
    "MemoryDataset",
    "MemoryStore",
    "RowGroupCommit",
    "RowGroupStore",
    "RunRecord",
]
