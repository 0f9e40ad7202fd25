"""Embeddings on disk, so that no frame is embedded twice by one encoder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm_rewards import __version__
from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import CacheError, InvalidInputError, check_count

DEFAULT_BYTES = 2 * 2**30
"""Greatest size of the file, unless said otherwise."""
LOCATION = "VLM_REWARDS_CACHE"
"""Environment variable that names another folder for the cache."""

_FILE = "embeddings-2.sqlite"  # the number is that of the layout: files of another are left alone
_CHUNK = 512  # frames that are embedded, and then stored, at a time
_PATIENCE_S = 60.0  # for other writers
_NO_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""What keeps SQLite from working with a file that is as it should be."""
_LOOKUP = 500  # rows asked for in one statement
_PRESENTATION = ("name", "source", "in_domain", "batch_size", "device")
"""Facts of `describe` that change no embedding."""
_SETTINGS = """
PRAGMA page_size = 16384;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA foreign_keys = ON;
"""
"""The first two hold for new files. On small pages a long vector would waste half of the space. No write-ahead log: it
needs shared memory, and so does not work on network file systems."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS encoder (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS frame (
    id INTEGER PRIMARY KEY,
    encoder INTEGER NOT NULL REFERENCES encoder ON DELETE CASCADE,
    digest BLOB NOT NULL,
    used REAL NOT NULL,
    UNIQUE (encoder, digest)
);
CREATE INDEX IF NOT EXISTS by_use ON frame (used);
CREATE TABLE IF NOT EXISTS vector (
    frame INTEGER PRIMARY KEY REFERENCES frame ON DELETE CASCADE,
    value BLOB NOT NULL
);
"""
"""Vectors lie apart, so that noting when they were used does not write them again."""


@dataclass(frozen=True)
class CachedEncoder:
    """What the cache holds of one encoder."""

    name: str
    """What it was called when it was first used."""
    key: str
    """Digest of its weights, configuration and dtype."""
    embeddings: int
    """Frames."""
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
    # Another kind of device rounds otherwise; another release may prepare frames otherwise.
    decisive |= {"device_kind": str(facts.get("device", "")).partition(":")[0], "version": __version__}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()


class EmbeddingCache:
    """Embeddings by frame and encoder, in one SQLite file.

    Any number of processes may read and write it at the same time. When it grows
    beyond its bound, which it does for a moment, the embeddings that were used
    longest ago are dropped. An encoder whose weights have no digest (a model in
    memory) is not cached.

    A frame embedded alone and in a batch differ in the last bits; the cache
    keeps those that came first.

    Args:
        folder: Where the file lies; made if it does not exist. Default: `default_folder`.
        max_bytes: Greatest size of the file, at least 1 MiB.

    Attributes:
        embedded: Frames that encoders had to embed, since this object was made.
        found: Frames that were there already, or came twice.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self.path = (default_folder() if folder is None else Path(folder)) / _FILE
        self.max_bytes = check_count("max_bytes", max_bytes, least=2**20)
        self.embedded = 0
        self.found = 0

    def embed(
        self, encoder: ImageTextEncoder, frames: Frames, advance: Callable[[int], object] = lambda count: None
    ) -> Embeddings:
        """Embed frames, those alone that are not there yet.

        Args:
            encoder: Embeds them.
            frames: uint8 ``[n h w 3]``, n at least 1.
            advance: Called with a number of frames when they are done, for a progress bar.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: There is no frame.
            CacheError: The file is damaged or cannot be written; nothing has been embedded.
        """
        if len(frames) == 0:
            raise InvalidInputError("frames must hold at least one frame, got none.")
        digests = [
            hashlib.blake2b(frame.tobytes(), digest_size=16, key=np.array(frame.shape, np.int64).tobytes()).digest()
            for frame in frames
        ]
        places = {digest: row for row, digest in reversed(list(enumerate(digests)))}  # the first of equal ones
        copies = Counter(digests)
        key = encoder_key(encoder)
        known = {} if key is None else self._read(key, encoder, list(places))
        advance(sum(copies[digest] for digest in known))
        missing = [digest for digest in places if digest not in known]
        self.embedded += len(missing)
        self.found += len(digests) - len(missing)
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            vectors = encoder.embed_images(frames[[places[digest] for digest in chunk]])
            fresh = dict(zip(chunk, vectors, strict=True))
            known |= fresh
            if key is not None:
                self._write(key, encoder.name, fresh)
            advance(sum(copies[digest] for digest in chunk))
        return np.stack([known[digest] for digest in digests])

    def entries(self) -> list[CachedEncoder]:
        """What is there, by name.

        Raises:
            CacheError: The file is damaged.
        """
        if not self.path.is_file():
            return []
        with self._connection() as database:
            rows = database.execute(
                "SELECT name, key, COUNT(*), SUM(LENGTH(value)) FROM encoder "
                "JOIN frame ON frame.encoder = encoder.id JOIN vector ON vector.frame = frame.id "
                "GROUP BY encoder.id ORDER BY name, key"
            ).fetchall()
        return [CachedEncoder(*row) for row in rows]

    def size_bytes(self) -> int:
        """Of the file on disk."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def clear(self, name: str | None = None) -> int:
        """Forget embeddings.

        Args:
            name: Only those of encoders of this name; None is all, and removes a file that is damaged.

        Returns:
            How many there were; 0 if nobody could tell.

        Raises:
            CacheError: The file cannot be changed.
        """
        if not self.path.is_file():
            return 0
        try:
            return self._forget(name)
        except CacheError as error:
            # What is locked, or on a full disk, is not damaged: others may be at work with it.
            code = getattr(error.__cause__, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if name is not None or code in _NO_DAMAGE:
                raise
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"the cache {str(self.path)!r} cannot be removed: {error.strerror or error}.") from None
        return 0

    def _forget(self, name: str | None) -> int:
        # The file stays: other processes may be at work with it.
        within = "encoder IN (SELECT id FROM encoder WHERE :name IS NULL OR name = :name)"
        with self._connection() as database:
            count = database.execute(f"DELETE FROM frame WHERE {within}", {"name": name}).rowcount
            database.commit()
            database.execute("VACUUM")
        return count

    def _read(self, key: str, encoder: ImageTextEncoder, frames: list[bytes]) -> dict[bytes, np.ndarray]:
        known: dict[bytes, np.ndarray] = {}
        with self._connection() as database:  # before anything is embedded, though the file may be new
            number = _encoder_id(database, key, encoder.name)
            for start in range(0, len(frames), _LOOKUP):
                asked = frames[start : start + _LOOKUP]
                where = f"encoder = ? AND digest IN ({','.join('?' * len(asked))})"
                both = "frame JOIN vector ON vector.frame = frame.id"
                rows = database.execute(f"SELECT digest, value FROM {both} WHERE {where}", (number, *asked)).fetchall()
                if any(len(vector) != 4 * encoder.embedding_dim for _, vector in rows):
                    raise sqlite3.DatabaseError("an embedding has another length than the encoder's")
                known |= {frame: np.frombuffer(vector, np.float32) for frame, vector in rows}
                database.execute(f"UPDATE frame SET used = ? WHERE {where}", (time.time(), number, *asked))
            database.commit()
        return known

    def _write(self, key: str, name: str, fresh: Mapping[bytes, np.ndarray]) -> None:
        with self._connection() as database:
            number, now = _encoder_id(database, key, name), time.time()
            database.executemany(
                "INSERT OR IGNORE INTO frame (encoder, digest, used) VALUES (?, ?, ?)",
                [(number, frame, now) for frame in fresh],
            )
            database.executemany(
                "INSERT OR IGNORE INTO vector SELECT id, ? FROM frame WHERE encoder = ? AND digest = ?",
                [(vector.astype(np.float32).tobytes(), number, frame) for frame, vector in fresh.items()],
            )
            database.commit()
            self._shrink(database)

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Drop what was used longest ago, until a tenth of the bound is free."""
        page, pages, free = (
            _number(database, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count")
        )
        while (used := (pages - free) * page) > self.max_bytes:
            count = _number(database, "SELECT COUNT(*) FROM frame")
            if count == 0:  # what fills the file is not ours
                break
            surplus = max(1, int(count * (1.0 - 0.9 * self.max_bytes / used)))
            oldest = "SELECT id FROM frame ORDER BY used LIMIT ?"
            database.execute(f"DELETE FROM frame WHERE id IN ({oldest})", (surplus,))
            database.commit()
            pages, free = (_number(database, f"PRAGMA {name}") for name in ("page_count", "freelist_count"))
        if pages * page > self.max_bytes:  # also where a process was killed before it came to this
            database.executescript("PRAGMA incremental_vacuum")  # execute() would free a single page

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=_PATIENCE_S)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise CacheError(
                f"the cache {str(self.path)!r} cannot be opened: {reason}. The environment variable {LOCATION} names "
                "another folder."
            ) from None
        try:
            database.executescript(_SETTINGS + _SCHEMA)
            yield database
        except sqlite3.Error as error:
            raise CacheError(
                f"the cache {str(self.path)!r} cannot be used: {error}. `vlm-rewards list cached --clear-all` starts "
                f"it anew; the environment variable {LOCATION} names another folder."
            ) from error
        finally:
            database.close()


def _encoder_id(database: sqlite3.Connection, key: str, name: str) -> int:
    database.execute("INSERT OR IGNORE INTO encoder (key, name) VALUES (?, ?)", (key, name))
    return int(database.execute("SELECT id FROM encoder WHERE key = ?", (key,)).fetchone()[0])


def _number(database: sqlite3.Connection, question: str) -> int:
    return int(database.execute(question).fetchone()[0])
