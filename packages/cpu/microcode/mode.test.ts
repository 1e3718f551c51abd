// What follows from the mode: after a change of code, privilege or flags the short way comes to the same as the long one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { type S, SEGMENT } from '../state/layout.ts';
import { TestCpu } from '../testing/check.ts';

const [TF, VM, AC] = [0x100, 0x2_0000, 0x4_0000];
const CR4_SMAP = 1n << 21n;
/** Attributes of CS: 64-bit, 32-bit and 16-bit code. */
const CODE = { 64: 0xa0_9b00, 32: 0xc0_9b00, 16: 0x80_9b00 } as const;

function derived(cpu: TestCpu): Record<string, number | bigint> {
  const names = [
    'legacyMode', 'codeBits', 'stackMask', 'breakpoints', 'mode', 'tlb', 'tlbSystem', 'tlbFetch', 'codePageLinear',
    'fpuTrap', 'vectorTrap', 'context', 'cpl',
  ] as const satisfies readonly (keyof typeof S)[]; // biome-ignore format: a list
  return Object.fromEntries(names.map((name) => [name, cpu.get(name)]));
}

for (const from of [64, 32] as const)
  for (const to of [64, 32, 16] as const)
    test(`from ${from}-bit to ${to}-bit code, whatever the privileges and flags`, () => {
      const cpu = new TestCpu();
      const enter = (bits: 16 | 32 | 64, cpl: number, flags: number, dr7: bigint, cr4: bigint) => {
        cpu.set('segAttributes', CODE[bits] | (cpl << 13), SEGMENT.cs);
        cpu.set('cpl', cpl);
        cpu.set('rflags', flags | 2);
        cpu.set('dr', dr7, 7);
        cpu.set('cr4', cr4);
      };
      for (const cpl of [0, 3])
        for (const target of [0, 3])
          for (const before of [0, TF, AC])
            for (const flags of [0, TF, AC, VM, AC | TF])
              for (const dr7 of [0x400n, 0x403n])
                for (const smap of [0n, CR4_SMAP]) {
                  const outcomes = (['updateCode', 'updateMode'] as const).map((name) => {
                    cpu.reset(64);
                    const cr4 = (cpu.get('cr4') as bigint) | smap;
                    enter(from, cpl, before, dr7, cr4);
                    cpu.call('updateMode');
                    cpu.set('codePageLinear', 0x1000n);
                    enter(to, target, flags, dr7, cr4);
                    cpu.call(name);
                    return derived(cpu);
                  });
                  assert.deepEqual(outcomes[0], outcomes[1]);
                }
    });

/** What DS, ES or SS may be loaded with: flat, and without one thing that makes a segment flat. */
const DATA = [
  { base: 0n, limit: 0xffff_ffff, attributes: 0xc0_9300 },
  { base: 0x10n, limit: 0xffff_ffff, attributes: 0xc0_9300 },
  { base: 0n, limit: 0xffff_efff, attributes: 0xc0_9300 },
  { base: 0n, limit: 0xffff_ffff, attributes: 0xc0_9100 },
  { base: 0n, limit: 0xffff_ffff, attributes: 0xc0_9700 },
  { base: 0n, limit: 0xffff_ffff, attributes: 0x80_9300 },
  { base: 0n, limit: 0, attributes: 0 },
] as const;

for (const bits of [64, 32, 16] as const)
  test(`a load of ES, SS or DS in ${bits}-bit code, with any segment before`, () => {
    const cpu = new TestCpu();
    const load = (segment: number, { base, limit, attributes }: (typeof DATA)[number]) => {
      cpu.set('segBase', base, segment);
      cpu.set('segLimit', limit, segment);
      cpu.set('segAttributes', attributes, segment);
    };
    const flat = new Set<number>();
    for (const segment of [SEGMENT.es, SEGMENT.ss, SEGMENT.ds])
      for (const before of DATA)
        for (const [n, now] of DATA.entries())
          for (const flags of [2, 2 | TF]) {
            const outcomes = (['updateSegments', 'updateMode'] as const).map((name) => {
              cpu.reset(64);
              cpu.set('segAttributes', CODE[bits], SEGMENT.cs);
              cpu.set('rflags', flags);
              load(segment, before);
              cpu.call('updateMode');
              load(segment, now);
              cpu.call(name);
              return derived(cpu);
            });
            assert.deepEqual(outcomes[0], outcomes[1]);
            const isFlat = ((outcomes[0]!.mode as number) & 3) === DECODING_MODE.flat32;
            // Whether data segments have the B bit makes no difference.
            const hasSmallStack = segment === SEGMENT.ss && n === 5;
            assert.equal(isFlat, bits === 32 && (n === 0 || n === 5) && !hasSmallStack);
            if (isFlat) flat.add(segment);
          }
    assert.equal(flat.size, bits === 32 ? 3 : 0);
  });
