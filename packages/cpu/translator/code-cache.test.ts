// More code than the cache holds: places and memory come back, and the guest computes the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';
import { EXIT_REASON } from '../interpreter/service.ts';
import { TRANSLATED_RECORDS_BASE, TRANSLATED_RECORDS_BYTES } from '../state/memory-map.ts';
import { CODE_ADDRESS, TestCpu } from '../testing/check.ts';
import { CodeCache } from './code-cache.ts';
import type { TranslatedRegion } from './translator.ts';

const CODE_BYTES_MAX = 64 << 10;
const LOOPS = 200;
/** What is translated when the cache is just not full. */
const REGION_BYTES_MAX = 4 << 10;
const LOOP_BYTES = 32;

/** Small loops one behind the other, all run `edi` times; each puts a constant of its own into eax. */
function program(): number[] {
  const code: number[] = [];
  for (let n = 0; n < LOOPS; n++) {
    const constant = [n & 0xff, n >> 8, 0x5a, 0x13];
    // mov ecx,20; l: add eax,constant; rol eax,1; xor edx,eax; dec ecx; jnz l
    const loop = [
      0xb9,
      20,
      0,
      0,
      0,
      0x05,
      ...constant,
      0xd1,
      0xc0,
      0x31,
      0xc2,
      0xff,
      0xc9,
      0x75,
      0xf3,
    ];
    while (loop.length < LOOP_BYTES) loop.push(0x90);
    code.push(...loop);
  }
  const back = -(code.length + 8);
  // dec edi; jnz start; hlt
  const [a, b, c, d] = new Uint8Array(Int32Array.of(back).buffer);
  return [...code, 0xff, 0xcf, 0x0f, 0x85, a!, b!, c!, d!, 0xf4];
}

function run(cpu: TestCpu): { eax: number | bigint; edx: number | bigint } {
  cpu.reset(64);
  cpu.write(CODE_ADDRESS, program());
  cpu.set('gpr', 6n, 7);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  assert.equal(cpu.runToEnd(3000), EXIT_REASON.halted);
  return { eax: cpu.get('gpr', 0), edx: cpu.get('gpr', 2) };
}

test('a guest with more code than the cache holds computes the same, and the cache keeps its bound', async () => {
  const expected = run(new TestCpu({}, { hotThreshold: 0 }));
  const cpu = new TestCpu({}, { hotThreshold: 3, codeBytesMax: CODE_BYTES_MAX });
  const modules: WeakRef<WebAssembly.Module>[] = [];
  const take = cpu.translator.take.bind(cpu.translator);
  cpu.translator.take = () => {
    const messages = take();
    for (const message of messages)
      if ('module' in message) modules.push(new WeakRef(message.module));
    return messages;
  };
  assert.deepEqual(run(cpu), expected);

  const { counters, cache } = cpu.translator.translator;
  assert.ok(counters.bytes > 4 * CODE_BYTES_MAX, `only ${counters.bytes} bytes were translated`);
  assert.equal(counters.failed, 0);
  assert.ok(cache.bytes <= CODE_BYTES_MAX + REGION_BYTES_MAX, `${cache.bytes} bytes are in force`);
  assert.ok(cpu.loader.counters.evicted > LOOPS / 2);
  assert.ok(cache.slots <= counters.regions - cpu.loader.counters.evicted);

  v8.setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  // What a WeakRef has given stays until the turn is over.
  await turn();
  collect();
  const alive = modules.filter((module) => module.deref() !== undefined).length;
  assert.ok(alive <= cache.slots + 2, `${alive} of ${modules.length} modules are still there`);
});

const region = (slot: number) => ({ slot }) as TranslatedRegion;

test('what is in use is evicted last, and places are used again when all have let go', () => {
  const cache = new CodeCache({ firstSlot: 10, slotEnd: 1000, bytesMax: 1000 });
  for (let n = 0; n < 9; n++) {
    const place = cache.allocate(96)!;
    assert.equal(place.slot, 10 + n);
    cache.add({ regions: [region(place.slot)], places: [place], bytes: 100 });
  }
  const isUsed = ({ slot }: TranslatedRegion) => slot === 10;
  const eviction = cache.evict(isUsed)!;
  assert.deepEqual(
    eviction.evicted.map(({ slot }) => slot),
    [11, 12],
  );
  assert.equal(cache.evict(isUsed), undefined, 'one eviction at a time');
  assert.equal(cache.allocate(96)!.slot, 19);
  cache.release(eviction.id);
  const again = [cache.allocate(96)!, cache.allocate(96)!];
  assert.deepEqual(again.map(({ slot }) => slot).toSorted(), [11, 12]);
});

test('memory for records is joined again, whatever the order in which it comes back', () => {
  const cache = new CodeCache({ firstSlot: 0, slotEnd: 1000, bytesMax: 1000 });
  const third = Math.floor(TRANSLATED_RECORDS_BYTES / 3 / 32) * 32;
  const places = [cache.allocate(third)!, cache.allocate(third)!, cache.allocate(third)!];
  assert.equal(cache.allocate(third), undefined, 'full');
  cache.free([places[0]!, places[2]!]);
  assert.equal(cache.allocate(2 * third), undefined, 'in two pieces');
  cache.free([places[1]!]);
  assert.equal(cache.allocate(TRANSLATED_RECORDS_BYTES)?.records, TRANSLATED_RECORDS_BASE);
});
