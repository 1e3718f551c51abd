// Interrupts, NMI, HLT, shadows and single steps between instructions. SDM vol 3A §6.8, §6.9, §18.3.1.4;
// vol 2 STI, MOV, HLT.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventCpu } from '../testing/event-log.ts';
import { EXIT_REASON } from './service.ts';

const CODE = 0x10_0000;
const [NOP, STI, CLI, HLT, POPF] = [0x90, 0xfb, 0xfa, 0xf4, 0x9d];
const MOV_SS_AX = [0x8e, 0xd0];
const RAX = 0;
const IF = 0x200;
const VECTOR = 0x20;
const SINGLE_STEP = 1;
const NMI = 2;

interface Program {
  readonly code: readonly number[];
  readonly rflags?: number;
  readonly rax?: bigint;
  readonly interrupts?: readonly number[];
  readonly nmi?: boolean;
}

/** Runs to a HLT and gives vector and offset in the code of each delivery. */
function deliveries(p: Program): { log: [vector: number, offset: number][]; cpu: EventCpu } {
  const cpu = new EventCpu();
  cpu.write(CODE, p.code);
  cpu.set('rip', CODE);
  cpu.call('writeRflags', p.rflags ?? 2);
  cpu.call('updateMode');
  cpu.set('gpr', p.rax ?? 0x10n, RAX);
  for (const vector of p.interrupts ?? []) cpu.interrupt(vector);
  if (p.nmi) cpu.nmi();
  assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
  return { log: cpu.log.map((d) => [d.vector, Number(d.rip) - CODE]), cpu };
}
const logOf = (p: Program) => deliveries(p).log;

/** pushfq; or dword [rsp], TF; popfq: the instruction behind is the first that traps. */
const SET_TF = [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, POPF];
const AFTER_TF = SET_TF.length;
/** The same back, and HLT: a HLT that is stepped does not wait. */
const CLEAR_TF_HLT = [0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, POPF, HLT];

test('an interrupt that waits while IF is clear is not delivered', () => {
  assert.deepEqual(logOf({ code: [NOP, NOP, HLT], interrupts: [VECTOR] }), []);
});

test('an interrupt that waits is delivered before the first instruction when IF is set', () => {
  assert.deepEqual(logOf({ code: [NOP, HLT], rflags: IF, interrupts: [VECTOR] }), [[VECTOR, 0]]);
});

test('STI lets interrupts in after the instruction behind it', () => {
  assert.deepEqual(logOf({ code: [STI, NOP, NOP, HLT], interrupts: [VECTOR] }), [[VECTOR, 2]]);
});

test('STI with IF already set casts no shadow', () => {
  const cpu = new EventCpu();
  cpu.write(CODE, [STI, NOP, NOP, HLT]);
  cpu.set('rip', CODE);
  cpu.call('writeRflags', IF);
  cpu.set('runOne', 1);
  cpu.runFreely(1);
  cpu.interrupt(VECTOR);
  assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(cpu.log, [{ vector: VECTOR, rip: BigInt(CODE + 1) }]);
});

test('STI; NOP; CLI lets an interrupt in before CLI', () => {
  assert.deepEqual(logOf({ code: [STI, NOP, CLI, NOP, HLT], interrupts: [VECTOR] }), [[VECTOR, 2]]);
});

test('STI; CLI lets no interrupt in', () => {
  assert.deepEqual(logOf({ code: [STI, CLI, NOP, HLT], interrupts: [VECTOR] }), []);
});

test('STI; HLT: the interrupt comes in HLT, and returns behind it', () => {
  const { log } = deliveries({ code: [STI, HLT, HLT], interrupts: [VECTOR] });
  assert.deepEqual(log, [[VECTOR, 2]]);
});

test('MOV SS holds interrupts and NMI back for one instruction', () => {
  const code = [...MOV_SS_AX, NOP, NOP, HLT];
  const shadow = (p: Partial<Program>) => {
    const cpu = new EventCpu();
    cpu.write(CODE, code);
    cpu.set('rip', CODE);
    cpu.call('writeRflags', IF);
    cpu.set('gpr', 0x10n, RAX);
    cpu.set('runOne', 1);
    cpu.runFreely(1);
    assert.equal(cpu.get('rip'), BigInt(CODE + 2));
    if (p.nmi) cpu.nmi();
    for (const vector of p.interrupts ?? []) cpu.interrupt(vector);
    assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
    return cpu.log.map((d) => [d.vector, Number(d.rip) - CODE]);
  };
  assert.deepEqual(shadow({ interrupts: [VECTOR] }), [[VECTOR, 3]]);
  assert.deepEqual(shadow({ nmi: true }), [[NMI, 3]]);
});

test('NMI comes before an interrupt, and the interrupt at the first chance of the handler or behind it', () => {
  const log = logOf({ code: [NOP, HLT], rflags: IF, interrupts: [VECTOR], nmi: true });
  assert.deepEqual(log, [
    [NMI, 0],
    [VECTOR, 0],
  ]);
});

test('NMI is delivered with IF clear, and a second one waits for IRET', () => {
  const cpu = new EventCpu();
  cpu.write(CODE, [NOP, HLT]);
  cpu.set('rip', CODE);
  cpu.nmi();
  cpu.set('runOne', 1);
  cpu.runFreely(1);
  assert.equal(cpu.get('nmiBlocked'), 1);
  cpu.nmi();
  assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(cpu.log, [
    { vector: NMI, rip: BigInt(CODE) },
    { vector: NMI, rip: BigInt(CODE) },
  ]);
  assert.equal(cpu.get('nmiBlocked'), 0);
});

test('HLT waits; an interrupt wakes it only when IF is set, NMI always', () => {
  const halted = () => {
    const cpu = new EventCpu();
    cpu.write(CODE, [HLT, NOP, HLT]);
    cpu.set('rip', CODE);
    assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
    assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
    assert.equal(cpu.get('rip'), BigInt(CODE + 1));
    return cpu;
  };
  const masked = halted();
  masked.interrupt(VECTOR);
  assert.equal(masked.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(masked.log, []);
  assert.equal(masked.get('rip'), BigInt(CODE + 1));
  masked.call('writeRflags', IF);
  assert.equal(masked.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(masked.log, [{ vector: VECTOR, rip: BigInt(CODE + 1) }]);
  assert.equal(masked.get('rip'), BigInt(CODE + 3));
  const woken = halted();
  woken.nmi();
  assert.equal(woken.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(woken.log, [{ vector: NMI, rip: BigInt(CODE + 1) }]);
});

test('TF: a trap behind each instruction, the first behind the one after POPF', () => {
  const log = logOf({ code: [...SET_TF, NOP, NOP, NOP, ...CLEAR_TF_HLT] });
  assert.deepEqual(
    log.slice(0, 3),
    [1, 2, 3].map((n) => [SINGLE_STEP, AFTER_TF + n]),
  );
});

test('TF: DR6 tells of a single step, and the handler runs without TF', () => {
  const { cpu, log } = deliveries({
    code: [...SET_TF, NOP, ...CLEAR_TF_HLT],
  });
  assert.equal((cpu.get('dr', 6) as bigint) & 0xe00fn, 0x4000n);
  // NOP, PUSHF, AND, and the POPF that clears TF: it was set when that began.
  assert.deepEqual(
    log.map(([, offset]) => offset - AFTER_TF),
    [1, 2, 9, 10],
  );
});

test('TF: no trap behind MOV SS, and one behind STI', () => {
  const movSs = logOf({ code: [...SET_TF, ...MOV_SS_AX, NOP, NOP, ...CLEAR_TF_HLT] });
  assert.deepEqual(movSs.slice(0, 2), [
    [SINGLE_STEP, AFTER_TF + 3],
    [SINGLE_STEP, AFTER_TF + 4],
  ]);
  const sti = logOf({ code: [...SET_TF, STI, NOP, ...CLEAR_TF_HLT] });
  assert.deepEqual(sti.slice(0, 2), [
    [SINGLE_STEP, AFTER_TF + 1],
    [SINGLE_STEP, AFTER_TF + 2],
  ]);
});

test('TF: a repeated string instruction traps behind each iteration', () => {
  const cpu = new EventCpu();
  const code = [...SET_TF, 0xf3, 0xa4, NOP, ...CLEAR_TF_HLT];
  cpu.write(CODE, code);
  cpu.set('rip', CODE);
  cpu.set('gpr', 3n, 1);
  cpu.set('gpr', 0x20_0000n, 6);
  cpu.set('gpr', 0x20_1000n, 7);
  assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
  assert.deepEqual(
    cpu.log.slice(0, 4).map((d) => Number(d.rip) - CODE - AFTER_TF),
    [0, 0, 2, 3],
  );
});

test('a fault in the instruction behind TF is delivered without a trap of its own', () => {
  // UD2: the handler returns to it for ever, so look at the first delivery only.
  const cpu = new EventCpu();
  cpu.write(CODE, [...SET_TF, 0x0f, 0x0b]);
  cpu.set('rip', CODE);
  cpu.runFreely(20);
  assert.deepEqual(cpu.log[0], { vector: 6, rip: BigInt(CODE + AFTER_TF) });
});

test('an exit that the host asks for ends the run and is asked for once', () => {
  const cpu = new EventCpu();
  cpu.write(CODE, [NOP, NOP, HLT]);
  cpu.set('rip', CODE);
  cpu.set('events', 32);
  assert.equal(cpu.runFreely(1000), EXIT_REASON.event);
  assert.equal(cpu.get('rip'), BigInt(CODE));
  assert.equal(cpu.runFreely(1000), EXIT_REASON.halted);
});

test('code that runs freely is translated if MIMIC_TEST_ENGINE asks for it', () => {
  const { cpu } = deliveries({ code: [NOP, NOP, NOP, HLT] });
  assert.equal(cpu.loader.counters.regions > 0, process.env.MIMIC_TEST_ENGINE === 'regions');
});
