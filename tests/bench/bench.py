#!/usr/bin/env python3
"""Times the same jobs on the bare directory, on tdfs and on other programs, side by side, and prints one table.

Rounds are interleaved: in each round each system does each job once, so that what else the machine does hits all alike.
Medians and ratios to the bare directory count; absolute figures are this machine's, now. See README.md.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import jobs
import peers
import report
import systems


NEVER = float("inf")


class TooLong(Exception):
    pass


def within(limit, work):
    """What work() returns. It runs in a process of its own, which is killed with all that it started when it takes longer."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run():
        os.setsid()
        try:
            sender.send((work(), None))
        except Exception as error:  # for the one who asked for it
            sender.send((None, f"{type(error).__name__}: {error}"))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            raise TooLong
        result, error = receiver.recv()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join(10)
    if error:
        raise RuntimeError(error)
    return result


def timed(job, directory):
    """When it began, and how many seconds it took: by the job's own account where it keeps one."""
    begin = time.monotonic()
    seconds = job.run(directory)
    return begin, seconds if isinstance(seconds, float) else time.monotonic() - begin


def measure(system, job, limit):
    """One row: seconds of the writer, seconds until the replicas are identical (inf: not within the limit), bytes on the wire, CPU,
    memory."""
    never = {"writer": NEVER} | ({"identical": NEVER} if job.changes and system.replicas else {})
    try:
        within(limit, lambda: job.prepare(system.path))
        if not system.wait_identical(limit):
            return never
        wire, cpu = system.wire_bytes(), {n: c for n, (c, _) in system.figures().items()}
        begin, seconds = within(limit, lambda: timed(job, system.path))
    except TooLong:
        return never
    row = {"writer": seconds}
    if job.changes and system.replicas:
        identical = system.wait_identical(limit)
        row["identical"] = time.monotonic() - begin if identical else NEVER
        if wire is not None:
            row["wire"] = system.wire_bytes() - wire
    for name, (used, peak) in system.figures().items():
        row["cpu " + name] = used - cpu.get(name, 0)
        row["peak " + name] = peak
    return row


def measure_delay(load, system, count):
    if not isinstance(system, systems.Tdfs) or len(system.replicas) != 1:
        return None
    got = subprocess.run([load, "delay", system.path, str(count), system.replicas[0]], check=True, capture_output=True, text=True)
    return [float(v) for v in got.stdout.split()]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(here, "../../build/release/bin"), help="where the programs are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for all sizes")
    parser.add_argument("--limit", type=float, default=300, help="seconds for a job's preparation, for its writer, and then for its replicas")
    parser.add_argument("--systems", help="names with ; between (see --list)")
    parser.add_argument("--jobs", help="beginnings of names with ; between (see --list)")
    parser.add_argument("--dir", default="/var/tmp", help="where the directories are made")
    parser.add_argument("--out", default="bench", help="bench.tsv and bench.svg, by this name")
    parser.add_argument("--list", action="store_true", help="what there is to measure")
    options = parser.parse_args()
    binaries = os.path.abspath(options.bin)
    load = os.path.join(binaries, "tests/load")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped then, too
    available = systems.available(binaries) | peers.available()
    work = tempfile.mkdtemp(prefix="tdfs-bench-", dir=options.dir)
    # ext4 looks through all inodes of a block group that were freed in the last minutes before it makes a file there, ten times as
    # long as making it takes: what one job has deleted would be in the figures of all that follow. So each gets a group of its own.
    subprocess.run(["chattr", "+T", work], check=False, stderr=subprocess.DEVNULL)
    try:
        tools = os.path.join(work, "tools")
        os.mkdir(tools)
        all_jobs = jobs.all_jobs(load, tools, options.scale)
        if options.list:
            print("systems:", *available, "jobs:", *(j.name for j in all_jobs), report.DELAY, sep="\n  ")
            return 0
        if os.geteuid() != 0 or not os.access(load, os.X_OK):
            parser.error("run as root, after a build with tests (cmake --preset release && cmake --build build/release)")
        wanted = options.systems.split(";") if options.systems else list(available)
        if unknown := [w for w in wanted if w not in available]:
            parser.error(f"no such system: {unknown[0]} (see --list)")
        starts = tuple(options.jobs.split(";")) if options.jobs else ("",)
        all_jobs = [j for j in all_jobs if j.name.startswith(starts)]
        with_delay = report.DELAY.startswith(starts)
        if not all_jobs and not with_delay:
            parser.error("no job begins like that (see --list)")
        jobs.prepare_tools(tools, options.scale)

        table = report.Table(options.limit)
        for number in range(options.rounds):
            for job in all_jobs:
                for name in wanted:
                    print(f"round {number + 1}/{options.rounds}: {job.name}: {name}".ljust(78), end="\r", file=sys.stderr, flush=True)
                    system = available[name](tempfile.mkdtemp(prefix="run-", dir=work))
                    try:
                        system.start()
                        table.add(job.name, name, measure(system, job, options.limit))
                    finally:
                        system.stop()
            for name in wanted if with_delay else []:
                system = available[name](tempfile.mkdtemp(prefix="run-", dir=work))
                try:
                    system.start()
                    if delay := measure_delay(load, system, max(100, int(2000 * options.scale))):
                        table.add(report.DELAY, name, {"median us": delay[0], "p99 us": delay[1]})
                finally:
                    system.stop()
        print(" " * 78, end="\r", file=sys.stderr)
        print(table.text())
        table.write_tsv(options.out + ".tsv")
        table.write_svg(options.out + ".svg")
        print(f"every figure is in {options.out}.tsv, the picture in {options.out}.svg")
        return 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
