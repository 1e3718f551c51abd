// A PC board on a test bench: wires that record what the board does to them. Imported by tests only.

import { type InterruptMessage, ManualClock } from '@mimic/base';
import type { BlockStore } from '@mimic/devices';
import { Pc } from '../pc.ts';
import type { PcOptions } from '../pc-options.ts';
import { FlatMemory } from './flat-memory.ts';

export interface PcBench {
  readonly pc: Pc;
  readonly clock: ManualClock;
  readonly memory: FlatMemory;
  readonly messages: InterruptMessage[];
  readonly events: string[];
  readonly output: string[];
  /** The PICs' output. */
  intr(): boolean;
}

const WALL_CLOCK_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A disk of zeroes that forgets what is written. */
export function blankDisk(): BlockStore {
  return {
    sizeBytes: 0x10_0000,
    readOnly: false,
    serial: 'blank',
    read: (_offset, into, done) => {
      for (const buffer of into) buffer.fill(0);
      done();
    },
    write: (_offset, _from, done) => done(),
    flush: (done) => done(),
  };
}

export function pcBench(options: Partial<PcOptions> & { ramBytes?: number } = {}): PcBench {
  const clock = new ManualClock();
  const memory = new FlatMemory(options.ramBytes ?? 0x400_0000);
  const messages: InterruptMessage[] = [];
  const events: string[] = [];
  const output: string[] = [];
  let intr = false;
  const pc = new Pc({
    memory,
    cpuCount: 1,
    clock,
    interrupts: { send: (message) => messages.push(message) },
    intr: {
      set: (high) => {
        intr = high;
      },
    },
    wallClockMs: () => WALL_CLOCK_MS,
    serial: [{ out: { write: (bytes) => output.push(new TextDecoder().decode(bytes)) } }],
    disks: [blankDisk(), blankDisk()],
    fillRandom: (bytes) => bytes.fill(4),
    onPowerOff: () => events.push('power-off'),
    onReset: (scope) => events.push(`reset ${scope}`),
    onSleep: (type) => events.push(`sleep ${type}`),
    ...options,
  });
  return { pc, clock, memory, messages, events, output, intr: () => intr };
}
