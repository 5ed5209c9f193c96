"""Dead letters to the records that are sent for them, for who runs without ingest: the commands, and the api."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from services.cli import links_reader
from services.common.dead_letter_replay import Prepared, SendArguments, as_it_was
from services.common.dead_letters import Letter
from services.common.settings import Settings
from services.ingest import attribution, letters
from services.ingest.mapping import MappingError, load

__all__ = ["MappingError", "prepared"]


async def prepared(config: Settings, chosen: Sequence[Letter]) -> Prepared:
    """The records for each letter. Calls to ingest are translated with the links that are there now.

    Raises BrokerUnreachable, and MappingError for the configured mapping file.
    """
    ready: list[tuple[Letter, list[SendArguments]]] = []
    why: Counter[str] = Counter()
    foreign = any(letters.is_foreign(letter) for letter in chosen)
    links = await links_reader.links(config.bootstrap) if foreign else None
    mapping = load(config.ingest_mapping_file) if foreign else None
    for letter in chosen:
        if links is None or mapping is None or not letters.is_foreign(letter):
            ready.append((letter, [as_it_was(letter)]))
            continue
        made = letters.outcome(letter, mapping, links)
        if isinstance(made, str):
            why[made] += 1
        else:
            links.learn(made.links)
            records: list[dict[str, Any]] = [
                {"topic": each.topic, "key": str(each.event.subject).encode(), "value": each.value}
                for each in made.ready
            ]
            for name, link in made.links.items():
                record = attribution.record(name, link)
                records.append({"topic": record.topic, "key": record.key, "value": record.value})
            ready.append((letter, records))
    return Prepared(ready, why)
