// The search for a divergence, with one put there: the interpreter against itself, altered at one instruction.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineOptions } from '@mimic/machine';
import { POWER_OFF, STOP, tinyKernel } from '../../packages/machine/testing/tiny-kernel.ts';
import { type Alteration, alterRun, ENGINES, type Engine, runner } from './engines.ts';
import { type Divergence, findDivergence } from './search.ts';

// mov ecx, 20000; l: add eax, ecx; imul ebx, eax, 3; mov [0x200000 + ecx * 4], ebx; loop l; then off.
const LOOP = [
  ...[0xb9, 0x20, 0x4e, 0, 0, 0x01, 0xc8, 0x69, 0xd8, 3, 0, 0, 0],
  ...[0x89, 0x1c, 0x8d, 0, 0, 0x20, 0, 0xe2, 0xef],
];
const OPTIONS: MachineOptions = {
  kernel: tinyKernel([...LOOP, ...POWER_OFF, ...STOP]),
  memory: '16M',
};
const LOOP_BEGIN = 1;
const ROUND = 4;

/** Does something else to the guest as its count comes to a value. */
function at(count: number, meddle: Alteration): Engine {
  const alter: Alteration = (computer) =>
    alterRun(computer, (run) => (budget) => {
      const before = count - computer.processor.instructionCount;
      if (before <= 0 || before > budget) return run(budget);
      run(before);
      meddle(computer);
      return run(budget - before);
    });
  return { accel: 'interpreter', alter };
}

function search(engine: Engine): Promise<Divergence | undefined> {
  const instructionsMax = 1_000_000;
  return findDivergence(runner(OPTIONS, ENGINES.interpreter!), runner(OPTIONS, engine), {
    instructionsMax,
  });
}

test('the ways to run the same code do not diverge', async () => {
  assert.equal(await search(ENGINES.single!), undefined);
  assert.equal(await search(ENGINES.translator!), undefined);
});

test('a wrong register is found at the instruction behind which it is wrong', async () => {
  const round = LOOP_BEGIN + 12_345 * ROUND;
  const meddle: Alteration = ({ processor }) => {
    processor.writeRegister('rsi', (processor.readRegister('rsi') ?? 0n) ^ 4n);
  };
  const found = await search(at(round + 2, meddle));
  assert.equal(found?.count, round + 1);
  assert.match(found.instruction.text, /^imul ebx, eax/);
  assert.deepEqual(
    found.differences.map(({ what }) => what),
    ['rsi'],
  );
});

test('a wrong byte in memory is found, though no register tells of it', async () => {
  const round = LOOP_BEGIN + 777 * ROUND;
  const found = await search(
    at(round + 3, ({ memory }) => void memory.write(0x40_0123, Uint8Array.of(0x55))),
  );
  assert.equal(found?.count, round + 2);
  assert.match(found.instruction.text, /^mov /);
  assert.deepEqual(found.differences, [
    { what: '[0x400120]', left: '00'.repeat(16), right: `000000${'55'}${'00'.repeat(12)}` },
  ]);
});

test('an engine that is not the same twice is told of', async () => {
  let made = 0;
  const unstable: Engine = {
    accel: 'interpreter',
    alter: (computer) => {
      made += 1;
      const meddle: Alteration = ({ processor }) => void processor.writeRegister('rdi', 1n);
      if (made === 1) at(5000, meddle).alter?.(computer);
    },
  };
  await assert.rejects(search(unstable), /not deterministic/);
});
