import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BRAND, cpuidTable, HYPERVISOR_SIGNATURE, TSC_CRYSTAL_HZ } from './cpuid.ts';

const text = (words: readonly number[]) =>
  words.flatMap((w) => [0, 8, 16, 24].map((n) => String.fromCharCode((w >>> n) & 0xff))).join('');

test('leaf 0 names the vendor and the last leaf, leaf 0x40000000 the hypervisor', () => {
  const cpuid = cpuidTable({ vcpuIndex: 0, vcpuCount: 1 });
  const [max, ebx, ecx, edx] = cpuid(0, 0);
  assert.equal(max, 0x16);
  assert.equal(text([ebx, edx, ecx]), 'GenuineIntel');
  assert.equal(text(cpuid(0x4000_0000, 0).slice(1)), HYPERVISOR_SIGNATURE);
  const brand = [2, 3, 4].flatMap((n) => [...cpuid(0x8000_0000 + n, 0)]);
  assert.equal(text(brand).replaceAll('\0', ''), BRAND);
});

test('leaf 0x15 gives a time-stamp counter of 1 GHz', () => {
  const [denominator, numerator, crystal] = cpuidTable({ vcpuIndex: 0, vcpuCount: 1 })(0x15, 0);
  assert.equal(crystal, TSC_CRYSTAL_HZ);
  assert.equal((crystal * numerator) / denominator, 1_000_000_000);
});

test('every processor finds its APIC ID and the number of its siblings', () => {
  for (const vcpuCount of [1, 2, 3, 8]) {
    for (let vcpuIndex = 0; vcpuIndex < vcpuCount; vcpuIndex++) {
      const cpuid = cpuidTable({ vcpuIndex, vcpuCount });
      assert.equal(cpuid(1, 0)[1] >>> 24, vcpuIndex);
      assert.equal((cpuid(1, 0)[3] >>> 28) & 1, vcpuCount > 1 ? 1 : 0);
      const [shift, count, level, id] = cpuid(0xb, 1);
      assert.deepEqual([count, level, id], [vcpuCount, 0x201, vcpuIndex]);
      assert.ok(1 << shift >= vcpuCount, 'the shift covers all APIC IDs');
      assert.deepEqual(cpuid(0xb, 2), [0, 0, 2, vcpuIndex]);
    }
  }
});

test('features that do not work are not claimed: AVX, AES, VMX, MONITOR, VME, RDPID', () => {
  const cpuid = cpuidTable({ vcpuIndex: 0, vcpuCount: 1 });
  const [, , ecx, edx] = cpuid(1, 0);
  for (const bit of [1, 3, 5, 12, 25, 27, 28, 29]) assert.equal((ecx >>> bit) & 1, 0, `ECX ${bit}`);
  assert.equal((edx >>> 1) & 1, 0, 'VME');
  assert.equal((cpuid(7, 0)[2] >>> 22) & 1, 0, 'RDPID');
});

test('a leaf beyond the last one reads as the last basic one', () => {
  const cpuid = cpuidTable({ vcpuIndex: 0, vcpuCount: 1 });
  assert.deepEqual(cpuid(0x17, 0), cpuid(0x16, 0));
  assert.deepEqual(cpuid(0xffff_ffff, 0), cpuid(0x16, 0));
  assert.deepEqual(cpuid(7, 1), [0, 0, 0, 0]);
});
