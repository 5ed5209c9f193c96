"""Laws of the merge: the order of a replay is the file's, however it is fetched; nothing is lost, doubled or reordered."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.signals.runtime.merge import PartitionMerge
from tests.unit.test_runtime_merge import OWN_ORDER, Entry, T, entry, push, ticked

File = list[tuple[int, int]]  # (topic, offset) in the order of the file


@st.composite
def replays(draw: st.DrawFn) -> tuple[list[list[Entry]], File]:
    """Queues of a replay over two topics, ending with live ticks, and the order of the file."""
    queues: list[list[Entry]] = [[], []]
    order: File = []
    steps = draw(st.lists(st.sampled_from([0, 1, "tick"]), max_size=25))
    late = Random(draw(st.integers()))
    for sequence, step in enumerate(["tick", *steps]):
        if step == "tick":
            for topic in OWN_ORDER:
                order.append((topic, len(queues[topic])))
                queues[topic].append(
                    ticked(topic, len(queues[topic]), T + sequence, historical=True, sequence=sequence)
                )
        else:
            topic = int(step)
            order.append((topic, len(queues[topic])))
            queues[topic].append(entry(topic, len(queues[topic]), T + late.uniform(-1000, 1000), sequence))
    for topic in OWN_ORDER:
        order.append((topic, len(queues[topic])))
        queues[topic].append(ticked(topic, len(queues[topic]), T + 1e5, historical=False))
    return queues, order


def drive(chance: Random, queues: list[list[Entry]], applied: list[int], historical: list[bool]) -> File:
    """Fetch in chunks of any size, in any order of topics, and take with any limit, until all is taken."""
    merge = PartitionMerge(applied, historical, OWN_ORDER)
    fetched = [0, 0]
    out: File = []
    while len(out) < sum(map(len, queues)):
        topic = chance.randrange(2)
        upto = min(len(queues[topic]), fetched[topic] + chance.randrange(7))
        if chance.random() < 0.5:
            out += [(i[0], i[1]) for i in merge.take(chance.randint(1, 9), lambda t: fetched[t] < len(queues[t]))]
        push(merge, topic, queues[topic][fetched[topic] : upto])
        fetched[topic] = upto
    return out


@given(replays(), st.integers())
def test_a_replay_comes_out_in_the_order_of_the_file(replay: tuple[list[list[Entry]], File], seed: int) -> None:
    queues, order = replay
    assert drive(Random(seed), queues, [-1, -1], [False, False]) == order


@given(replays(), st.data(), st.integers())
def test_a_replay_goes_on_in_order_after_a_crash(
    replay: tuple[list[list[Entry]], File], data: st.DataObject, seed: int
) -> None:
    """The state stands at any point of the file; what was committed may be older."""
    queues, order = replay
    done = data.draw(st.integers(0, len(order) - 2))
    applied, historical = [-1, -1], [False, False]
    for topic, offset in order[:done]:
        applied[topic] = offset
        if queues[topic][offset][1][2] is None:
            historical[topic] = True
    committed = [data.draw(st.integers(0, position + 1)) for position in applied]
    left = [queue[start:] for queue, start in zip(queues, committed, strict=True)]
    out = drive(Random(seed), left, applied, historical)
    rereads = [place for place in out if place[1] <= applied[place[0]]]
    assert [place for place in out if place not in rereads] == order[done:]
    assert sorted(rereads) == sorted((t, o) for t in (0, 1) for o in range(committed[t], applied[t] + 1))


times = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 50)), max_size=40)


@given(times, st.integers())
def test_live_records_are_never_lost_doubled_or_reordered_within_a_topic(
    arrivals: list[tuple[int, int]], seed: int
) -> None:
    queues: list[list[Entry]] = [[], []]
    for topic, at in arrivals:
        queues[topic].append(entry(topic, len(queues[topic]), T + at))
    out = drive(Random(seed), queues, [-1, -1], [False, False])
    for topic in (0, 1):
        assert [offset for t, offset in out if t == topic] == list(range(len(queues[topic])))


@given(times)
def test_a_backlog_in_time_order_is_merged_by_time(arrivals: list[tuple[int, int]]) -> None:
    """Each topic in time order and all fetched: the result is sorted by time, then by the order of topics."""
    queues: list[list[Entry]] = [[], []]
    wanted = []
    for topic, at in sorted(arrivals, key=lambda arrival: arrival[1]):
        wanted.append((at, OWN_ORDER.index(topic), topic, len(queues[topic])))
        queues[topic].append(entry(topic, len(queues[topic]), T + at))
    merge = PartitionMerge([-1, -1], [False, False], OWN_ORDER)
    for topic in (0, 1):
        push(merge, topic, queues[topic])
    out = [(item[0], item[1]) for item in merge.take(1000, lambda topic: False)]
    assert out == [(topic, offset) for _, _, topic, offset in sorted(wanted)]
