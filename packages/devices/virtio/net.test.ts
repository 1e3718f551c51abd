import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrayMemory } from '@mimic/testing';
import { NET_WAITING_FRAMES_MAX, VirtioNet } from './net.ts';
import { decode, EVENT_IDX, encode, INDIRECT_DESC, Rig, TestDriver } from './test-driver.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const OTHER = Uint8Array.of(0x52, 0x54, 0, 9, 9, 9);
const BROADCAST = new Uint8Array(6).fill(0xff);
const MULTICAST = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const MRG_RXBUF = 15;
const FEATURES = [3, 5, MRG_RXBUF, 16, 17, 18, 23, INDIRECT_DESC, EVENT_IDX];

function start(features: readonly number[] = FEATURES) {
  const sent: Uint8Array[] = [];
  const device = new VirtioNet({ send: (frame) => sent.push(frame) }, { mac: MAC, mtu: 1400 });
  const rig = new Rig(new ArrayMemory(0x10_0000), device);
  const driver = new TestDriver(rig).start({ features });
  const [rx, tx, control] = driver.queues;
  return { device, rig, driver, rx: rx!, tx: tx!, control: control!, sent };
}

function frame(destination: Uint8Array, lengthBytes = 60, fill = 0x77): Uint8Array {
  const bytes = new Uint8Array(lengthBytes).fill(fill);
  bytes.set(destination);
  return bytes;
}

test('configuration tells address, link, queue pairs and MTU', () => {
  const { driver, device, rig } = start();
  assert.equal(driver.config(0, 4), decode(MAC, 0, 4));
  assert.equal(driver.config(4, 2), decode(MAC, 4, 2));
  assert.equal(driver.config(6, 2), 1);
  assert.equal(driver.config(8, 2), 1);
  assert.equal(driver.config(10, 2), 1400);
  const generation = driver.common(0x15, 1);
  device.setLinkUp(false);
  device.setLinkUp(false);
  assert.equal(driver.config(6, 2), 0);
  assert.equal(driver.common(0x15, 1), generation + 1);
  assert.deepEqual(rig.messages, [0]);
});

test('a frame is sent without its header, however it is cut', () => {
  const { tx, sent, rig, device } = start();
  const data = frame(OTHER);
  tx.request([{ out: new Uint8Array(12) }, { out: data }]);
  const whole = Uint8Array.of(...new Uint8Array(12), ...data);
  tx.request([{ out: whole.slice(0, 5) }, { out: whole.slice(5) }], { indirect: true });
  assert.deepEqual(sent, [data, data]);
  assert.equal(device.counters.sent, 2);
  assert.deepEqual(rig.messages, [2, 2]);
});

test('what is no frame is dropped, and the chain given back', () => {
  const { tx, sent, device } = start();
  tx.request([{ out: new Uint8Array(12) }]);
  tx.request([{ out: new Uint8Array(5) }]);
  tx.request([{ out: new Uint8Array(70_000) }]);
  assert.deepEqual(sent, []);
  assert.equal(device.counters.dropped, 3);
});

test('a received frame fills one buffer behind a header', () => {
  const { device, rx, rig } = start();
  rx.add([{ in: 2048 }]);
  assert.equal(device.receive(frame(MAC)), true);
  const { written } = rx.used()[0]!;
  assert.equal(written.length, 72);
  assert.deepEqual(written.slice(0, 12), encode([8, 0], [2, 0], [2, 1]));
  assert.deepEqual(written.slice(12), frame(MAC));
  assert.deepEqual(rig.messages, [1]);
});

test('with mergeable buffers a frame spreads over as many as it needs', () => {
  const { device, rx } = start();
  rx.add([{ in: 100 }]);
  rx.add([{ in: 100 }]);
  assert.equal(device.receive(frame(MAC, 250)), true);
  assert.deepEqual(rx.used(), [], 'not enough room: nothing is used up');
  rx.add([{ in: 100 }]);
  rx.notify();
  const used = rx.used();
  assert.deepEqual(
    used.map((entry) => entry.written.length),
    [100, 100, 62],
  );
  assert.equal(decode(used[0]!.written, 10, 2), 3);
  const all = used.flatMap((entry) => [...entry.written]);
  assert.deepEqual(Uint8Array.from(all.slice(12)), frame(MAC, 250));
});

test('a frame that a whole ring of buffers cannot hold is dropped, not waited for', () => {
  const { device, rx } = start();
  for (let index = 0; index < rx.size; index++) rx.add([{ in: 16 }]);
  device.receive(frame(MAC, 60_000));
  assert.equal(device.counters.dropped, 1);
  assert.equal(device.receive(frame(MAC, 60)), true);
  assert.equal(rx.used().length, 5);
});

test('without mergeable buffers a frame that does not fit is dropped', () => {
  const { device, rx } = start(FEATURES.filter((feature) => feature !== MRG_RXBUF));
  rx.add([{ in: 64 }]);
  rx.add([{ in: 2048 }]);
  device.receive(frame(MAC, 250));
  device.receive(frame(MAC, 60));
  assert.deepEqual(
    rx.used().map((entry) => entry.written.length),
    [0, 72],
  );
  assert.equal(device.counters.dropped, 1);
});

test('frames wait for buffers, a bounded number, the rest is dropped and counted', () => {
  const { device, rx } = start();
  for (let index = 0; index < NET_WAITING_FRAMES_MAX; index++) {
    assert.equal(device.receive(frame(MAC)), true);
  }
  assert.equal(device.receive(frame(MAC)), false);
  assert.equal(device.counters.dropped, 1);
  rx.add([{ in: 2048 }]);
  rx.notify();
  assert.equal(rx.used().length, 1);
  assert.equal(device.receive(frame(MAC)), true);
  for (let index = 0; index < 40; index++) device.receive(frame(MAC, 60_000));
  const bytes = device.save().waiting.reduce((sum, waiting) => sum + waiting.length, 0);
  assert.ok(bytes <= 512 * 1024);
});

test('the filter passes own, broadcast and multicast frames, and what the driver asks for', () => {
  const { device, control, rx } = start();
  for (let index = 0; index < 16; index++) rx.add([{ in: 128 }]);
  const passes = (destination: Uint8Array) => {
    assert.equal(device.receive(frame(destination)), true);
    return rx.used().length === 1;
  };
  const command = (...bytes: number[]) =>
    assert.deepEqual([...control.request([{ out: Uint8Array.from(bytes) }, { in: 1 }])], [0]);
  assert.deepEqual([MAC, OTHER, BROADCAST, MULTICAST].map(passes), [true, false, true, true]);
  command(0, 1, 0);
  assert.deepEqual([BROADCAST, MULTICAST].map(passes), [true, false]);
  command(1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...MULTICAST);
  assert.deepEqual([OTHER, MULTICAST].map(passes), [true, true]);
  command(1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  command(1, 1, ...OTHER);
  assert.deepEqual([MAC, OTHER].map(passes), [false, true]);
  command(0, 0, 1);
  assert.equal(passes(MAC), true);
  assert.equal(device.counters.filtered, 3);
});

test('bad control commands are answered with an error', () => {
  const { control } = start();
  for (const bytes of [[], [0], [0, 0], [0, 9, 1], [1, 1, 2], [1, 0, 9, 0, 0, 0], [7, 7, 7]]) {
    const answer = control.request([{ out: Uint8Array.from(bytes) }, { in: 1 }]);
    assert.deepEqual([...answer], [1], `${bytes}`);
  }
});

test('waiting frames and the filter survive save and restore', () => {
  const one = start();
  one.device.receive(frame(MAC));
  one.control.request([{ out: Uint8Array.of(0, 0, 1) }, { in: 1 }]);
  const two = new Rig(one.rig.memory, new VirtioNet({ send: () => {} }, { mac: MAC, mtu: 1400 }));
  two.part.restore(one.rig.part.save());
  assert.deepEqual(two.part.save(), one.rig.part.save());
  one.rx.add([{ in: 128 }]);
  two.part.resume();
  assert.equal(one.rx.used().length, 1);
});

test('nothing is received before the driver is ready', () => {
  const { device, driver } = start();
  driver.status = 0;
  assert.equal(device.receive(frame(MAC)), false);
});
