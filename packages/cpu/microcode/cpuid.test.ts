import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CPU_MODELS, cpuModel } from '../model/cpu-model.ts';
import { FEATURES } from '../model/features.ts';
import { cpuidTable, HYPERVISOR_SIGNATURE, TSC_CRYSTAL_HZ } from './cpuid.ts';

const ONE = { model: cpuModel('v2'), vcpuIndex: 0, vcpuCount: 1 };

const text = (words: readonly number[]) =>
  words.flatMap((w) => [0, 8, 16, 24].map((n) => String.fromCharCode((w >>> n) & 0xff))).join('');

test('leaf 0 names the vendor and the last leaf, leaf 0x40000000 the hypervisor', () => {
  const cpuid = cpuidTable(ONE);
  const [max, ebx, ecx, edx] = cpuid(0, 0);
  assert.equal(max, 0x16);
  assert.equal(text([ebx, edx, ecx]), 'GenuineIntel');
  assert.equal(text(cpuid(0x4000_0000, 0).slice(1)), HYPERVISOR_SIGNATURE);
  const brand = [2, 3, 4].flatMap((n) => [...cpuid(0x8000_0000 + n, 0)]);
  assert.equal(text(brand).replaceAll('\0', ''), 'Mimic Virtual CPU v2');
});

test('leaf 0x15 gives a time-stamp counter of 1 GHz', () => {
  const [denominator, numerator, crystal] = cpuidTable(ONE)(0x15, 0);
  assert.equal(crystal, TSC_CRYSTAL_HZ);
  assert.equal((crystal * numerator) / denominator, 1_000_000_000);
});

test('every processor finds its APIC ID and the number of its siblings', () => {
  for (const vcpuCount of [1, 2, 3, 8]) {
    for (let vcpuIndex = 0; vcpuIndex < vcpuCount; vcpuIndex++) {
      const cpuid = cpuidTable({ ...ONE, vcpuIndex, vcpuCount });
      assert.equal(cpuid(1, 0)[1] >>> 24, vcpuIndex);
      assert.equal((cpuid(1, 0)[3] >>> 28) & 1, vcpuCount > 1 ? 1 : 0);
      const [shift, count, level, id] = cpuid(0xb, 1);
      assert.deepEqual([count, level, id], [vcpuCount, 0x201, vcpuIndex]);
      assert.ok(1 << shift >= vcpuCount, 'the shift covers all APIC IDs');
      assert.deepEqual(cpuid(0xb, 2), [0, 0, 2, vcpuIndex]);
    }
  }
});

const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;
/** Bits of the leaves that hold features, and are none of a model's: HTT is the number of processors', OSXSAVE CR4's. */
function claimed(name: 'v2' | 'v3' | 'max'): string[] {
  const cpuid = cpuidTable({ ...ONE, model: cpuModel(name) });
  return FEATURES.filter(
    (f) => (cpuid(f.leaf, f.subleaf)[REGISTERS.indexOf(f.register)]! >>> f.bit) & 1,
  ).map((f) => f.name);
}

test('every model claims its features, those of smaller models, and nothing more', () => {
  for (const model of CPU_MODELS) {
    assert.deepEqual(
      claimed(model.name),
      model.features.map((f) => f.name),
      model.name,
    );
  }
  const [, , ecx, edx] = cpuidTable(ONE)(1, 0);
  for (const bit of [1, 3, 5, 12, 25, 27, 28, 29]) assert.equal((ecx >>> bit) & 1, 0, `ECX ${bit}`);
  assert.equal((edx >>> 1) & 1, 0, 'VME');
});

test('a leaf beyond the last one reads as the last basic one', () => {
  const cpuid = cpuidTable(ONE);
  assert.deepEqual(cpuid(0x17, 0), cpuid(0x16, 0));
  assert.deepEqual(cpuid(0xffff_ffff, 0), cpuid(0x16, 0));
  assert.deepEqual(cpuid(7, 1), [0, 0, 0, 0]);
});
