import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrayMemory } from '@mimic/testing';
import { VirtioConsole } from './console.ts';
import { EVENT_IDX, encode, INDIRECT_DESC, Rig, TestDriver } from './test-driver.ts';

const MULTIPORT = 1;
const FEATURES = [0, MULTIPORT, 2, INDIRECT_DESC, EVENT_IDX];
const [READY, ADD, PORT_READY, CONSOLE, RESIZE, OPEN, NAME] = [0, 1, 3, 4, 5, 6, 7];

function start(features: readonly number[] = FEATURES) {
  const out: string[] = [];
  const agent: string[] = [];
  const opened: boolean[] = [];
  const text = (list: string[]) => ({
    write: (bytes: Uint8Array) => list.push(new TextDecoder().decode(bytes)),
  });
  const device = new VirtioConsole(
    [
      { out: text(out) },
      { name: 'org.agent', out: text(agent), openChanged: (open) => opened.push(open) },
    ],
    { cols: 80, rows: 25 },
  );
  const rig = new Rig(new ArrayMemory(0x80_0000), device);
  const driver = new TestDriver(rig).start({ features });
  return { device, rig, driver, out, agent, opened };
}

const message = (id: number, event: number, value: number) =>
  encode([4, id], [2, event], [2, value]);
const bytes = (text: string) => new TextEncoder().encode(text);

/** Brings both ports up as a driver does; returns the control messages received. */
function handshake({ driver }: { driver: TestDriver }) {
  const [, , receive, transmit] = driver.queues;
  for (let index = 0; index < 16; index++) receive!.add([{ in: 64 }]);
  transmit!.request([{ out: message(0, READY, 1) }]);
  transmit!.request([{ out: message(0, PORT_READY, 1) }]);
  transmit!.request([{ out: message(1, PORT_READY, 1) }]);
  return receive!.used().map((entry) => entry.written);
}

test('ports are announced and introduced over the control queue', () => {
  const rig = start();
  assert.equal(rig.driver.config(4, 4), 2);
  assert.deepEqual(handshake(rig), [
    message(0, ADD, 1),
    message(1, ADD, 1),
    message(0, CONSOLE, 1),
    Uint8Array.of(...message(0, RESIZE, 0), 80, 0, 25, 0),
    message(0, OPEN, 1),
    Uint8Array.of(...message(1, NAME, 1), ...bytes('org.agent')),
    message(1, OPEN, 1),
  ]);
});

test('output goes to the sink of its port', () => {
  const { driver, out, agent } = start();
  driver.queues[1]!.request([{ out: bytes('hel') }, { out: bytes('lo') }]);
  driver.queues[5]!.request([{ out: bytes('agent here') }], { indirect: true });
  assert.deepEqual(out, ['hello']);
  assert.deepEqual(agent, ['agent here']);
});

test('input is taken as far as the guest has buffers, and asked for again', () => {
  const { driver, device } = start();
  const [console] = device.ports;
  let room = 0;
  console!.onRoom = () => {
    room += 1;
  };
  assert.equal(console!.receive(bytes('abc')), 0);
  const queue = driver.queues[0]!;
  queue.add([{ in: 2 }]);
  queue.notify();
  assert.equal(room, 1);
  assert.equal(console!.receive(bytes('abc')), 2);
  assert.deepEqual([...queue.used()[0]!.written], [...bytes('ab')]);
  queue.add([{ in: 64 }]);
  assert.equal(console!.receive(bytes('c')), 1);
  assert.deepEqual([...queue.used()[0]!.written], [...bytes('c')]);
});

test('a named port takes input only while the guest has it open', () => {
  const { driver, device, opened } = start();
  const port = device.ports[1]!;
  let room = 0;
  port.onRoom = () => {
    room += 1;
  };
  driver.queues[4]!.add([{ in: 16 }]);
  assert.equal(port.receive(bytes('x')), 0);
  assert.equal(port.guestOpen, false);
  driver.queues[3]!.request([{ out: message(1, OPEN, 1) }]);
  assert.equal(port.guestOpen, true);
  assert.equal(room, 1);
  assert.equal(port.receive(bytes('x')), 1);
  driver.queues[3]!.request([{ out: message(1, OPEN, 0) }]);
  assert.deepEqual(opened, [true, false]);
  assert.equal(port.receive(bytes('x')), 0);
});

test('without multiport only the console works', () => {
  const { driver, device, out } = start([0]);
  driver.queues[1]!.request([{ out: bytes('hi') }]);
  driver.queues[0]!.add([{ in: 4 }]);
  assert.equal(device.ports[0]!.receive(bytes('y')), 1);
  assert.equal(device.ports[1]!.receive(bytes('y')), 0);
  assert.deepEqual(out, ['hi']);
});

test('a new size shows in the configuration and in a message', () => {
  const rig = start();
  handshake(rig);
  rig.rig.messages.length = 0;
  rig.device.resize({ cols: 132, rows: 50 });
  assert.equal(rig.driver.config(0, 2), 132);
  assert.equal(rig.driver.config(2, 2), 50);
  assert.deepEqual(rig.rig.messages, [0, 3]);
  const [entry] = rig.driver.queues[2]!.used();
  assert.deepEqual(entry!.written, Uint8Array.of(...message(0, RESIZE, 0), 132, 0, 50, 0));
});

test('emergency output needs no queue', () => {
  const { driver, out } = start();
  driver.status = 0;
  driver.setConfig(8, 4, 0x41);
  assert.deepEqual(out, ['A']);
});

test('control messages nobody reads are bounded', () => {
  const { driver, device } = start();
  for (let index = 0; index < 60; index++) driver.queues[3]!.add([{ out: message(0, READY, 1) }]);
  driver.queues[3]!.notify();
  assert.equal(driver.needsReset, false);
  driver.queues[3]!.used();
  for (let index = 0; index < 60; index++) driver.queues[3]!.add([{ out: message(0, READY, 1) }]);
  driver.queues[3]!.notify();
  assert.equal(driver.needsReset, true);
  assert.ok(device.save().pending.length <= 128);
});

test('control messages about unknown ports and events are ignored', () => {
  const { driver } = start();
  const bad = [message(9, PORT_READY, 1), message(0, 99, 1), message(77, OPEN, 1), bytes('abc')];
  for (const out of bad) driver.queues[3]!.request([{ out }]);
  assert.equal(driver.needsReset, false);
});

test('output without end in one chain makes the device need a reset', () => {
  const { driver, out } = start();
  driver.queues[1]!.add([{ out: new Uint8Array(1024 * 1024 + 1) }]);
  driver.queues[1]!.notify();
  assert.equal(driver.needsReset, true);
  assert.deepEqual(out, []);
});

test('open ports and pending messages survive save and restore', () => {
  const { rig, driver } = start();
  driver.queues[3]!.request([{ out: message(1, OPEN, 1) }]);
  driver.queues[3]!.request([{ out: message(0, READY, 1) }]);
  const sink = { write: () => {} };
  const copy = new VirtioConsole([{ out: sink }, { name: 'org.agent', out: sink }]);
  const other = new Rig(rig.memory, copy);
  other.part.restore(rig.part.save());
  assert.deepEqual(other.part.save(), rig.part.save());
  assert.equal(copy.ports[1]!.guestOpen, true);
  driver.queues[2]!.add([{ in: 64 }]);
  other.part.resume();
  assert.deepEqual(driver.queues[2]!.used()[0]!.written, message(0, ADD, 1));
});
