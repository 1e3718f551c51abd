import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '@mimic/base';
import { ArrayMemory } from '@mimic/testing';
import {
  BLOCK_PIECE_BYTES,
  BLOCK_REQUESTS_MAX,
  type BlockDone,
  type BlockStore,
  VirtioBlock,
} from './block.ts';
import { type Buffer, EVENT_IDX, encode, INDIRECT_DESC, Rig, TestDriver } from './test-driver.ts';

const IN = 0;
const OUT = 1;
const FLUSH = 4;
const GET_ID = 8;
const DISCARD = 11;
const WRITE_ZEROES = 13;
const [OK, IOERR, UNSUPP] = [0, 1, 2];
const BLK_FLUSH = 9;
const BLK_CONFIG_WCE = 11;
const FEATURES = [2, 5, 6, BLK_FLUSH, BLK_CONFIG_WCE, 13, 14, INDIRECT_DESC, EVENT_IDX];

/** A disk in an array. With `held`, completions wait there until the test calls them. */
class ArrayStore implements BlockStore {
  readonly bytes: Uint8Array;
  readonly serial = 'MIMIC-0001';
  readonly log: string[] = [];
  readOnly = false;
  failing = false;
  held: (() => void)[] | undefined;

  constructor(sizeBytes = 64 * 512) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array[], done: BlockDone): void {
    this.#act(`read ${offset}`, done, () => {
      for (const bytes of into) {
        bytes.set(this.bytes.subarray(offset, offset + bytes.length));
        offset += bytes.length;
      }
    });
  }

  write(offset: number, from: Uint8Array[], done: BlockDone): void {
    this.#act(`write ${offset}`, done, () => {
      for (const bytes of from) {
        this.bytes.set(bytes, offset);
        offset += bytes.length;
      }
    });
  }

  flush(done: BlockDone): void {
    this.#act('flush', done, () => {});
  }

  discard(offset: number, length: number, done: BlockDone): void {
    this.#act(`discard ${offset}+${length}`, done, () => {});
  }

  writeZeroes(offset: number, length: number, done: BlockDone): void {
    this.#act(`zero ${offset}+${length}`, done, () => this.bytes.fill(0, offset, offset + length));
  }

  #act(what: string, done: BlockDone, act: () => void): void {
    this.log.push(what);
    const complete = () => {
      if (!this.failing) act();
      done(this.failing ? { message: 'broken disk' } : undefined);
    };
    if (this.held) this.held.push(complete);
    else complete();
  }
}

function start(store = new ArrayStore(), features: readonly number[] = FEATURES) {
  const memory = new ArrayMemory(0x40_0000);
  const device = new VirtioBlock(store);
  const rig = new Rig(memory, device);
  const driver = new TestDriver(rig).start({ features });
  return { memory, device, rig, driver, queue: driver.queues[0]!, store };
}

const header = (type: number, sector = 0) => ({ out: encode([4, type], [4, 0], [8, sector]) });
const read = (sector: number, lengthBytes: number): Buffer[] => [
  header(IN, sector),
  { in: lengthBytes },
  { in: 1 },
];
const write = (sector: number, data: Uint8Array): Buffer[] => [
  header(OUT, sector),
  { out: data },
  { in: 1 },
];
const pattern = (lengthBytes: number) =>
  Uint8Array.from({ length: lengthBytes }, (_, index) => (index * 7 + (index >>> 8)) & 0xff);

test('configuration tells capacity, segments, block size and limits', () => {
  const { driver } = start();
  assert.equal(driver.config(0, 4), 64);
  assert.equal(driver.config(4, 4), 0);
  assert.equal(driver.config(12, 4), 254);
  assert.equal(driver.config(20, 4), 512);
  assert.equal(driver.config(32, 1), 1);
  assert.equal(driver.config(40, 4), 16);
  assert.equal(driver.config(0x40, 4), 0, 'beyond the layout');
});

test('what is written is read back, however the buffers are cut', () => {
  const { queue, store, rig } = start();
  const data = pattern(1024);
  assert.deepEqual([...queue.request(write(2, data))], [OK]);
  assert.deepEqual(store.bytes.subarray(1024, 2048), data);
  const answer = queue.request(read(2, 1024));
  assert.deepEqual(answer, Uint8Array.of(...data, OK));
  const request = encode([4, IN], [4, 0], [8, 2]);
  const odd: Buffer[] = [
    { out: request.slice(0, 5) },
    { out: request.slice(5) },
    { in: 1 },
    { in: 700 },
    { in: 324 },
  ];
  assert.deepEqual(queue.request(odd, { indirect: true }), Uint8Array.of(...data, OK));
  assert.deepEqual(rig.messages, [1, 1, 1]);
});

test('a large request moves in pieces', () => {
  const store = new ArrayStore(BLOCK_PIECE_BYTES * 3);
  const { queue } = start(store);
  const data = pattern(BLOCK_PIECE_BYTES + 512);
  assert.deepEqual([...queue.request(write(1, data))], [OK]);
  assert.deepEqual(store.log, ['write 512', `write ${512 + BLOCK_PIECE_BYTES}`]);
  assert.deepEqual(queue.request(read(1, data.length)), Uint8Array.from([...data, OK]));
});

test('requests outside the disk, of odd size or on a failing store end in IOERR', () => {
  const { queue, store } = start();
  assert.equal(queue.request(read(63, 1024)).at(-1), IOERR);
  assert.equal(queue.request(read(2 ** 55, 512)).at(-1), IOERR);
  assert.equal(queue.request(read(0, 100)).at(-1), IOERR);
  assert.deepEqual([...queue.request([{ out: Uint8Array.of(0) }, { in: 1 }])], [IOERR]);
  assert.deepEqual(store.log, []);
  store.failing = true;
  assert.equal(queue.request(read(0, 512)).at(-1), IOERR);
  assert.deepEqual([...queue.request(write(0, pattern(512)))], [IOERR]);
  assert.deepEqual([...queue.request([header(FLUSH), { in: 1 }])], [IOERR]);
});

test('a read-only disk says so and refuses writes', () => {
  const store = new ArrayStore();
  store.readOnly = true;
  const { driver, queue } = start(store);
  driver.setCommon(0, 4, 0);
  assert.equal((driver.common(4, 4) >>> 5) & 1, 1);
  assert.equal((driver.common(4, 4) >>> 13) & 3, 0, 'no discard, no write zeroes');
  assert.deepEqual([...queue.request(write(0, pattern(512)))], [IOERR]);
  assert.deepEqual(
    [...queue.request([header(DISCARD), { out: new Uint8Array(16) }, { in: 1 }])],
    [UNSUPP],
  );
  assert.deepEqual(store.log, []);
});

test('GET_ID gives the serial, padded with zeroes', () => {
  const { queue } = start();
  const answer = queue.request([header(GET_ID), { in: 20 }, { in: 1 }]);
  assert.equal(new TextDecoder().decode(answer.subarray(0, 20)), 'MIMIC-0001'.padEnd(20, '\0'));
  assert.equal(answer[20], OK);
});

test('unknown request types are unsupported', () => {
  const { queue } = start();
  assert.deepEqual([...queue.request([header(99), { in: 1 }])], [UNSUPP]);
});

test('discard and write zeroes reach the store range by range', () => {
  const { queue, store } = start();
  store.bytes.fill(0xaa);
  const ranges = encode([8, 1], [4, 2], [4, 0], [8, 8], [4, 1], [4, 1]);
  assert.deepEqual([...queue.request([header(WRITE_ZEROES), { out: ranges }, { in: 1 }])], [OK]);
  assert.deepEqual(store.log, ['zero 512+1024', 'zero 4096+512']);
  assert.equal(store.bytes[512], 0);
  const discard = encode([8, 4], [4, 4], [4, 0]);
  assert.deepEqual([...queue.request([header(DISCARD), { out: discard }, { in: 1 }])], [OK]);
  assert.equal(store.log.at(-1), 'discard 2048+2048');
  const check = (fields: Uint8Array, status: number) =>
    assert.deepEqual([...queue.request([header(DISCARD), { out: fields }, { in: 1 }])], [status]);
  check(encode([8, 4], [4, 4], [4, 1]), UNSUPP);
  check(encode([8, 63], [4, 2], [4, 0]), IOERR);
  check(encode([8, 0], [4, 2]), IOERR);
  check(new Uint8Array(16 * 17), IOERR);
  assert.equal(store.log.length, 3);
});

test('writes are flushed at once when the driver turned the cache off or cannot flush', () => {
  const { driver, queue, store } = start();
  queue.request(write(0, pattern(512)));
  driver.setConfig(32, 1, 0);
  queue.request(write(0, pattern(512)));
  assert.deepEqual(store.log, ['write 0', 'write 0', 'flush']);
  const other = start(new ArrayStore(), []);
  other.queue.request(write(0, pattern(512)));
  assert.deepEqual(other.store.log, ['write 0', 'flush']);
});

test('requests complete in the order of the store, a bounded number in flight', () => {
  const { driver, queue, store, device } = start();
  store.held = [];
  const heads: number[] = [];
  for (let index = 0; index < BLOCK_REQUESTS_MAX + 4; index++)
    heads.push(queue.add(read(index, 512)));
  queue.notify();
  assert.equal(store.held.length, BLOCK_REQUESTS_MAX);
  assert.equal(device.idle, false);
  assert.deepEqual(queue.used(), []);
  store.held.splice(3, 1)[0]!();
  assert.deepEqual(
    queue.used().map((entry) => entry.head),
    [heads[3]],
  );
  assert.equal(store.held.length, BLOCK_REQUESTS_MAX, 'the next one was taken');
  while (store.held.length > 0) store.held.pop()!();
  assert.equal(queue.used().length, heads.length - 1);
  assert.equal(device.idle, true);
  assert.equal(driver.needsReset, false);
});

test('drain waits for what is in flight, takes nothing new, and resume goes on', () => {
  const { rig, queue, store, device } = start();
  store.held = [];
  queue.add(read(0, 512));
  queue.notify();
  assert.throws(() => rig.part.save(), AssertionError, 'a request is in flight');
  let idle = 0;
  rig.part.drain(() => {
    idle += 1;
  });
  queue.add(read(1, 512));
  queue.notify();
  assert.equal(store.held.length, 1);
  store.held.pop()!();
  assert.equal(idle, 1);
  assert.equal(device.idle, true);
  assert.equal(queue.used().length, 1);
  const saved = rig.part.save();
  rig.part.resume();
  assert.equal(store.held.length, 1);
  store.held.pop()!();
  assert.equal(queue.used().length, 1);
  assert.equal(saved.queues[0]!.nextAvail, 1);
});

test('a restored device finds the requests that were still in the ring', () => {
  const { memory, rig, queue, store } = start();
  rig.part.drain(() => {});
  queue.add(write(5, pattern(512)));
  queue.notify();
  const copy = new Rig(memory, new VirtioBlock(store));
  copy.part.restore(rig.part.save());
  copy.part.resume();
  assert.deepEqual(store.log, ['write 2560']);
  assert.deepEqual([...queue.used()[0]!.written], [OK]);
  assert.deepEqual(copy.messages, [1]);
});

test('completions after a reset touch neither memory nor rings', () => {
  const { driver, queue, store, memory, device } = start();
  store.held = [];
  store.bytes.fill(0x55);
  queue.add(read(0, 512));
  queue.notify();
  driver.status = 0;
  assert.equal(driver.status, 0);
  const before = memory.bytes.slice();
  store.held.pop()!();
  assert.deepEqual(memory.bytes.slice(), before);
  assert.equal(device.idle, true);
});

test('a request without a status byte makes the device need a reset', () => {
  const { rig, driver, queue } = start();
  queue.add([header(FLUSH)]);
  queue.notify();
  assert.equal(driver.needsReset, true);
  assert.match(rig.part.fault, /status/);
  assert.deepEqual(rig.messages, [0], 'told by a configuration change');
});
