"""Embeddings on disk, so that no picture is embedded twice by one encoder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm_rewards import __version__
from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import CacheError, check_count

DEFAULT_BYTES = 2 * 2**30
"""Greatest size of the file, unless said otherwise."""
LOCATION = "VLM_REWARDS_CACHE"
"""Environment variable that names another folder for the cache."""

_CHUNK = 512  # pictures that are embedded, and then stored, at a time
_PATIENCE_S = 60.0  # for other writers
_LOOKUP = 500  # rows asked for in one statement
_PRESENTATION = ("name", "source", "in_domain", "batch_size", "device")
"""Facts of `describe` that change no embedding."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS encoder (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS embedding (
    encoder INTEGER NOT NULL, picture BLOB NOT NULL, vector BLOB NOT NULL, used REAL NOT NULL,
    PRIMARY KEY (encoder, picture)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON embedding (used);
"""


@dataclass(frozen=True)
class CachedEncoder:
    """What the cache holds of one encoder."""

    name: str
    """What it was called when it was first used."""
    key: str
    """Digest of its weights, configuration and dtype."""
    embeddings: int
    """Pictures."""
    size_bytes: int
    """Of the vectors."""


def default_folder() -> Path:
    """Folder of the cache: ``$VLM_REWARDS_CACHE``, else ``vlm-rewards`` in the user's cache folder."""
    if os.environ.get(LOCATION):
        return Path(os.environ[LOCATION])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlm-rewards"


def encoder_key(encoder: ImageTextEncoder) -> str | None:
    """Digest of all that decides an encoder's embeddings; None where its weights have no digest."""
    facts = encoder.describe()
    if not facts.get("weights_sha256"):
        return None
    decisive = {name: value for name, value in facts.items() if name not in _PRESENTATION}
    # Another kind of device rounds otherwise; another release may prepare pictures otherwise.
    decisive |= {"device_kind": str(facts.get("device", "")).partition(":")[0], "version": __version__}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()


class EmbeddingCache:
    """Embeddings by picture and encoder, in one SQLite file.

    Any number of processes may read and write it at the same time. When it grows
    beyond its bound, the embeddings that were used longest ago are dropped. An
    encoder whose weights have no digest (a model in memory) is not cached.

    A picture embedded alone and in a batch differ in the last bits; the cache
    keeps those that came first.

    Args:
        folder: Where the file lies; made if it does not exist. Default: `default_folder`.
        max_bytes: Greatest size of the file, at least 1 MiB.

    Attributes:
        embedded: Pictures that encoders had to embed, since this object was made.
        found: Pictures that were there already, or came twice.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self.path = (default_folder() if folder is None else Path(folder)) / "embeddings.sqlite"
        self.max_bytes = check_count("max_bytes", max_bytes, least=2**20)
        self.embedded = 0
        self.found = 0

    def embed(
        self, encoder: ImageTextEncoder, frames: Frames, advance: Callable[[int], object] = lambda count: None
    ) -> Embeddings:
        """Embed pictures, those alone that are not there yet.

        Args:
            encoder: Embeds them.
            frames: uint8 ``[n h w 3]``, n at least 1.
            advance: Called with a number of pictures when they are done, for a progress bar.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            CacheError: The file is damaged or cannot be written.
        """
        pictures = [hashlib.blake2b(frame.tobytes(), digest_size=16, key=_shape(frame)).digest() for frame in frames]
        places = {picture: row for row, picture in reversed(list(enumerate(pictures)))}  # the first of equal ones
        key = encoder_key(encoder)
        known = {} if key is None else self._read(key, encoder.name, list(places))
        advance(sum(picture in known for picture in pictures))
        missing = [picture for picture in places if picture not in known]
        self.embedded += len(missing)
        self.found += len(pictures) - len(missing)
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            vectors = encoder.embed_images(frames[[places[picture] for picture in chunk]])
            fresh = dict(zip(chunk, vectors, strict=True))
            known |= fresh
            if key is not None:
                self._write(key, encoder.name, fresh)
            advance(sum(picture in fresh for picture in pictures))
        return np.stack([known[picture] for picture in pictures])

    def entries(self) -> list[CachedEncoder]:
        """What is there, by name.

        Raises:
            CacheError: The file is damaged.
        """
        if not self.path.is_file():
            return []
        with self._connection() as database:
            rows = database.execute(
                "SELECT name, key, COUNT(picture), COALESCE(SUM(LENGTH(vector)), 0) FROM encoder "
                "LEFT JOIN embedding ON encoder.id = embedding.encoder GROUP BY encoder.id ORDER BY name, key"
            ).fetchall()
        return [CachedEncoder(*row) for row in rows if row[2]]

    def size_bytes(self) -> int:
        """Of the file on disk."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def clear(self, name: str | None = None) -> int:
        """Forget embeddings.

        Args:
            name: Only those of encoders of this name; None is all, and removes the file, damaged or not.

        Returns:
            How many there were; 0 if nobody could tell.

        Raises:
            CacheError: The file cannot be changed.
        """
        if not self.path.is_file():
            return 0
        if name is None:
            with contextlib.suppress(CacheError):
                count = sum(entry.embeddings for entry in self.entries())
                self._remove()
                return count
            self._remove()
            return 0
        with self._connection() as database:
            within = "encoder IN (SELECT id FROM encoder WHERE name = ?)"
            count = database.execute(f"DELETE FROM embedding WHERE {within}", (name,)).rowcount
            database.execute("DELETE FROM encoder WHERE name = ?", (name,))
            database.commit()
            database.execute("VACUUM")
        return count

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"the cache {str(self.path)!r} cannot be removed: {error.strerror or error}.") from None

    def _read(self, key: str, name: str, pictures: list[bytes]) -> dict[bytes, np.ndarray]:
        if not self.path.is_file():
            return {}
        known: dict[bytes, np.ndarray] = {}
        with self._connection() as database:
            encoder = _encoder_id(database, key, name)
            for start in range(0, len(pictures), _LOOKUP):
                asked = pictures[start : start + _LOOKUP]
                marks = ",".join("?" * len(asked))
                where = f"encoder = ? AND picture IN ({marks})"
                rows = database.execute(f"SELECT picture, vector FROM embedding WHERE {where}", (encoder, *asked))
                known |= {picture: np.frombuffer(vector, np.float32) for picture, vector in rows}
                database.execute(f"UPDATE embedding SET used = ? WHERE {where}", (time.time(), encoder, *asked))
            database.commit()
        return known

    def _write(self, key: str, name: str, fresh: Mapping[bytes, np.ndarray]) -> None:
        with self._connection() as database:
            encoder = _encoder_id(database, key, name)
            now = time.time()
            database.executemany(
                "INSERT OR IGNORE INTO embedding VALUES (?, ?, ?, ?)",
                [(encoder, picture, vector.astype(np.float32).tobytes(), now) for picture, vector in fresh.items()],
            )
            database.commit()
            self._shrink(database)

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Drop what was used longest ago, until a tenth of the bound is free."""
        page = database.execute("PRAGMA page_size").fetchone()[0]
        while _pages(database) * page > self.max_bytes:
            count = database.execute("SELECT COUNT(*) FROM embedding").fetchone()[0]
            surplus = 1.0 - 0.9 * self.max_bytes / (_pages(database) * page)
            oldest = "SELECT encoder, picture FROM embedding ORDER BY used LIMIT ?"
            database.execute(
                f"DELETE FROM embedding WHERE (encoder, picture) IN ({oldest})", (max(1, int(count * surplus)),)
            )
            database.commit()
            database.execute("PRAGMA incremental_vacuum").fetchall()
            if count == 0:
                return

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=_PATIENCE_S)
        except (OSError, sqlite3.Error) as error:
            raise CacheError(f"the cache {str(self.path)!r} cannot be opened: {error}.") from None
        try:
            # Not the write-ahead log, which needs shared memory and so does not work on network file systems.
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.executescript(_SCHEMA)
            yield database
        except sqlite3.Error as error:
            raise CacheError(
                f"the cache {str(self.path)!r} cannot be used: {error}. `vlm-rewards cache clear` starts it anew; "
                f"the environment variable {LOCATION} names another folder."
            ) from None
        finally:
            database.close()


def _encoder_id(database: sqlite3.Connection, key: str, name: str) -> int:
    database.execute("INSERT OR IGNORE INTO encoder (key, name) VALUES (?, ?)", (key, name))
    return int(database.execute("SELECT id FROM encoder WHERE key = ?", (key,)).fetchone()[0])


def _pages(database: sqlite3.Connection) -> int:
    pages, free = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int(pages - free)


def _shape(frame: np.ndarray) -> bytes:
    return np.array(frame.shape, dtype=np.int64).tobytes()
