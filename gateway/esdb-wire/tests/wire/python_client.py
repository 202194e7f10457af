"""An unmodified Python client against our server: append, conflict, read both ways, follow through a restart.

Called with a connection string; says RESTART when the server is to be restarted, and waits to be told that it was; says DONE.
"""

import sys
from uuid import UUID, uuid4

from kurrentdbclient import CaughtUp, Checkpoint, KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import (
    FailedPreconditionError,
    KurrentDBClientError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def restart():
    print("RESTART", flush=True)
    assert sys.stdin.readline().strip() == "RESTARTED"


def appends_and_conflicts(kdb):
    first = NewEvent(type="thing.happened", data=b'{"n": 1}', metadata=b'{"beside": 1}')
    kdb.append_to_stream("x-py", current_version=StreamState.NO_STREAM, events=first)
    batch = [NewEvent(type="thing.happened", data=b'{"n": %d}' % n) for n in range(2, 52)]
    batch_end = kdb.append_to_stream("x-py", current_version=0, events=batch)
    assert kdb.get_current_version("x-py") == 50

    # The same events at the same place: the old position, nothing written.
    assert kdb.append_to_stream("x-py", current_version=0, events=batch) == batch_end
    assert kdb.get_current_version("x-py") == 50

    for wrong in (StreamState.NO_STREAM, 7, 99):
        for events in (NewEvent(type="t", data=b"{}"), [NewEvent(type="t", data=b"{}") for _ in range(2)]):
            raises(WrongCurrentVersionError, lambda: kdb.append_to_stream("x-py", current_version=wrong, events=events))
    raises(
        KurrentDBClientError,
        lambda: kdb.append_to_stream("x-none", current_version=StreamState.EXISTS, events=NewEvent(type="t", data=b"{}")),
    )
    kdb.append_to_stream("x-py", current_version=StreamState.EXISTS, events=NewEvent(type="other", data=b"{}"))
    kdb.append_to_stream("x-py", current_version=StreamState.ANY, events=NewEvent(type="other", data=b"{}"))
    assert kdb.get_current_version("x-py") == 52


def octets_come_back(kdb):
    octets = NewEvent(
        type="octets", data=bytes(range(256)), metadata=b"\xff\x00\xfe", content_type="application/octet-stream", id=uuid4()
    )
    broken = NewEvent(type="broken", data=b'{"no": ', metadata=b"")
    kdb.append_to_stream("x-octets", current_version=StreamState.NO_STREAM, events=[octets, broken])
    for sent, read in zip((octets, broken), kdb.get_stream("x-octets")):
        assert (read.type, read.data, read.metadata) == (sent.type, sent.data, sent.metadata)
        assert (read.content_type, read.id) == (sent.content_type, sent.id)


def reads_both_ways(kdb):
    forward = kdb.get_stream("x-py")
    assert [event.stream_position for event in forward] == list(range(53))
    assert forward[0].data == b'{"n": 1}' and forward[0].metadata == b'{"beside": 1}'
    assert isinstance(forward[0].id, UUID) and forward[0].recorded_at is not None
    backward = kdb.get_stream("x-py", backwards=True)
    assert [event.id for event in backward] == [event.id for event in reversed(forward)]
    middle = kdb.get_stream("x-py", stream_position=10, limit=3)
    assert [event.stream_position for event in middle] == [10, 11, 12]
    middle = kdb.get_stream("x-py", stream_position=10, backwards=True, limit=3)
    assert [event.stream_position for event in middle] == [10, 9, 8]
    raises(NotFoundError, lambda: kdb.get_stream("x-none"))

    everything = list(kdb.read_all())
    positions = [event.commit_position for event in everything]
    assert positions == sorted(positions) and len(set(positions)) == len(positions)
    assert [event.id for event in kdb.read_all(backwards=True)] == [event.id for event in reversed(everything)]
    some = everything[20]
    inclusive = next(iter(kdb.read_all(commit_position=some.commit_position, limit=1)))
    assert inclusive.id == some.id, "forward a position is itself read"
    exclusive = next(iter(kdb.read_all(commit_position=some.commit_position, backwards=True, limit=1)))
    assert exclusive.id == everything[19].id, "backward it is not"
    assert kdb.get_commit_position() == positions[-1]
    only = list(kdb.read_all(filter_include=[r"oth.*"]))
    assert {event.type for event in only} == {"other"} and len(only) == 2
    only = list(kdb.read_all(filter_include=["x-oct"], filter_by_stream_name=True, filter_by_prefix=True))
    assert {event.stream_name for event in only} == {"x-octets"}


def deletes(kdb):
    event = lambda: NewEvent(type="t", data=b"{}")
    raises(KurrentDBClientError, lambda: kdb.delete_stream("x-none", current_version=StreamState.ANY))
    kdb.append_to_stream("x-gone", current_version=StreamState.NO_STREAM, events=[event(), event()])
    raises(WrongCurrentVersionError, lambda: kdb.delete_stream("x-gone", current_version=9))
    kdb.delete_stream("x-gone", current_version=1)
    raises(NotFoundError, lambda: kdb.get_stream("x-gone"))
    kdb.append_to_stream("x-gone", current_version=StreamState.NO_STREAM, events=event())
    assert [event.stream_position for event in kdb.get_stream("x-gone")] == [2]
    kdb.tombstone_stream("x-gone", current_version=2)
    raises(StreamIsDeletedError, lambda: kdb.get_stream("x-gone"))
    # For a single event this client has no word of its own.
    refused = raises(
        FailedPreconditionError, lambda: kdb.append_to_stream("x-gone", current_version=StreamState.ANY, events=event())
    )
    assert "is deleted" in str(refused)
    raises(
        StreamIsDeletedError,
        lambda: kdb.append_to_stream("x-gone", current_version=StreamState.ANY, events=[event(), event()]),
    )
    raises(StreamIsDeletedError, lambda: kdb.delete_stream("x-gone", current_version=StreamState.ANY))
    kdb.tombstone_stream("x-never", current_version=StreamState.ANY)
    kdb.set_stream_metadata("x-meta", metadata={"owner": "me"}, current_version=StreamState.NO_STREAM)
    assert kdb.get_stream_metadata("x-meta") == ({"owner": "me"}, 0)


def follows_through_a_restart(kdb):
    """Every `followed` event once and in order, though most of the log is filtered out and the server goes away."""

    def write(numbers):
        for n in numbers:
            events = [NewEvent(type=kind, data=b"%d" % n) for kind in ("noise", "followed", "noise")]
            kdb.append_to_stream(f"x-follow-{n % 3}", current_version=StreamState.ANY, events=events)

    write(range(20))
    seen, place, restarted = [], None, False
    caught_up = checkpoints = 0
    while len(seen) < 60:
        subscription = kdb.subscribe_to_all(
            commit_position=place,
            filter_exclude=[r"\$.+", "noise", "thing.*", "other", "octets", "broken", "t"],
            include_checkpoints=True,
            include_caught_up=True,
            window_size=5,
            checkpoint_interval_multiplier=1,
        )
        try:
            for event in subscription:
                if isinstance(event, CaughtUp):
                    caught_up += 1
                    if not restarted:
                        assert seen == list(range(20)), seen
                        write(range(20, 40))
                    elif len(seen) < 60:
                        write(range(40, 60))
                    continue
                if isinstance(event, Checkpoint):
                    checkpoints += 1
                    assert place is None or event.commit_position >= place
                    place = event.commit_position
                    continue
                assert event.type == "followed", event
                seen.append(int(event.data))
                place = event.commit_position
                if len(seen) == 40 and not restarted:
                    restarted = True
                    restart()
                if len(seen) == 60:
                    break
        except KurrentDBClientError:
            assert restarted, "nothing fails before the restart"
        finally:
            subscription.stop()
    assert seen == list(range(60)), seen
    assert caught_up >= 2 and checkpoints > 10, (caught_up, checkpoints)


def main():
    kdb = KurrentDBClient(uri=sys.argv[1])
    appends_and_conflicts(kdb)
    octets_come_back(kdb)
    reads_both_ways(kdb)
    deletes(kdb)
    follows_through_a_restart(kdb)
    kdb.close()
    print("DONE", flush=True)


main()
