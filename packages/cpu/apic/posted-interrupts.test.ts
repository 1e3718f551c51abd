// Interrupts for a processor in another worker: who is found by the face of its APIC, and what arrives of what is posted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeliveryMode, InterruptMessage } from '@mimic/base';
import { EVENT, S } from '../state/layout.ts';
import { planMemory, vcpuBase } from '../state/memory-map.ts';
import { InterruptBus } from './interrupt-bus.ts';
import { type ApicFace, PostedInterrupts } from './posted-interrupts.ts';
import { DELIVERY } from './registers.ts';

const VCPUS = 3;
const BROADCAST = 0xffff_ffff;

const face = (id: number, changes: Partial<ApicFace> = {}): ApicFace => ({
  mode: 'xapic',
  id,
  logicalDestination: (1 << (24 + id)) >>> 0,
  destinationFormat: 0xffff_ffff,
  takesVectors: true,
  priority: 0,
  ...changes,
});

const message = (changes: Partial<InterruptMessage>): InterruptMessage => ({
  destination: 0,
  logical: false,
  deliveryMode: DELIVERY.fixed as DeliveryMode,
  vector: 0x40,
  level: false,
  ...changes,
});

interface Setup {
  readonly bus: InterruptBus;
  readonly areas: readonly PostedInterrupts[];
  readonly memory: WebAssembly.Memory;
  /** What has arrived at a processor since the last call, as text. */
  taken(index: number): string[];
  events(index: number): number;
}

function setup(): Setup {
  const { wasmPages } = planMemory({ ramBytes: 16 << 20, vcpuCount: VCPUS });
  const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  const bus = new InterruptBus();
  const areas = Array.from({ length: VCPUS }, (_, index) => {
    // Published through one object, looked at through another, as workers do.
    new PostedInterrupts(memory, index).publish(face(index));
    const area = new PostedInterrupts(memory, index);
    bus.attach(area, index);
    return area;
  });
  const words = new Int32Array(memory.buffer);
  return {
    bus,
    areas,
    memory,
    taken(index) {
      const log: string[] = [];
      new PostedInterrupts(memory, index).drain({
        accept: ({ deliveryMode, vector, level }) =>
          void log.push(`${deliveryMode} ${vector.toString(16)}${level ? ' level' : ''}`),
        setLint0: (high) => void log.push(`lint0 ${high}`),
      });
      return log;
    },
    events: (index) => words[(vcpuBase(index) + S.events.offset) >> 2]!,
  };
}

test('a vector arrives where its destination is, once, and the processor is told', () => {
  const { bus, taken, events, areas } = setup();
  const before = areas[1]!.wakeCount;
  bus.send(message({ destination: 1 }));
  bus.send(message({ destination: 1 }));
  bus.send(message({ destination: 1, vector: 0xef }));
  assert.notEqual(areas[1]!.wakeCount, before);
  assert.equal(events(1), EVENT.posted);
  assert.deepEqual(taken(1), ['0 40', '0 ef']);
  assert.deepEqual(taken(1), []);
  assert.deepEqual([taken(0), taken(2), events(0), events(2)], [[], [], 0, 0]);
});

test('every vector from 0 to 255 arrives, edge or level as it was sent last', () => {
  const { bus, taken } = setup();
  for (let vector = 0; vector < 256; vector++) {
    bus.send(message({ vector, level: vector % 3 !== 0 }));
    bus.send(message({ vector, level: vector % 2 === 0 }));
  }
  const expected = Array.from(
    { length: 256 },
    (_, vector) => `0 ${vector.toString(16)}${vector % 2 === 0 ? ' level' : ''}`,
  );
  assert.deepEqual(taken(0), expected);
});

test('logical destinations, broadcasts and all but the sender find their processors', () => {
  const { bus, areas, taken } = setup();
  bus.send(message({ destination: 0b101, logical: true }));
  assert.deepEqual([taken(0), taken(1), taken(2)], [['0 40'], [], ['0 40']]);
  bus.sinkFor(1).sendToOthers(message({ destination: BROADCAST }));
  assert.deepEqual([taken(0), taken(1), taken(2)], [['0 40'], [], ['0 40']]);
  areas[2]!.publish(face(2, { mode: 'x2apic', id: 0x12 }));
  bus.send(message({ destination: 0x12 }));
  bus.send(message({ destination: (1 << 16) | 4, logical: true, vector: 0x50 }));
  assert.deepEqual(taken(2), ['0 40', '0 50']);
  areas[2]!.publish(face(2, { mode: 'disabled' }));
  bus.send(message({ destination: BROADCAST }));
  assert.deepEqual(taken(2), []);
});

test('lowest priority goes to the most willing that takes vectors', () => {
  const { bus, areas, taken } = setup();
  areas[0]!.publish(face(0, { priority: 0x30 }));
  areas[1]!.publish(face(1, { takesVectors: false }));
  areas[2]!.publish(face(2, { priority: 0x20 }));
  bus.send(
    message({
      destination: 0xff,
      logical: true,
      deliveryMode: DELIVERY.lowestPriority as DeliveryMode,
    }),
  );
  assert.deepEqual([taken(0), taken(1), taken(2)], [[], [], ['0 40']]);
});

test('INIT comes before the start-up behind it, and takes away one before it', () => {
  const { bus, taken } = setup();
  const startUp = (vector: number) =>
    message({ destination: 1, deliveryMode: DELIVERY.startUp as DeliveryMode, vector });
  const init = message({ destination: 1, deliveryMode: DELIVERY.init as DeliveryMode });
  bus.send(init);
  bus.send(startUp(0x9a));
  assert.deepEqual(taken(1), ['5 0', '6 9a']);
  bus.send(startUp(0x11));
  bus.send(init);
  assert.deepEqual(taken(1), ['5 0']);
});

test("NMI, ExtINT and LINT0's level arrive; a reset forgets what is on its way", () => {
  const { bus, areas, taken } = setup();
  bus.send(message({ deliveryMode: DELIVERY.nmi as DeliveryMode }));
  bus.send(message({ deliveryMode: DELIVERY.extInt as DeliveryMode }));
  areas[0]!.setLint0(true);
  assert.deepEqual(taken(0), ['lint0 true', '4 0', '7 0']);
  areas[0]!.setLint0(true);
  areas[0]!.setLint0(false);
  assert.deepEqual(taken(0), ['lint0 false']);
  bus.send(message({ vector: 0x77 }));
  bus.send(message({ deliveryMode: DELIVERY.nmi as DeliveryMode }));
  areas[0]!.clear();
  assert.deepEqual(taken(0), []);
});
