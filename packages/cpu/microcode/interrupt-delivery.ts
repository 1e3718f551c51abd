// Calling the handler of an interrupt or exception through the interrupt vector table or the IDT, in every mode.
// SDM vol 2A, INT n (the pseudo-code that all events share); vol 3A §6.12 and §6.14 (64-bit), §20.1.4 (real mode).
// Who calls it: exception.ts. Task gates go on to task-switch.ts.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  attributesOf,
  dplOf,
  installLegacyCode,
  installNull,
  installSegment,
  isCode,
  isConforming,
  isLongMode,
  isNull,
  isPresent,
  isSystem,
  limitOf,
  loadDescriptor,
  markAccessed,
  SYSTEM_TYPE,
  systemTypeOf,
} from './descriptor.ts';
import { externalBit, raiseSelectorIf, raiseWithCode, selectorError, VECTOR } from './fault.ts';
import { LEGACY_MODE, updateCode, updateMode } from './mode.ts';
import { ATTRIBUTES } from './segment-access.ts';
import { loadStackDescriptor } from './segment-load.ts';
import { isNonCanonical, push, setStackPointer } from './stack.ts';
import {
  currentFrame,
  type Frame,
  frameMask,
  frameStore,
  loadInnerStack,
  loadTss64Stack,
  newFrame,
  pushOn,
} from './stack-frame.ts';
import { switchToGateTask } from './task-switch.ts';

/** What an event brings along; the same parameters in all functions here. */
const EVENT_PARAMS = {
  vector: 'i32',
  /** 1 for INT n, INT3 and INTO: the gate's DPL is checked. */
  software: 'i32',
  hasCode: 'i32',
  code: 'i32',
  /** What is pushed: the handler's return address, and RFLAGS. */
  rip: 'i64',
  flags: 'i32',
} as const;

interface Event {
  readonly vector: Value;
  readonly software: Value;
  readonly hasCode: Value;
  readonly code: Value;
  readonly rip: Value;
  readonly flags: Value;
}

/** Error code that names an IDT entry. */
function gateError(l: Lift, vector: Value): Value {
  return vector.shl(3).or(2).or(externalBit(l));
}

/** RFLAGS in the handler: TF, NT, RF and VM are clear, IF too behind an interrupt gate. */
function handlerFlags(l: Lift, isTrapGate: Value): void {
  const cleared = RFLAGS.tf | RFLAGS.nt | RFLAGS.rf | RFLAGS.vm;
  const mask = l.select(isTrapGate, l.i32(~cleared), ~(cleared | RFLAGS.if));
  l.set(S.rflags, l.get(S.rflags).and(mask));
}

/** Real mode: IVT, no error code. */
const deliverReal: FunctionRef = fn('deliverReal', {
  params: EVENT_PARAMS,
  faults: true,
  build(l, { vector, rip, flags }) {
    const offset = l.let(vector.shl(2));
    l.raiseIf(offset.add(3).gtu(l.get(S.idtrLimit)), VECTOR.gp, 0);
    const linear = l.get(S.idtrBase).add(offset.u64()).and(0xffff_ffffn);
    const target = l.let(l.load(4, linear, { system: true }));
    const before = l.get(S.gpr, GPR.rsp);
    const words = [flags, l.get(S.segSelector, SEGMENT.cs), rip.i32()];
    // Each push moves SP, so that wrapping is the stack's business; a fault puts SP back.
    for (const word of words) l.run(pushWord, word, before);
    l.run(installLegacyCode, target.shru(16));
    l.set(S.rip, target.and(0xffff).u64());
    l.set(S.rflags, l.get(S.rflags).and(~(RFLAGS.if | RFLAGS.tf | RFLAGS.ac | RFLAGS.rf)));
    l.run(updateMode);
  },
});

const tryPushWord: FunctionRef = fn('tryPushWord', {
  params: { value: 'i32' },
  faults: true,
  build: (l, { value }) => push(l, undefined, 16, value),
});

/** Pushes 16 bits; a fault restores rSP to `before`. */
const pushWord: FunctionRef = fn('pushWord', {
  params: { value: 'i32', before: 'i64' },
  faults: true,
  build(l, { value, before }) {
    l.attempt(tryPushWord, value);
    l.unlikely(l.get(S.fault), () => {
      l.set(S.gpr, before, GPR.rsp);
      l.exit('fault');
    });
  },
});

/** Checks that all IDT gates share, once the entry is known to lie in the table. */
function checkGate(l: Lift, e: Event, attributes: Value, isValidType: Value): void {
  l.unlikely(isSystem(attributes).and(isValidType).eqz(), () =>
    raiseWithCode(l, VECTOR.gp, gateError(l, e.vector)),
  );
  const isForbidden = e.software.and(dplOf(attributes).ltu(l.get(S.cpl)));
  l.unlikely(isForbidden, () => raiseWithCode(l, VECTOR.gp, gateError(l, e.vector)));
  l.unlikely(isPresent(attributes).eqz(), () =>
    raiseWithCode(l, VECTOR.np, gateError(l, e.vector)),
  );
}

/** The handler's code segment (raw descriptor), checked up to its presence. */
function loadHandlerSegment(l: Lift, selector: Value): { descriptor: Value; attributes: Value } {
  l.unlikely(isNull(selector), () => raiseWithCode(l, VECTOR.gp, externalBit(l)));
  const descriptor = l.call(loadDescriptor, selector, VECTOR.gp);
  const attributes = l.let(attributesOf(descriptor));
  const isInvalid = isCode(attributes)
    .eqz()
    .or(dplOf(attributes).gtu(l.get(S.cpl)));
  raiseSelectorIf(l, isInvalid, VECTOR.gp, selector);
  raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
  return { descriptor, attributes };
}

/** Long mode: 16-byte gates, aligned frames of eight-byte slots, IST. */
const deliverLong: FunctionRef = fn('deliverLong', {
  params: EVENT_PARAMS,
  faults: true,
  build(l, e) {
    const offset = l.let(e.vector.shl(4));
    l.unlikely(offset.add(15).gtu(l.get(S.idtrLimit)), () =>
      raiseWithCode(l, VECTOR.gp, gateError(l, e.vector)),
    );
    const entry = l.let(l.get(S.idtrBase).add(offset.u64()));
    const low = l.let(l.load(8, entry, { system: true }));
    const high = l.let(l.load(8, entry.add(8n), { system: true }));
    const gate = l.let(low.shru(32).i32());
    checkGate(l, e, gate, systemTypeOf(gate).or(1).eq(SYSTEM_TYPE.trapGate32));
    const selector = l.let(low.shru(16).i32().and(0xffff));
    const target = l.let(low.and(0xffffn).or(low.shru(32).and(0xffff_0000n)).or(high.shl(32)));
    const { descriptor, attributes } = loadHandlerSegment(l, selector);
    const size = attributes.and(ATTRIBUTES.long | ATTRIBUTES.big);
    raiseSelectorIf(l, size.ne(ATTRIBUTES.long), VECTOR.gp, selector);
    const oldCpl = l.get(S.cpl);
    const cpl = l.let(l.select(isConforming(attributes), oldCpl, dplOf(attributes)));
    const isInner = l.let(cpl.ltu(oldCpl));
    const ist = l.let(gate.and(7));
    const usesTss = ist.nez().or(isInner);
    const rsp = l.choose(
      usesTss,
      'i64',
      () => l.call(loadTss64Stack, l.select(ist, ist.add(3), cpl)),
      () => l.get(S.gpr, GPR.rsp),
    );
    l.unlikely(isNonCanonical(rsp), () => raiseWithCode(l, VECTOR.ss, l.let(externalBit(l))));
    l.unlikely(isNonCanonical(target), () => raiseWithCode(l, VECTOR.gp, l.let(externalBit(l))));
    l.run(markAccessed, selector, descriptor);
    const top = pushLongFrame(l, e, l.let(rsp.and(~15n)), isInner);
    l.set(S.gpr, top, GPR.rsp);
    l.if(isInner, () => l.run(installNull, SEGMENT.ss, cpl));
    l.run(installSegment, SEGMENT.cs, selector.and(~3).or(cpl), descriptor);
    l.set(S.cpl, cpl);
    l.set(S.rip, target);
    handlerFlags(l, gate.and(0x100));
    l.run(updateCode);
  },
});

/** Writes SS, RSP, RFLAGS, CS, RIP and the error code below an aligned address; gives the new RSP. */
function pushLongFrame(l: Lift, e: Event, aligned: Value, system: Value): Value {
  const store = (slot: number, value: Value) =>
    l.run(frameStore, aligned.sub(8 * slot), 8, value, system);
  store(1, l.get(S.segSelector, SEGMENT.ss).u64());
  store(2, l.get(S.gpr, GPR.rsp));
  store(3, e.flags.u64());
  store(4, l.get(S.segSelector, SEGMENT.cs).u64());
  store(5, e.rip);
  l.if(e.hasCode, () => store(6, e.code.u64()));
  return l.let(aligned.sub(l.select(e.hasCode, l.i64(48), l.i64(40))));
}

/** Protected and virtual-8086 mode: 8-byte gates of 16 or 32 bits, task gates. */
const deliverProtected: FunctionRef = fn('deliverProtected', {
  params: EVENT_PARAMS,
  faults: true,
  build(l, e) {
    const offset = l.let(e.vector.shl(3));
    l.unlikely(offset.add(7).gtu(l.get(S.idtrLimit)), () =>
      raiseWithCode(l, VECTOR.gp, gateError(l, e.vector)),
    );
    const entry = l.get(S.idtrBase).add(offset.u64()).and(0xffff_ffffn);
    const raw = l.let(l.load(8, entry, { system: true }));
    const gate = l.let(raw.shru(32).i32());
    const type = l.let(systemTypeOf(gate));
    const isTask = l.let(type.eq(SYSTEM_TYPE.taskGate));
    checkGate(l, e, gate, isTask.or(type.and(6).eq(SYSTEM_TYPE.interruptGate16)));
    const selector = l.let(raw.shru(16).i32().and(0xffff));
    l.if(isTask, () => {
      l.run(switchToGateTask, selector, e.hasCode, e.code, e.rip, e.flags);
      l.return();
    });
    const bytes = l.let(l.select(type.and(8), l.i32(4), l.i32(2)));
    const wide = raw.and(0xffffn).or(raw.shru(32).and(0xffff_0000n));
    const target = l.let(l.select(type.and(8), wide, raw.and(0xffffn)));
    const { descriptor, attributes } = loadHandlerSegment(l, selector);
    const cpl = l.get(S.cpl);
    const dpl = l.let(dplOf(attributes));
    const isInner = isConforming(attributes).eqz().and(dpl.ltu(cpl));
    const isVirtual = l.let(e.flags.and(RFLAGS.vm).nez());
    // From virtual-8086 mode only handlers at level 0 can be called.
    const isWrong = isVirtual.and(isInner.eqz().or(dpl.nez()));
    raiseSelectorIf(l, isWrong, VECTOR.gp, selector);
    const h = { descriptor, selector, target, bytes };
    l.if(
      isInner,
      () => enterInner(l, e, h, dpl, isVirtual),
      () => enterSame(l, e, h),
    );
    handlerFlags(l, type.and(1));
    l.run(updateMode);
  },
});

interface HandlerEntry {
  readonly descriptor: Value;
  readonly selector: Value;
  readonly target: Value;
  /** Size of a slot in the frame: 2 or 4. */
  readonly bytes: Value;
}

/** EFLAGS, CS, EIP and the error code, which every frame ends with. */
function pushReturn(l: Lift, e: Event, h: HandlerEntry, frame: Frame): void {
  const limit = limitOf(l, h.descriptor);
  pushOn(l, frame, h.bytes, e.flags.u64());
  pushOn(l, frame, h.bytes, l.get(S.segSelector, SEGMENT.cs).u64());
  pushOn(l, frame, h.bytes, e.rip);
  l.if(e.hasCode, () => pushOn(l, frame, h.bytes, e.code.u64()));
  l.unlikely(h.target.gtu(limit.u64()), () => raiseWithCode(l, VECTOR.gp, l.let(externalBit(l))));
  l.run(markAccessed, h.selector, h.descriptor);
}

/** The same privilege level: the frame goes to the current stack. */
function enterSame(l: Lift, e: Event, h: HandlerEntry): void {
  const frame = currentFrame(l);
  pushReturn(l, e, h, frame);
  setStackPointer(l, undefined, frame.pointer.get());
  l.run(installSegment, SEGMENT.cs, h.selector.and(~3).or(l.get(S.cpl)), h.descriptor);
  l.set(S.rip, h.target);
}

/** A more privileged level: the TSS says which stack; from virtual-8086 mode the data segments are saved, too. */
function enterInner(l: Lift, e: Event, h: HandlerEntry, cpl: Value, isVirtual: Value): void {
  l.run(loadInnerStack, cpl);
  const ss = l.get(S.innerSs);
  const esp = l.get(S.innerRsp);
  const stack = l.call(loadStackDescriptor, ss, cpl, VECTOR.ts);
  const frame = newFrame(l, { descriptor: stack, rsp: esp, error: selectorError(l, ss) });
  const pushSegment = (segment: number) =>
    pushOn(l, frame, h.bytes, l.get(S.segSelector, segment).u64());
  const data = [SEGMENT.gs, SEGMENT.fs, SEGMENT.ds, SEGMENT.es];
  l.if(isVirtual, () => data.forEach(pushSegment));
  pushSegment(SEGMENT.ss);
  pushOn(l, frame, h.bytes, l.get(S.gpr, GPR.rsp));
  pushReturn(l, e, h, frame);
  l.if(isVirtual, () => {
    for (const segment of data) l.run(installNull, segment, 0);
  });
  l.run(installSegment, SEGMENT.ss, ss, stack);
  const mask = frameMask(l, frame.attributes);
  l.set(S.gpr, frame.pointer.get().and(mask).or(esp.and(mask.not())), GPR.rsp);
  l.run(installSegment, SEGMENT.cs, h.selector.and(~3).or(cpl), h.descriptor);
  l.set(S.cpl, cpl);
  l.set(S.rip, h.target);
}

/** Calls the handler of a vector. Raises what delivery met; then only memory below the stack has changed. */
export const deliverVector: FunctionRef = fn('deliverVector', {
  params: EVENT_PARAMS,
  faults: true,
  build(l, e) {
    const args = [e.vector, e.software, e.hasCode, e.code, e.rip, e.flags];
    l.if(
      l.get(S.legacyMode).eq(LEGACY_MODE.real),
      () => l.run(deliverReal, ...args),
      () =>
        l.if(
          isLongMode(l),
          () => l.run(deliverLong, ...args),
          () => l.run(deliverProtected, ...args),
        ),
    );
    // The instruction that was stepped is over; a trap for it would hit the handler.
    l.set(S.stepping, 0);
    l.set(S.interruptShadow, 0);
  },
});
