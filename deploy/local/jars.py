"""The Java archives of Apache Kafka: pinned with their checksums, fetched from Maven Central once per user.

`python -m deploy.local.jars` writes the pins anew: jgo, a development dependency, resolves what Maven would.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local.process import ServerError

KAFKA_VERSION = "4.3.0"
# Kafka logs through slf4j and its Maven artifact brings no binding: without one a broker that fails says nothing.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
PINS = Path(__file__).with_name("kafka-jars.txt")
MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
ATTEMPTS = 4


def cache_dir() -> Path:
    """Where archives are kept between runs and checkouts: the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebbtide" / "maven"


def classpath(say: Callable[[str], None], maven_url: str = MAVEN_CENTRAL) -> list[Path]:
    """Paths of every archive of the broker, fetched first where missing.

    Raises ServerError, with what to do, when an archive cannot be fetched or is not the pinned one.
    """
    pins = [tuple(line.split()) for line in PINS.read_text().splitlines()]
    cache = cache_dir()
    missing = [(name, digest) for name, digest in pins if not (cache / name).exists()]
    if missing:
        started = time.monotonic()
        say(f"fetching Apache Kafka {KAFKA_VERSION}: {len(missing)} archives (43 MB), once, into {cache}")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda pin: _fetch(f"{maven_url}/{pin[0]}", cache / pin[0], pin[1]), missing))
        say(f"fetched in {time.monotonic() - started:.0f} s")
    return [cache / name for name, _ in pins]


def _fetch(url: str, target: Path, digest: str) -> None:
    """One archive to `target`, whole and checked or not at all."""
    import requests  # slow to import, and needed once in the life of a machine

    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2**attempt)
        try:
            answer = requests.get(url, timeout=60)
            answer.raise_for_status()
        except requests.RequestException as error:
            problem = str(error)
            continue
        found = hashlib.sha256(answer.content).hexdigest()
        if found != digest:
            problem = f"its SHA-256 is {found}, pinned is {digest}"
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        part.write_bytes(answer.content)
        part.replace(target)
        return
    raise ServerError(
        f"cannot fetch {url}: {problem}. Check the network or proxy, name a mirror of Maven Central in "
        "EBBTIDE_MAVEN_URL, or use a broker that is already there: EBBTIDE_KAFKA_BOOTSTRAP_SERVERS=host:port."
    )


def write_pins() -> None:
    """Resolve the broker's dependencies as Maven would and write their paths and checksums to the pins file."""
    import jgo

    lines = []
    for artifact in jgo.resolve(ENDPOINT):
        path = artifact.resolve()
        name = f"{artifact.groupId.replace('.', '/')}/{artifact.artifactId}/{artifact.version}/{path.name}"
        lines.append(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    PINS.write_text("\n".join(lines) + "\n")
    sys.stdout.write(f"{len(lines)} archives pinned in {PINS}\n")


if __name__ == "__main__":
    write_pins()
