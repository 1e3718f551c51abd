// Stopping and the lock, with workers that do nothing else: who is stopped stands still, who waits gets its turn.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EVENT, S } from '../state/layout.ts';
import { planMemory, vcpuBase } from '../state/memory-map.ts';
import { VCPU_WORD, vcpuWords } from './shared-words.ts';
import { World } from './world.ts';

const VCPUS = 3;
/** Words that nothing else uses: in guest RAM. */
const layout = planMemory({ ramBytes: 16 << 20, vcpuCount: VCPUS });
const COUNTER = layout.wasmPages * (1 << 14) - 64;
const STOP = COUNTER + 16;
const ROUNDS = COUNTER + 32;

function newMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({
    initial: layout.wasmPages,
    maximum: layout.wasmPages,
    shared: true,
  });
}

/** A worker that lives as a vCPU does: in and out of guest code, looking at events between blocks. */
function startVcpu(memory: WebAssembly.Memory, index: number, block: string): Worker {
  const source = `
    const { workerData } = require('node:worker_threads');
    (async () => {
      const { World } = await import(${JSON.stringify(new URL('./world.ts', import.meta.url).href)});
      const { memory, index, events, park, COUNTER, STOP, ROUNDS, VCPUS } = workerData;
      const words = new Int32Array(memory.buffer);
      const world = new World({ memory, index, vcpuCount: VCPUS });
      while (!Atomics.load(words, STOP)) {
        world.enter();
        for (let n = 0; n < 100; n++) {
          if (Atomics.load(words, events) & park) {
            Atomics.and(words, events, ~park);
            world.park();
          }
          ${block}
          Atomics.add(words, ROUNDS + index, 1);
        }
        world.leave();
      }
    })();`;
  const events = (vcpuBase(index) + S.events.offset) >> 2;
  return new Worker(source, {
    eval: true,
    workerData: { memory, index, events, park: EVENT.park, COUNTER, STOP, ROUNDS, VCPUS },
  });
}

const ended = (workers: readonly Worker[]) =>
  Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));

async function roundsOf(words: Int32Array, index: number, count: number): Promise<void> {
  while (Atomics.load(words, ROUNDS + index) < count)
    await new Promise((resolve) => setTimeout(resolve, 1));
}

test('vCPUs that stop each other all the time never run while one is alone', async () => {
  const memory = newMemory();
  const words = new Int32Array(memory.buffer);
  // Not atomic: correct only if nobody else runs.
  const block = `
    if (n % 10 === 0) {
      world.stopOthers();
      world.stopOthers();
      const before = words[COUNTER];
      for (let wait = 0; wait < 50; wait++) if (words[COUNTER] !== before) Atomics.store(words, STOP, 2);
      words[COUNTER] = before + 1;
      world.resumeOthers();
      if (words[COUNTER] !== before + 1) Atomics.store(words, STOP, 2);
      world.resumeOthers();
    } else {
      const seen = words[COUNTER];
      for (let wait = 0; wait < 50; wait++) if (words[COUNTER] !== seen) Atomics.store(words, STOP, 2);
    }`;
  const workers = [0, 1, 2].map((index) => startVcpu(memory, index, block));
  for (const index of [0, 1, 2]) await roundsOf(words, index, 500);
  const result = Atomics.compareExchange(words, STOP, 0, 1);
  await ended(workers);
  assert.equal(result, 0, 'somebody ran while another was alone');
  assert.ok(words[COUNTER]! >= 100);
});

test('a vCPU that runs no guest code is not waited for, and waits when it begins to', async () => {
  const memory = newMemory();
  const words = new Int32Array(memory.buffer);
  const world = new World({ memory, index: 0, vcpuCount: VCPUS });
  world.enter();
  world.stopOthers();
  const worker = startVcpu(memory, 1, '');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(Atomics.load(words, ROUNDS + 1), 0);
  assert.equal(Atomics.load(words, vcpuWords(1) + VCPU_WORD.inside), 0);
  world.resumeOthers();
  await roundsOf(words, 1, 200);
  Atomics.store(words, STOP, 1);
  await ended([worker]);
});

test('the lock lets in one at a time, also those who run no guest code', async () => {
  const memory = newMemory();
  const words = new Int32Array(memory.buffer);
  const block = `
    world.lock();
    const before = words[COUNTER];
    for (let wait = 0; wait < 20; wait++);
    words[COUNTER] = before + 1;
    world.unlock();`;
  const workers = [0, 1].map((index) => startVcpu(memory, index, block));
  const own = new World({ memory, index: -1, vcpuCount: VCPUS });
  await roundsOf(words, 0, 1);
  let mine = 0;
  for (; mine < 2000; mine++) {
    own.lock();
    words[COUNTER] = words[COUNTER]! + 1;
    own.unlock();
  }
  for (const index of [0, 1]) await roundsOf(words, index, 1000);
  Atomics.store(words, STOP, 1);
  await ended(workers);
  const sum = Atomics.load(words, ROUNDS) + Atomics.load(words, ROUNDS + 1);
  assert.equal(words[COUNTER], sum + mine);
});

test('with one processor nothing waits and nothing is written', () => {
  const memory = newMemory();
  const world = new World({ memory, index: 0, vcpuCount: 1 });
  world.enter();
  world.lock();
  world.lock();
  world.stopOthers();
  world.park();
  world.resumeOthers();
  world.leave();
  assert.equal(new Int32Array(memory.buffer)[vcpuWords(0) + VCPU_WORD.inside], 0);
});
