// The models against the psABI's levels and against the instruction table.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ISA } from '../isa/index.ts';
import { featuresOf } from '../isa/instruction.ts';
import { TestCpu } from '../testing/check.ts';
import { CPU_MODELS, cpuModel, findCpuModel, ownFeatures } from './cpu-model.ts';
import { CPU_MODEL_NAMES, FEATURES } from './features.ts';

/** x86-64 psABI §3.1.1, by the names in /proc/cpuinfo. */
const V2 =
  'cmov cx8 fpu fxsr mmx syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3'.split(' ');
/** Besides v2. XSAVE stands for the operating system's part, OSXSAVE. */
const V3 = 'avx avx2 bmi1 bmi2 f16c fma abm movbe xsave'.split(' ');

test('features have one row each, and bits of their own', () => {
  const places = FEATURES.map((f) => `${f.leaf}.${f.subleaf}.${f.register}.${f.bit}`);
  for (const list of [places, FEATURES.map((f) => f.name), FEATURES.map((f) => f.manual)])
    assert.equal(new Set(list).size, FEATURES.length);
});

test('every feature that an instruction belongs to is in the table', () => {
  const known = new Set(FEATURES.map((f) => f.manual));
  const unknown = ISA.filter((i) => i.supported).flatMap((i) =>
    featuresOf(i)
      .filter((feature) => !known.has(feature))
      .map((feature) => `${i.name}: ${feature}`),
  );
  assert.deepEqual(unknown, []);
});

test('v2 and v3 have what the psABI asks for, and each model is found by its name', () => {
  for (const [model, asked] of [
    ['v2', V2],
    ['v3', [...V2, ...V3]],
  ] as const) {
    const names = cpuModel(model).features.map((f) => f.name);
    assert.deepEqual(
      asked.filter((name) => !names.includes(name)),
      [],
    );
  }
  for (const name of CPU_MODEL_NAMES) assert.equal(findCpuModel(name)?.name, name);
  assert.equal(findCpuModel('haswell'), undefined);
  const all = CPU_MODELS.flatMap(ownFeatures);
  assert.deepEqual(
    all.toSorted(),
    FEATURES.filter((f) => f.since !== 'none')
      .map((f) => f.name)
      .toSorted(),
  );
});

test('a brand string fits its three leaves', () => {
  for (const { brand } of CPU_MODELS) assert.ok(brand.length < 48, brand);
});

/** Instructions with the first model that has them; operands are registers that hold 0x30. */
const FIRST_MODEL: readonly (readonly [code: string, since: string])[] = [
  ['f30fb8c1', 'v2'], // popcnt eax, ecx
  ['0f38f001', 'v2'], // movbe eax, [rcx]
  ['660f38dcc1', 'v3'], // aesenc xmm0, xmm1
  ['660f3a44c100', 'v3'], // pclmulqdq xmm0, xmm1, 0
  ['0f38cbc1', 'v3'], // sha256rnds2 xmm0, xmm1, xmm0
  ['c4e260f2c1', 'v3'], // andn eax, ebx, ecx
  ['c4e27bf0c105', ''], // no form: map 2
  ['c4e37bf0c105', 'v3'], // rorx eax, ecx, 5
  ['c5f1fec2', 'v3'], // vpaddd xmm0, xmm1, xmm2
  ['c5f5fec2', 'v3'], // vpaddd ymm0, ymm1, ymm2
  ['c4e271b8c2', 'v3'], // vfmadd231ps xmm0, xmm1, xmm2
  ['c4e27913c1', 'v3'], // vcvtph2ps xmm0, xmm1
  ['c4e271dcc2', 'v3'], // vaesenc xmm0, xmm1, xmm2
  ['c4e275dcc2', 'max'], // vaesenc ymm0, ymm1, ymm2
  ['660f38f6c1', 'max'], // adcx eax, ecx
  ['f30fc7f8', 'max'], // rdpid rax
];

test('an instruction that a model lacks raises #UD', () => {
  for (const model of CPU_MODELS) {
    const cpu = new TestCpu({}, { model });
    cpu.reset(64);
    for (const [code, since] of FIRST_MODEL) {
      const state = { registers: { rcx: 0x30n } };
      const { fault } = cpu.run(Buffer.from(code, 'hex'), state);
      const rank = (CPU_MODEL_NAMES as readonly string[]).indexOf(since);
      const has = rank >= 0 && CPU_MODELS.indexOf(model) >= rank;
      assert.equal(fault?.vector, has ? undefined : 6, `${code} on ${model.name}`);
    }
  }
});

test('TZCNT and LZCNT run as BSF and BSR where they do not exist', () => {
  for (const [name, tzcnt, lzcnt] of [
    ['v2', 4n, 5n],
    ['v3', 4n, 26n],
  ] as const) {
    const cpu = new TestCpu({}, { model: cpuModel(name) });
    cpu.reset(64);
    const run = (code: string, rcx: bigint) =>
      cpu.run(Buffer.from(code, 'hex'), { registers: { rax: 0x77n, rcx } });
    assert.equal(run('f30fbcc1', 0x30n).registers.rax, tzcnt, name);
    assert.equal(run('f30fbdc1', 0x30n).registers.rax, lzcnt, name);
    // BSF leaves its destination alone when there is no bit; TZCNT counts 32 zeros and sets CF.
    const none = run('f30fbcc1', 0n);
    assert.equal(none.registers.rax, name === 'v2' ? 0x77n : 32n);
    assert.equal(none.rflags & 0x41, name === 'v2' ? 0x40 : 1);
  }
});
