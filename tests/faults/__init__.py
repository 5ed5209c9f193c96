"""Fault tests: real workers on a real broker, a seeded load, faults, and an independent verdict.

`make test` runs the short form, `make faults` the long one (marker `long`); README.md in this folder is the guide.

A fault run
-----------
    def test_something(fault_run: Callable[..., FaultRun]) -> None:     # fixture of conftest.py: the session's broker
        with fault_run(store="rocksdb", runtime="chunked") as run:      # topics of its own, made here
            run.start_worker("a")                                       # a real process; returns when it is ready
            run.start_worker("b", ready=False)
            run.load(Historical(3000, seed=7), rate=300)                # or Live(200, seconds=30); sends in a thread
            run.progress()                                              # every partition's state grew
            run.kill("a")                                               # counted; comes back as a supervisor would do it
            run.progress()                                              # required after every fault; gives the seconds
            run.fault("broker killed"); broker.kill(); …                # count what you do outside
            run.progress(within=120)
            run.settle()                                                # all concluded; then a worker with empty disks
            run.check()                                                 # AssertionError with everything that is wrong

Without the fixture, for brokers of your own: `FaultRun(bootstrap, folder, name="…", engine_bootstrap=proxy_address,
settings={"EBBTIDE_TOPIC_REPLICATION": "3"}, partitions=4)`. The brokers must hold no input topics yet
(`LocalKafka.delete_all_topics`). `bootstrap` serves load, reader and checker, `engine_bootstrap` the workers. Load and
reader outlive a broker that is away for up to four minutes; `settle` and `check` need it back.

`run.settings` of workers: EBBTIDE_ENGINE_BATCH 200, EBBTIDE_ENGINE_SESSION_TIMEOUT_S 6, EBBTIDE_TICKS off; `Live` loads
want `settings={"EBBTIDE_TICKS": "on", "EBBTIDE_TICK_INTERVAL_S": "1"}`. Workers take variables of their own:
`start_worker("a", EBBTIDE_DATA_DIR=…)`, and for this start alone `once={"FAILPOINT_OF_TEST": "state-sent:5:kill"}`
(places: `services.signals.runtime.failpoints.PLACES` and `tests.faults.engine.EXTRA_PLACES`).

What is where
-------------
`checker` counts everything again from the input log, by brute force and with `tests/oracle`; `log` reads topics, `load`
writes them, `run` holds it together, `engine` is the worker process, `guards` takes guards out of it.
"""
