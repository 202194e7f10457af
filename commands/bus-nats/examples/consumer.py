"""A consumer of a shop's events, in Python: what a partner needs to follow the shop without missing or repeating anything.

    python3 -m pip install nats-py
    python3 consumer.py --server nats://127.0.0.1:4222 --journal events.txt

It writes one line per event into a journal and keeps its position in the same file, so the two can never disagree: a
line that is whole is done. NATS may hand an event out again (after a crash, a lost acknowledgement, a wipe of the server): what
lies at or before the position of the last line has been seen. That holds because events come in the order of the shop's
log: one at a time (max_ack_pending=1), acknowledged when the line is on the disk.

An event that fills a gap comes late and says so (ce-through): those are told apart by their id.
"""

import argparse
import asyncio
import os
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy


class Journal:
    """Lines of position, event id, type, subject and "late" or "-"; the newest position is where we are."""

    def __init__(self, path):
        self.position, self.late = 0, set()
        self.file = open(path, "a+b")
        self.file.seek(0)
        whole = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # A crash in the midst of a line: it was not done.
            whole += len(line)
            position, event, _kind, _subject, late = line.decode().split(" ")
            if late.strip() == "late":
                self.late.add(event)
            else:
                self.position = max(self.position, int(position))
        self.file.truncate(whole)

    def take(self, headers):
        """Has the event's effect, unless it had it already."""
        position, event = int(headers["ce-position"]), headers["ce-id"]
        late = "ce-through" in headers
        if event in self.late if late else position <= self.position:
            return
        fields = [str(position), event, headers["ce-type"], headers["ce-subject"], "late" if late else "-"]
        self.file.write((" ".join(fields) + "\n").encode())
        self.file.flush()
        os.fsync(self.file.fileno())
        if late:
            self.late.add(event)
        else:
            self.position = position


async def told(error):
    print(f"consumer: {error!r}", file=sys.stderr)


async def follow(options):
    journal = Journal(options.journal)
    client = await nats.connect(options.server, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=told)
    jetstream = client.jetstream(timeout=2)
    config = ConsumerConfig(
        durable_name=options.durable,
        filter_subject=options.subject,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=options.ack_wait,
        max_ack_pending=1,
    )
    subscription = None
    while True:
        try:
            if subscription is None:
                await jetstream.add_consumer(options.stream, config)
                subscription = await jetstream.pull_subscribe_bind(options.durable, options.stream)
            for message in await subscription.fetch(1, timeout=2):
                if "ce-position" in (message.headers or {}):
                    journal.take(message.headers)
                await message.ack_sync(timeout=2)
                await asyncio.sleep(options.pause)
        except (nats.errors.Error, TimeoutError):
            # Nothing new, or no server, or one that has forgotten us: look again, and make what is missing.
            subscription = None
            await asyncio.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description="Follows a shop's events.")
    parser.add_argument("--server", default="nats://127.0.0.1:4222")
    parser.add_argument("--stream", default="shop-events")
    parser.add_argument("--subject", default="shop.evt.>", help="e.g. shop.evt.order.>")
    parser.add_argument("--durable", default="example")
    parser.add_argument("--journal", required=True, help="the file to keep events and position in")
    parser.add_argument("--ack-wait", type=float, default=30, help="seconds until an event comes again")
    parser.add_argument("--pause", type=float, default=0, help="seconds to rest after each event")
    asyncio.run(follow(parser.parse_args()))


if __name__ == "__main__":
    main()
