// What two deterministic computers differ in: their place in time, processor, devices and RAM, for people to read.

import { canonical } from '@mimic/machine';
import type { DeterministicRun } from '@mimic/machine/computer';

/** Differing bytes of RAM that are shown at most, in rows of so many. */
const MEMORY_ROWS_MAX = 8;
const ROW_BYTES = 16;
const PIECE_BYTES = 1 << 16;
const LINES_MAX = 60;

export interface Difference {
  /** A register, a field of a device, an address. */
  readonly what: string;
  readonly left: string;
  readonly right: string;
}

/** All differences between two runs, or the first few dozen; none when the guest could not tell them apart. */
export function differences(left: DeterministicRun, right: DeterministicRun): Difference[] {
  const inRegisters = [...registers(left, right)];
  const found = [
    ...values('time', left.place, right.place),
    ...values('end', left.end, right.end),
    ...inRegisters,
    ...states(left, right, inRegisters.length > 0),
    ...memory(left, right),
  ];
  return found.slice(0, LINES_MAX);
}

function* values(what: string, left: unknown, right: unknown): Generator<Difference> {
  const [a, b] = [canonical(left), canonical(right)];
  if (a === b) return;
  if (!isObject(left) || !isObject(right)) {
    yield { what, left: a, right: b };
    return;
  }
  for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
    yield* values(`${what}.${name}`, left[name], right[name]);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value);
}

function* registers(left: DeterministicRun, right: DeterministicRun): Generator<Difference> {
  const [a, b] = [left.computer.processor, right.computer.processor];
  for (const name of a.registerNames) {
    const [x, y] = [a.readRegister(name), b.readRegister(name)];
    if (x !== y) yield { what: name, left: hex(x), right: hex(y) };
  }
}

/** Of the processor only what the registers do not show. */
function* states(
  left: DeterministicRun,
  right: DeterministicRun,
  registersDiffer: boolean,
): Generator<Difference> {
  const [a, b] = [left.computer.visibleState(), right.computer.visibleState()];
  for (const part of Object.keys(a)) {
    if (part !== 'processor' || !registersDiffer) yield* values(part, a[part], b[part]);
  }
}

function* memory(left: DeterministicRun, right: DeterministicRun): Generator<Difference> {
  const [a, b] = [left.computer.memory, right.computer.memory];
  let rows = 0;
  for (let piece = 0; piece < a.sizeBytes; piece += PIECE_BYTES) {
    const [x, y] = [a.view(piece, PIECE_BYTES), b.view(piece, PIECE_BYTES)];
    if (x === undefined || y === undefined || Buffer.compare(x, y) === 0) continue;
    for (let at = 0; at < PIECE_BYTES; at += ROW_BYTES) {
      const [row, other] = [x.subarray(at, at + ROW_BYTES), y.subarray(at, at + ROW_BYTES)];
      if (Buffer.compare(row, other) === 0) continue;
      yield { what: `[${hex(piece + at)}]`, left: bytes(row), right: bytes(other) };
      rows += 1;
      if (rows === MEMORY_ROWS_MAX) return;
    }
  }
}

function hex(value: bigint | number | undefined): string {
  return value === undefined ? 'none' : `0x${value.toString(16)}`;
}

function bytes(row: Uint8Array): string {
  return Buffer.from(row).toString('hex');
}
