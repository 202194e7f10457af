// An unmodified Node client against our server: append, conflict, read both ways, follow through a restart.
//
// Called with a connection string; says RESTART when the server is to be restarted, and waits to be told that it was; says DONE.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import {
  ANY,
  BACKWARDS,
  END,
  FORWARDS,
  KurrentDBClient,
  NO_STREAM,
  START,
  STREAM_EXISTS,
  StreamDeletedError,
  StreamNotFoundError,
  WrongExpectedVersionError,
  binaryEvent,
  eventTypeFilter,
  jsonEvent,
} from "@kurrent/kurrentdb-client";

const connect = () => KurrentDBClient.connectionString(process.argv[2]);
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const json = (type, n, metadata) => jsonEvent({ id: randomUUID(), type, data: { n }, metadata });

async function restart() {
  console.log("RESTART");
  assert.equal((await told.next()).value, "RESTARTED");
}

async function collect(events) {
  const all = [];
  for await (const { event } of events) all.push(event);
  return all;
}

async function appendsAndConflicts(client) {
  const first = await client.appendToStream("x-node", json("thing.happened", 0, { beside: 1 }), { streamState: NO_STREAM });
  assert.ok(first.success && first.nextExpectedRevision === 0n);
  const many = Array.from({ length: 50 }, (_, n) => json("thing.happened", n + 1));
  // So small a size that one batch comes in several messages.
  const options = { streamState: 0n, batchAppendSize: 500 };
  const second = await client.appendToStream("x-node", many, options);
  assert.equal(second.nextExpectedRevision, 50n);
  const again = await client.appendToStream("x-node", many, options);
  assert.equal(again.nextExpectedRevision, 50n);
  assert.deepEqual(again.position, second.position, "a repeat has its old position");
  for (const streamState of [NO_STREAM, 7n, 99n]) {
    await assert.rejects(client.appendToStream("x-node", json("t", 0), { streamState }), WrongExpectedVersionError);
  }
  await assert.rejects(client.appendToStream("x-none", json("t", 0), { streamState: STREAM_EXISTS }), WrongExpectedVersionError);
  await client.appendToStream("x-node", json("other", 51), { streamState: ANY });
  // With credentials it uses another call.
  const credentials = { username: "u", password: "p" };
  const last = await client.appendToStream("x-node", json("other", 52), { streamState: STREAM_EXISTS, credentials });
  assert.equal(last.nextExpectedRevision, 52n);
  await assert.rejects(
    client.appendToStream("x-node", json("t", 0), { streamState: 7n, credentials }),
    WrongExpectedVersionError,
  );
}

async function octetsComeBack(client) {
  const data = Uint8Array.from({ length: 256 }, (_, n) => n);
  const metadata = Uint8Array.from([255, 0, 254]);
  await client.appendToStream("x-octets", binaryEvent({ type: "octets", data, metadata }));
  const [event] = await collect(client.readStream("x-octets"));
  assert.deepEqual([...event.data], [...data]);
  assert.deepEqual([...event.metadata], [...metadata]);
  assert.equal(event.isJson, false);
}

async function readsBothWays(client) {
  const forward = await collect(client.readStream("x-node"));
  assert.deepEqual(forward.map((event) => event.data.n), Array.from({ length: 53 }, (_, n) => n));
  assert.deepEqual(forward[0].metadata, { beside: 1 });
  const backward = await collect(client.readStream("x-node", { direction: BACKWARDS, fromRevision: END }));
  assert.deepEqual(backward.map((event) => event.id), forward.map((event) => event.id).reverse());
  const middle = await collect(client.readStream("x-node", { direction: FORWARDS, fromRevision: 10n, maxCount: 3 }));
  assert.deepEqual(middle.map((event) => event.revision), [10n, 11n, 12n]);
  const down = await collect(client.readStream("x-node", { direction: BACKWARDS, fromRevision: 10n, maxCount: 3 }));
  assert.deepEqual(down.map((event) => event.revision), [10n, 9n, 8n]);
  await assert.rejects(collect(client.readStream("x-none")), StreamNotFoundError);
  const all = await collect(client.readAll({ fromPosition: START }));
  const back = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END }));
  assert.deepEqual(back.map((event) => event.id), all.map((event) => event.id).reverse());
}

async function deletes(client) {
  await client.appendToStream("x-gone", [json("t", 0), json("t", 1)]);
  await client.deleteStream("x-gone");
  await assert.rejects(collect(client.readStream("x-gone")), StreamNotFoundError);
  await client.appendToStream("x-gone", json("t", 2), { streamState: NO_STREAM });
  assert.deepEqual((await collect(client.readStream("x-gone"))).map((event) => event.revision), [2n]);
  await client.tombstoneStream("x-gone");
  await assert.rejects(collect(client.readStream("x-gone")), StreamDeletedError);
  await assert.rejects(client.appendToStream("x-gone", json("t", 3)), StreamDeletedError);
}

// Every `followed` event once and in order, though most of the log is filtered out and the server goes away.
async function followsThroughARestart(client) {
  const write = async (from, to) => {
    for (let n = from; n < to; n += 1) {
      const events = ["noise", "followed", "noise"].map((type) => json(type, n));
      await client.appendToStream(`x-follow-${n % 3}`, events);
    }
  };
  await write(0, 20);
  const seen = [];
  let place = START;
  let restarted = false;
  let reader = client;
  while (seen.length < 60) {
    const filter = eventTypeFilter({ regex: "^(?!(\\$|noise|thing|other|octets|t$))", checkpointInterval: 1, maxSearchWindow: 5 });
    const subscription = reader.subscribeToAll({ fromPosition: place, filter });
    let wrote = false;
    subscription.on("caughtUp", () => {
      if (wrote) return;
      wrote = true;
      write(restarted ? 40 : 20, restarted ? 60 : 40).catch((error) => subscription.destroy(error));
    });
    try {
      for await (const { event } of subscription) {
        assert.equal(event.type, "followed");
        seen.push(event.data.n);
        place = event.position;
        if (seen.length === 40 || seen.length === 60) break;
      }
    } catch (error) {
      assert.ok(restarted, `nothing fails before the restart: ${error}`);
    }
    if (seen.length >= 40 && !restarted) {
      restarted = true;
      await restart();
      reader = client = connect();
    }
  }
  assert.deepEqual(seen, Array.from({ length: 60 }, (_, n) => n));
  await client.dispose();
}

const client = connect();
await appendsAndConflicts(client);
await octetsComeBack(client);
await readsBothWays(client);
await deletes(client);
await followsThroughARestart(client);
await client.dispose();
console.log("DONE");
process.exit(0);
