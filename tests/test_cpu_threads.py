"""The CPU port's pool of threads: forks, and how many there are."""

from __future__ import annotations

import os
import textwrap

import pytest
from processes import in_process

from portwright.core.errors import DeviceError
from portwright.devices.cpu import CPU

FORK = """
import os, sys
import numpy as np
from portwright.core.device import Buffer, Launch
from portwright.devices.cpu import CPU
cpu = CPU()
text = "void count(void *const *a, long g0, long g1) { for (long i = g0; i < g1; i++) ((int *)a[0])[i]++; }"
(kernel,) = cpu.load(cpu.compile(text), ["count"])
def check():
    buffer = Buffer(cpu, 40000)
    buffer.write(memoryview(np.zeros(40000, np.uint8)))
    for _ in range(50):
        cpu.launch(Launch(kernel, (10000, 1, 1), (1, 1, 1), (buffer,)))
    assert (np.frombuffer(cpu.host_view(buffer.handle, 40000), np.int32) == 50).all()
"""


@pytest.mark.skipif(os.name != "posix", reason="this system does not fork")
def test_forked_children_have_threads_of_their_own() -> None:
    said = in_process(
        FORK
        + textwrap.dedent("""
        check()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                check()
                grandchild = os.fork()
                if grandchild == 0:
                    check()
                    os._exit(7)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            check()
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(len(os.listdir("/proc/self/task")) if sys.platform == "linux" else "forked")
        """),
        PORTWRIGHT_THREADS="3",
    )
    assert said in ("3", "forked")


@pytest.mark.skipif(os.name != "posix", reason="this system does not fork")
def test_a_fork_while_another_thread_launches() -> None:
    said = in_process(
        FORK
        + textwrap.dedent("""
        import threading
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                check()
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for t in threads: t.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                check()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for t in threads: t.join()
        print("done")
        """),
        PORTWRIGHT_THREADS="4",
    )
    assert said == "done"


def test_one_thread_starts_none() -> None:
    assert (
        in_process(FORK + "check(); import threading; print(cpu.spec.threads)", PORTWRIGHT_THREADS="1") == "1"
    )


@pytest.mark.parametrize("stated", ["0", "-1", "many", "1.5"])
def test_a_thread_count_that_is_none(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("PORTWRIGHT_THREADS", stated)
    with pytest.raises(DeviceError, match="PORTWRIGHT_THREADS"):
        CPU()


def test_more_threads_than_there_can_be() -> None:
    threads = int(in_process(FORK + "check(); print(cpu.spec.threads)", PORTWRIGHT_THREADS="1000"))
    assert 1 <= threads <= 256


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no thread to some cores")
def test_workers_that_do_not_come_keep_the_cores_that_they_may_use() -> None:
    said = in_process(
        FORK
        + textwrap.dedent("""
        check()
        mine, every = os.getpid(), os.sched_getaffinity(0)
        one = {min(every)}
        workers = [int(t) for t in os.listdir("/proc/self/task") if int(t) != mine]
        assert workers
        def cores(which):
            for t in workers:
                os.sched_setaffinity(t, which)
            for _ in range(40):
                check()
            return {frozenset(os.sched_getaffinity(t)) for t in workers}
        os.sched_setaffinity(mine, one)
        print(cores(one) == {frozenset(one)}, cores(every) == {frozenset(every)})
        """),
        PORTWRIGHT_THREADS="3",
    )
    assert said == "True True"
