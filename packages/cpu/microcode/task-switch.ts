// Hardware task switches between 16- and 32-bit TSSs: JMP, CALL, IRET, interrupts through task gates. SDM vol 3A ch. 7
// (§7.3 the steps, table 7-1 the checks). Whatever can fault before the new task is in force does so with the old one
// unchanged; what is wrong with the new task's segments is the new task's fault.

import { ARITHMETIC_FLAGS, RFLAGS, readFlags, writeArithmeticFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR0 } from '../state/control-bits.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { writeCr3 } from './control-register.ts';
import { DR6 } from './debug-register.ts';
import {
  attributesOf,
  baseOf,
  changeDescriptorType,
  descriptorAddress,
  dplOf,
  installLegacy,
  installSegment,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isSystem,
  limitOf,
  loadDescriptor,
  markAccessed,
  SYSTEM_TYPE,
  systemTypeOf,
} from './descriptor.ts';
import { raiseSelectorIf, raiseWithCode, selectorError, VECTOR } from './fault.ts';
import { probeWrite } from './memory.ts';
import { updateMode, updateSegments } from './mode.ts';
import { checkDataSegment, loadStackDescriptor } from './segment-load.ts';
import { setStackPointer } from './stack.ts';
import { currentFrame, isTss32, pushOn } from './stack-frame.ts';

/** What asked for the switch. */
export const TASK_SWITCH = { jump: 0, call: 1, interrupt: 2, iret: 3 } as const;

/** Offsets in a TSS; general registers and segments follow one another. SDM vol 3A figures 7-2 and 7-10. */
const TSS32 = {
  cr3: 0x1c,
  eip: 0x20,
  eflags: 0x24,
  gpr: 0x28,
  segments: 0x48,
  ldt: 0x60,
  trap: 0x64,
  slot: 4,
  limitMin: 0x67,
} as const;
const TSS16 = {
  eip: 0x0e,
  eflags: 0x10,
  gpr: 0x12,
  segments: 0x22,
  ldt: 0x2a,
  slot: 2,
  limitMin: 0x2b,
} as const;
/** Segment registers in a TSS: ES, CS, SS, DS, and with 32 bits FS, GS: their encoding order. */
const segmentCount = (is32: boolean) => (is32 ? 6 : 4);
/** EFLAGS bits that a TSS can set: all that exist. */
const EFLAGS_VALID = 0x3f_7fd5;
const BUSY = 2;
/** L0–L3 and LE of DR7 are the old task's. */
const DR7_LOCAL = 0x155n;

const system = { system: true } as const;

function tssField(l: Lift, base: Value, offset: number): Value {
  return l.let(base.add(offset).and(0xffff_ffffn));
}

/** Proves that both ends of a range in a TSS can be written (it spans two pages at most). */
function probeRange(l: Lift, base: Value, first: number, last: number): void {
  const tlb = l.get(S.tlbSystem);
  l.call(probeWrite, tssField(l, base, first), 1, tlb);
  l.call(probeWrite, tssField(l, base, last), 1, tlb);
}

/** Saves the running task's registers in its TSS. */
function saveFunction(is32: boolean): FunctionRef {
  const tss = is32 ? TSS32 : TSS16;
  const bytes = tss.slot;
  return fn(is32 ? 'saveTask32' : 'saveTask16', {
    params: { rip: 'i64', flags: 'i32' },
    faults: true,
    build(l, { rip, flags }) {
      const base = l.get(S.segBase, SEGMENT.tr);
      const store = (offset: number, value: Value) =>
        l.store(bytes, tssField(l, base, offset), value, system);
      probeRange(l, base, tss.eip, tss.segments + segmentCount(is32) * bytes - 1);
      store(tss.eip, rip.i32());
      store(tss.eflags, flags);
      for (let n = 0; n < 8; n++) store(tss.gpr + n * bytes, l.get(S.gpr, n).i32());
      for (let n = 0; n < segmentCount(is32); n++) {
        // The upper halves of the selectors' slots are not written.
        l.store(2, tssField(l, base, tss.segments + n * bytes), l.get(S.segSelector, n), system);
      }
    },
  });
}
const saveTask = { 16: saveFunction(false), 32: saveFunction(true) } as const;

/** Touches all of a TSS that `loadTask` will read. */
function checkReadableFunction(is32: boolean): FunctionRef {
  return fn(is32 ? 'checkTask32' : 'checkTask16', {
    params: { base: 'i64' },
    faults: true,
    build(l, { base }) {
      l.load(1, tssField(l, base, 0), system);
      l.load(1, tssField(l, base, is32 ? TSS32.limitMin : TSS16.limitMin), system);
    },
  });
}
const checkReadable = {
  16: checkReadableFunction(false),
  32: checkReadableFunction(true),
} as const;

/** Takes over general registers, EIP, EFLAGS and selectors from the TSS in TR; segments become unusable until checked. */
function loadFunction(is32: boolean): FunctionRef {
  const tss = is32 ? TSS32 : TSS16;
  const bytes = tss.slot;
  return fn(is32 ? 'loadTask32' : 'loadTask16', {
    params: { nested: 'i32' },
    faults: true,
    build(l, { nested }) {
      const base = l.get(S.segBase, SEGMENT.tr);
      const read = (offset: number) => l.let(l.load(bytes, tssField(l, base, offset), system));
      const rip = read(tss.eip);
      const flags = read(tss.eflags);
      const gpr = Array.from({ length: 8 }, (_, n) => read(tss.gpr + n * bytes));
      const selectors = Array.from({ length: segmentCount(is32) }, (_, n) =>
        l.let(l.load(2, tssField(l, base, tss.segments + n * bytes), system)),
      );
      const ldt = l.let(l.load(2, tssField(l, base, tss.ldt), system));
      const cr3 = is32 ? read(TSS32.cr3) : undefined;
      const trap = is32 ? read(TSS32.trap) : undefined;
      // A 16-bit TSS leaves ones in the upper halves, as processors do.
      for (const [n, value] of gpr.entries()) {
        l.set(S.gpr, (is32 ? value : value.or(0xffff_0000 | 0)).u64(), n);
      }
      for (let n = 0; n < 6; n++) {
        l.set(S.segSelector, selectors[n] ?? 0, n);
        l.set(S.segAttributes, 0, n);
      }
      l.set(S.segSelector, ldt, SEGMENT.ldtr);
      l.set(S.segAttributes, 0, SEGMENT.ldtr);
      const image = l.let(flags.and(EFLAGS_VALID).or(l.select(nested, l.i32(RFLAGS.nt), 0)));
      l.set(S.rflags, image.and(~ARITHMETIC_FLAGS).or(RFLAGS.fixed1));
      writeArithmeticFlags(l, image);
      // A fault from here on is the new task's: the engine finds rip relative to the running instruction.
      l.set(S.ripBase, l.get(S.ripBase).add(rip.u64()).sub(l.get(S.instructionRip)));
      l.set(S.rip, rip.u64());
      l.set(S.cpl, l.select(image.and(RFLAGS.vm), l.i32(3), selectors[SEGMENT.cs]!.and(3)));
      l.set(S.dr, l.get(S.dr, 7).and(~DR7_LOCAL), 7);
      if (trap) l.if(trap.and(1), () => l.set(S.debugPending, l.get(S.debugPending).or(DR6.bt)));
      l.run(updateMode);
      const isPaging = l.get(S.cr0).i32().and(CR0.pg);
      if (cr3) l.if(isPaging, () => l.run(writeCr3, cr3.u64()));
    },
  });
}
const loadTask = { 16: loadFunction(false), 32: loadFunction(true) } as const;

/** LDTR of the new task: #TS(selector) unless it is null or a present LDT in the GDT. */
const loadTaskLdt: FunctionRef = fn('loadTaskLdt', {
  params: {},
  faults: true,
  build(l) {
    const selector = l.get(S.segSelector, SEGMENT.ldtr);
    l.if(isNull(selector), () => l.return());
    raiseSelectorIf(l, selector.and(4).nez(), VECTOR.ts, selector);
    const descriptor = l.call(loadDescriptor, selector, VECTOR.ts);
    const attributes = l.let(attributesOf(descriptor));
    const isLdt = isSystem(attributes).and(systemTypeOf(attributes).eq(SYSTEM_TYPE.ldt));
    raiseSelectorIf(l, isLdt.and(isPresent(attributes)).eqz(), VECTOR.ts, selector);
    l.set(S.segAttributes, attributes, SEGMENT.ldtr);
    l.set(S.segLimit, limitOf(l, descriptor), SEGMENT.ldtr);
    l.set(S.segBase, baseOf(descriptor), SEGMENT.ldtr);
  },
});

const loadTaskCode: FunctionRef = fn('loadTaskCode', {
  params: {},
  faults: true,
  build(l) {
    const selector = l.get(S.segSelector, SEGMENT.cs);
    raiseSelectorIf(l, isNull(selector), VECTOR.ts, selector);
    const descriptor = l.call(loadDescriptor, selector, VECTOR.ts);
    const attributes = l.let(attributesOf(descriptor));
    const dpl = l.let(dplOf(attributes));
    const rpl = selector.and(3);
    const isForbidden = l.select(isConforming(attributes), dpl.gtu(rpl), dpl.ne(rpl));
    raiseSelectorIf(l, isCode(attributes).eqz().or(isForbidden), VECTOR.ts, selector);
    raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
    l.run(markAccessed, selector, descriptor);
    l.run(installSegment, SEGMENT.cs, selector, descriptor);
    l.run(updateMode);
  },
});

/** CS, SS and the data segments of the new task, from the selectors that are in place. */
const loadTaskSegments: FunctionRef = fn('loadTaskSegments', {
  params: {},
  faults: true,
  build(l) {
    l.run(loadTaskLdt);
    l.if(l.get(S.rflags).and(RFLAGS.vm), () => {
      for (let n = 0; n < 6; n++) l.run(installLegacy, n, l.get(S.segSelector, n));
      l.run(updateMode);
      l.return();
    });
    l.run(loadTaskCode);
    const ss = l.get(S.segSelector, SEGMENT.ss);
    const stack = l.call(loadStackDescriptor, ss, l.get(S.cpl), VECTOR.ts);
    l.run(installSegment, SEGMENT.ss, ss, stack);
    l.run(updateMode);
    for (const segment of [SEGMENT.ds, SEGMENT.es, SEGMENT.fs, SEGMENT.gs]) {
      const selector = l.get(S.segSelector, segment);
      l.if(isNull(selector).eqz(), () => {
        const descriptor = l.call(loadDescriptor, selector, VECTOR.ts);
        checkDataSegment(l, selector, l.let(attributesOf(descriptor)), VECTOR.ts);
        l.run(markAccessed, selector, descriptor);
        l.run(installSegment, segment, selector, descriptor);
        l.run(updateSegments);
      });
    }
  },
});

/** Proves that the type byte of a TSS descriptor can be written. */
function probeDescriptor(l: Lift, selector: Value): void {
  const linear = l.call(descriptorAddress, selector, VECTOR.gp, 8);
  l.call(probeWrite, linear.add(5n), 1, l.get(S.tlbSystem));
}

/** The new task's TSS descriptor, after the checks of table 7-1 up to its limit. */
function loadTss(l: Lift, selector: Value, kind: Value): { descriptor: Value; is32: Value } {
  const isReturn = l.let(kind.eq(TASK_SWITCH.iret));
  const vector = l.let(l.select(isReturn, l.i32(VECTOR.ts), VECTOR.gp));
  raiseSelectorIf(l, selector.and(4).nez(), vector, selector);
  const descriptor = l.call(loadDescriptor, selector, vector);
  const attributes = l.let(attributesOf(descriptor));
  const type = l.let(systemTypeOf(attributes));
  const wanted = l.select(isReturn, l.i32(SYSTEM_TYPE.tss16Busy), SYSTEM_TYPE.tss16);
  const isTss = isSystem(attributes).and(type.and(7).eq(wanted));
  raiseSelectorIf(l, isTss.eqz(), vector, selector);
  raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
  const is32 = l.let(type.and(8));
  const minimum = l.select(is32, l.i32(TSS32.limitMin), TSS16.limitMin);
  raiseSelectorIf(l, limitOf(l, descriptor).ltu(minimum), VECTOR.ts, selector);
  return { descriptor, is32 };
}

/** Switches to the task of a TSS selector; `rip` and `flags` are what the old task continues with. */
const changeTask: FunctionRef = fn('changeTask', {
  params: { selector: 'i32', kind: 'i32', rip: 'i64', flags: 'i32' },
  faults: true,
  build(l, { selector, kind, rip, flags }) {
    const { descriptor, is32 } = loadTss(l, selector, kind);
    const base = l.let(baseOf(descriptor));
    const old = l.get(S.segSelector, SEGMENT.tr);
    const nests = l.let(kind.eq(TASK_SWITCH.call).or(kind.eq(TASK_SWITCH.interrupt)));
    const either = (wide: Value, run: (bits: 16 | 32) => void) =>
      l.if(
        wide,
        () => run(32),
        () => run(16),
      );
    either(is32, (bits) => l.run(checkReadable[bits], base));
    l.if(nests, () => probeRange(l, base, 0, 1));
    probeDescriptor(l, selector);
    l.if(nests.eqz(), () => probeDescriptor(l, old));
    const isReturn = kind.eq(TASK_SWITCH.iret);
    const saved = l.select(isReturn, flags.and(~RFLAGS.nt), flags);
    either(isTss32(l), (bits) => l.run(saveTask[bits], rip, saved));
    l.if(
      nests,
      () => l.store(2, base, old, system),
      () => l.run(changeDescriptorType, old, BUSY, 0),
    );
    l.if(kind.ne(TASK_SWITCH.iret), () => l.run(changeDescriptorType, selector, 0, BUSY));
    l.set(S.segSelector, selector, SEGMENT.tr);
    l.set(S.segAttributes, attributesOf(descriptor).or(BUSY << 8), SEGMENT.tr);
    l.set(S.segLimit, limitOf(l, descriptor), SEGMENT.tr);
    l.set(S.segBase, base, SEGMENT.tr);
    l.set(S.cr0, l.get(S.cr0).or(BigInt(CR0.ts)));
    either(is32, (bits) => l.run(loadTask[bits], nests));
    l.run(loadTaskSegments);
  },
});

/** JMP or CALL to a TSS or task gate: `kind` is of TASK_SWITCH. */
export const switchTask: FunctionRef = fn('switchTask', {
  params: { selector: 'i32', kind: 'i32', nextRip: 'i64' },
  faults: true,
  build: (l, { selector, kind, nextRip }) =>
    l.run(changeTask, selector, kind, nextRip, readFlags(l)),
});

/** An event through a task gate; its error code goes to the new task's stack. */
export const switchToGateTask: FunctionRef = fn('switchToGateTask', {
  params: { selector: 'i32', hasCode: 'i32', code: 'i32', rip: 'i64', flags: 'i32' },
  faults: true,
  build(l, { selector, hasCode, code, rip, flags }) {
    l.run(changeTask, selector, TASK_SWITCH.interrupt, rip, flags);
    l.if(hasCode, () => {
      const frame = currentFrame(l);
      pushOn(l, frame, l.let(l.select(isTss32(l), l.i32(4), 2)), code.u64());
      setStackPointer(l, undefined, frame.pointer.get());
    });
  },
});

/** IRET with NT set: back to the task that the TSS links to. Raises #TS. */
export const returnFromTask: FunctionRef = fn('returnFromTask', {
  params: { nextRip: 'i64' },
  faults: true,
  build(l, { nextRip }) {
    const tr = l.get(S.segSelector, SEGMENT.tr);
    const isShort = l.get(S.segLimit, SEGMENT.tr).ltu(1);
    l.unlikely(isShort, () => raiseWithCode(l, VECTOR.ts, l.let(selectorError(l, tr))));
    const link = l.let(l.load(2, tssField(l, l.get(S.segBase, SEGMENT.tr), 0), system));
    l.run(changeTask, link, TASK_SWITCH.iret, nextRip, readFlags(l));
  },
});
