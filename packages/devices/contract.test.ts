// The device contract, held against every device in contract-cases.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { type Bench, CONTRACT_CASES, type ContractCase, type Random } from './contract-cases.ts';
import type { AccessSize } from './device.ts';
import { PCI_CONTRACT_CASES } from './pci/contract-cases.ts';

/** A snapshot section beyond this is a queue without a bound. */
const STATE_JSON_BYTES_MAX = 1 << 20;
const SIZES: readonly AccessSize[] = [1, 1, 1, 2, 4, 4];
const INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x8000_0000, 0xffff_ffff];

/** xorshift32. */
function randomFrom(seed: number): Random {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** One random step on each bench alike; returns what was seen, to compare. */
function step(
  contractCase: ContractCase,
  clock: ManualClock,
  benches: readonly Bench[],
  random: Random,
): unknown[] {
  const action = random(16);
  if (action === 0) {
    clock.advance(random(20) === 0 ? random(30_000_000) : random(300_000));
    return benches.map(() => 'time');
  }
  if (action === 1) {
    const seed = random(0xffff_fffe) + 1;
    for (const bench of benches) bench.stimulate?.(randomFrom(seed));
    return benches.map(() => 'stimulus');
  }
  const size = SIZES[random(SIZES.length)]!;
  const anywhere = random(contractCase.sizeBytes + 8);
  const offset = random(2) === 0 ? anywhere : anywhere - (anywhere % size);
  if (action < 9) return benches.map(({ device }) => device.read(offset, size));
  const raw = random(3) === 0 ? INTERESTING[random(INTERESTING.length)]! : random(0xffff_ffff);
  const value = size === 4 ? raw : raw & (2 ** (8 * size) - 1);
  for (const { device } of benches) device.write(offset, size, value);
  return benches.map(() => 'written');
}

/** Levels of the lines, and their rising edges since `before`. */
function lines(bench: Bench, before: Readonly<Record<string, number>> = {}): unknown {
  return Object.entries(bench.lines).map(([name, line]) => {
    return { name, high: line.high, rises: line.rises - (before[name] ?? 0) };
  });
}

function rises(bench: Bench): Record<string, number> {
  return Object.fromEntries(Object.entries(bench.lines).map(([name, line]) => [name, line.rises]));
}

function levels(bench: Bench): unknown {
  return Object.values(bench.lines).map((line) => line.high);
}

for (const contractCase of [...CONTRACT_CASES, ...PCI_CONTRACT_CASES]) {
  const { name } = contractCase;

  test(`${name}: after reset the state is that of a new device`, () => {
    const clock = new ManualClock();
    const bench = contractCase.create(clock);
    const random = randomFrom(7);
    for (let round = 0; round < 500; round += 1) step(contractCase, clock, [bench], random);
    bench.device.reset();
    const fresh = contractCase.create(clock);
    assert.deepEqual(bench.device.save(), fresh.device.save());
    assert.deepEqual(levels(bench), levels(fresh));
  });

  test(`${name}: a restored device goes on like the saved one`, () => {
    for (let seed = 1; seed <= 24; seed += 1) {
      const clock = new ManualClock();
      const original = contractCase.create(clock);
      const random = randomFrom(seed * 7919);
      for (let round = 0; round < 200; round += 1) step(contractCase, clock, [original], random);
      if (seed % 2 === 0) original.stimulate?.(random);

      const saved = structuredClone(original.device.save());
      const copy = contractCase.create(clock);
      copy.device.restore(saved);
      assert.deepEqual(copy.device.save(), saved, `seed ${seed}: the saved state comes back`);
      assert.deepEqual(levels(copy), levels(original), `seed ${seed}: restored line levels`);

      original.forget?.();
      copy.forget?.();
      const before = rises(original);
      const beforeOfCopy = rises(copy);
      for (let round = 0; round < 300; round += 1) {
        const where = `seed ${seed}, round ${round}`;
        // At first only time passes: a timer that was not armed again shows before an access repairs it.
        if (round < 10) clock.advance(random(3) === 0 ? random(400_000_000) : random(100_000));
        else {
          const [seen, seenOfCopy] = step(contractCase, clock, [original, copy], random);
          assert.equal(seenOfCopy, seen, where);
        }
        assert.deepEqual(lines(copy, beforeOfCopy), lines(original, before), `${where}: lines`);
        assert.deepEqual(copy.observed?.(), original.observed?.(), where);
      }
      assert.deepEqual(copy.device.save(), original.device.save(), `seed ${seed}: final state`);
    }
  });

  test(`${name}: a saved state shares nothing with the device and is plain data`, () => {
    const clock = new ManualClock();
    const bench = contractCase.create(clock);
    const random = randomFrom(99);
    for (let round = 0; round < 300; round += 1) step(contractCase, clock, [bench], random);
    const saved = bench.device.save();
    const before = JSON.stringify(saved);
    for (let round = 0; round < 300; round += 1) step(contractCase, clock, [bench], random);
    assert.equal(JSON.stringify(saved), before, 'a later change does not show in it');
    bench.device.reset();
    assert.equal(JSON.stringify(saved), before, 'a reset does not show in it');
    bench.device.restore(saved);
    for (let round = 0; round < 300; round += 1) step(contractCase, clock, [bench], random);
    assert.equal(JSON.stringify(saved), before, 'restoring does not adopt it');
    assertPlain(saved, 'state');
  });

  test(`${name}: hostile accesses never throw, stay in range and leave the state bounded`, () => {
    const clock = new ManualClock();
    const bench = contractCase.create(clock);
    const random = randomFrom(4242);
    for (let round = 0; round < 6000; round += 1) {
      const [seen] = step(contractCase, clock, [bench], random);
      if (typeof seen !== 'number') continue;
      assert.ok(Number.isInteger(seen) && seen >= 0 && seen <= 0xffff_ffff, `read gave ${seen}`);
    }
    for (const size of SIZES) {
      for (let offset = 0; offset < contractCase.sizeBytes + 8; offset += 1) {
        const seen = bench.device.read(offset, size);
        assert.ok(seen >= 0 && seen < 2 ** (8 * size), `offset ${offset}, size ${size}: ${seen}`);
      }
    }
    const json = JSON.stringify(bench.device.save());
    assert.ok(json.length <= STATE_JSON_BYTES_MAX, `${json.length} bytes of state`);
  });
}

function assertPlain(value: unknown, path: string): void {
  if (typeof value === 'number') {
    assert.ok(Number.isFinite(value), `${path} is ${value}, which JSON cannot hold`);
  } else if (value !== null && typeof value === 'object') {
    if (ArrayBuffer.isView(value)) return;
    const prototype = Object.getPrototypeOf(value);
    assert.ok(prototype === Object.prototype || prototype === Array.prototype, `${path} is plain`);
    for (const [key, inner] of Object.entries(value)) assertPlain(inner, `${path}.${key}`);
  } else {
    const plain = value === undefined || ['string', 'boolean', 'bigint'].includes(typeof value);
    assert.ok(plain || value === null, `${path} is ${typeof value}`);
  }
}
