// Far JMP, CALL and RET: direct, through call gates, task gates and TSS descriptors. SDM vol 2A CALL and JMP, vol 2B
// RET (pseudo-code); vol 3A §5.8 (privilege), §5.8.3.1 (64-bit call gates).

import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
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
  loadDescriptor,
  loadDescriptorHigh,
  markAccessed,
  SYSTEM_TYPE,
  systemTypeOf,
} from './descriptor.ts';
import { externalBit, raiseSelectorIf, raiseWithCode, selectorError, VECTOR } from './fault.ts';
import { updateMode } from './mode.ts';
import {
  behind,
  checkTarget,
  finishReturn,
  hasBadSize,
  loadReturnSegment,
  peek,
} from './return.ts';
import { ATTRIBUTES } from './segment-access.ts';
import { loadStackDescriptor } from './segment-load.ts';
import { isNonCanonical, setStackPointer, stackLinearInAnyMode, stackPointer } from './stack.ts';
import {
  frameMask,
  frameStore,
  loadInnerStack,
  loadTss64Stack,
  newFrame,
  pushOn,
} from './stack-frame.ts';
import { switchTask, TASK_SWITCH } from './task-switch.ts';

/** What far JMP and CALL have in common; CALL also returns. `bytes` is the operand size: 2, 4 or 8. */
const TRANSFER_PARAMS = { selector: 'i32', offset: 'i64', bytes: 'i32', nextRip: 'i64' } as const;

/** Stores CS and the return address for a call within the privilege level; gives the new stack pointer. */
function pushReturn(l: Lift, bytes: Value, nextRip: Value): Value {
  const wide = bytes.u64();
  const top = l.let(stackPointer(l).sub(wide.shl(1)));
  const write = (offset: Value, value: Value) => {
    const linear = l.call(stackLinearInAnyMode, offset, bytes, 1);
    l.run(frameStore, linear, bytes, value, 0);
  };
  write(l.let(top.add(wide)), l.get(S.segSelector, SEGMENT.cs).u64());
  write(top, nextRip);
  return top;
}

/** JMP and CALL in real and virtual-8086 mode. */
function legacyTransfer(isCall: boolean): FunctionRef {
  return fn(isCall ? 'callFarLegacy' : 'jumpFarLegacy', {
    params: TRANSFER_PARAMS,
    faults: true,
    build(l, { selector, offset, bytes, nextRip }) {
      l.raiseIf(offset.gtu(l.get(S.segLimit, SEGMENT.cs).u64()), VECTOR.gp, 0);
      if (isCall) setStackPointer(l, undefined, pushReturn(l, bytes, nextRip));
      l.run(installLegacyCode, selector);
      l.set(S.rip, offset);
      l.run(updateMode);
    },
  });
}

/** Loads CS at the current level and goes to `rip`. */
const enterCode: FunctionRef = fn('enterCode', {
  params: { selector: 'i32', descriptor: 'i64', rip: 'i64' },
  build(l, { selector, descriptor, rip }) {
    l.run(installSegment, SEGMENT.cs, selector.and(~3).or(l.get(S.cpl)), descriptor);
    l.set(S.rip, rip);
    l.run(updateMode);
  },
});

/** A JMP or CALL to a code segment named directly stays at its level. */
function checkDirect(l: Lift, selector: Value, attributes: Value): void {
  const cpl = l.get(S.cpl);
  const dpl = l.let(dplOf(attributes));
  const isForeign = selector.and(3).gtu(cpl).or(dpl.ne(cpl));
  const isForbidden = l.select(isConforming(attributes), dpl.gtu(cpl), isForeign);
  const isBad = isCode(attributes).eqz().or(isForbidden).or(hasBadSize(l, attributes));
  raiseSelectorIf(l, isBad, VECTOR.gp, selector);
  raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
}

function protectedTransfer(isCall: boolean): FunctionRef {
  return fn(isCall ? 'callFarProtected' : 'jumpFarProtected', {
    params: TRANSFER_PARAMS,
    faults: true,
    build(l, { selector, offset, bytes, nextRip }) {
      l.raiseIf(isNull(selector), VECTOR.gp, 0);
      const descriptor = l.call(loadDescriptor, selector, VECTOR.gp);
      const attributes = l.let(attributesOf(descriptor));
      l.if(isSystem(attributes), () => {
        l.run(systemTransfer(isCall), selector, descriptor, nextRip);
        l.return();
      });
      checkDirect(l, selector, attributes);
      l.run(checkTarget, descriptor, offset);
      l.run(markAccessed, selector, descriptor);
      const top = isCall ? pushReturn(l, bytes, nextRip) : undefined;
      if (top) setStackPointer(l, undefined, top);
      l.run(enterCode, selector, descriptor, offset);
    },
  });
}

/** Gates, task gates and TSS descriptors: CPL and RPL within the DPL, a type that exists, present. */
function systemTransferFunction(isCall: boolean): FunctionRef {
  return fn(isCall ? 'callSystem' : 'jumpSystem', {
    params: { selector: 'i32', descriptor: 'i64', nextRip: 'i64' },
    faults: true,
    build(l, { selector, descriptor, nextRip }) {
      const attributes = l.let(attributesOf(descriptor));
      const type = l.let(systemTypeOf(attributes));
      const dpl = l.let(dplOf(attributes));
      const isLong = l.let(isLongMode(l));
      const isGate32 = type.eq(SYSTEM_TYPE.callGate32);
      const isGate = l.let(isGate32.or(type.eq(SYSTEM_TYPE.callGate16).and(isLong.eqz())));
      const isTaskGate = l.let(type.eq(SYSTEM_TYPE.taskGate).and(isLong.eqz()));
      const isTss = l.let(type.and(7).eq(SYSTEM_TYPE.tss16).and(isLong.eqz()));
      const isKnown = isGate.or(isTaskGate).or(isTss);
      const isForbidden = l.get(S.cpl).gtu(dpl).or(selector.and(3).gtu(dpl));
      raiseSelectorIf(l, isKnown.eqz().or(isForbidden), VECTOR.gp, selector);
      raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
      const kind = isCall ? TASK_SWITCH.call : TASK_SWITCH.jump;
      l.if(isTss, () => {
        l.run(switchTask, selector, kind, nextRip);
        l.return();
      });
      l.if(isTaskGate, () => {
        l.run(switchTask, descriptor.shru(16).i32().and(0xffff), kind, nextRip);
        l.return();
      });
      l.run(throughGate(isCall), selector, descriptor, nextRip);
    },
  });
}
const SYSTEM_TRANSFERS = {
  jump: systemTransferFunction(false),
  call: systemTransferFunction(true),
};
const systemTransfer = (isCall: boolean) =>
  isCall ? SYSTEM_TRANSFERS.call : SYSTEM_TRANSFERS.jump;

interface Gate {
  /** Raw descriptor of the gate. */
  readonly descriptor: Value;
  readonly selector: Value;
  readonly target: Value;
  /** Size of what is pushed: 2, 4 or 8. */
  readonly bytes: Value;
}

/** The gate's target; in long mode the descriptor goes on for eight bytes more. */
function readGate(l: Lift, gateSelector: Value, descriptor: Value): Gate {
  const is16 = l.let(systemTypeOf(attributesOf(descriptor)).eq(SYSTEM_TYPE.callGate16));
  const isLong = l.let(isLongMode(l));
  const low = l.let(descriptor.and(0xffffn));
  const wide = l.let(low.or(descriptor.shru(32).and(0xffff_0000n)));
  const target = l.choose(
    isLong,
    'i64',
    () => {
      const high = l.call(loadDescriptorHigh, gateSelector, VECTOR.gp);
      // The upper half has a type field, too, which must be 0.
      raiseSelectorIf(l, high.shru(40).and(0x1fn).nez(), VECTOR.gp, gateSelector);
      return wide.or(high.shl(32));
    },
    () => l.select(is16, low, wide),
  );
  const bytes = l.let(l.select(isLong, l.i32(8), l.select(is16, l.i32(2), 4)));
  return { descriptor, selector: l.let(descriptor.shru(16).i32().and(0xffff)), target, bytes };
}

function throughGateFunction(isCall: boolean): FunctionRef {
  return fn(isCall ? 'callThroughGate' : 'jumpThroughGate', {
    params: { gateSelector: 'i32', gate: 'i64', nextRip: 'i64' },
    faults: true,
    build(l, p) {
      const g = readGate(l, p.gateSelector, p.gate);
      l.raiseIf(isNull(g.selector), VECTOR.gp, 0);
      const code = l.call(loadDescriptor, g.selector, VECTOR.gp);
      const attributes = l.let(attributesOf(code));
      const cpl = l.get(S.cpl);
      const dpl = l.let(dplOf(attributes));
      const isSameOnly = isCall ? l.i32(0) : isConforming(attributes).eqz().and(dpl.ne(cpl));
      const size = attributes.and(ATTRIBUTES.long | ATTRIBUTES.big);
      const hasWrongSize = isLongMode(l).and(size.ne(ATTRIBUTES.long));
      const isBad = isCode(attributes).eqz().or(dpl.gtu(cpl)).or(isSameOnly).or(hasWrongSize);
      raiseSelectorIf(l, isBad, VECTOR.gp, g.selector);
      raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, g.selector);
      if (isCall) {
        const isInner = isConforming(attributes).eqz().and(dpl.ltu(cpl));
        l.if(isInner, () => {
          l.if(
            isLongMode(l),
            () => callInnerLong(l, g, code, dpl, p.nextRip),
            () => callInner(l, g, code, dpl, p.nextRip),
          );
          l.return();
        });
      }
      l.run(checkTarget, code, g.target);
      l.run(markAccessed, g.selector, code);
      if (isCall) setStackPointer(l, undefined, pushReturn(l, g.bytes, p.nextRip));
      l.run(enterCode, g.selector, code, g.target);
    },
  });
}
const GATES = { jump: throughGateFunction(false), call: throughGateFunction(true) };
const throughGate = (isCall: boolean) => (isCall ? GATES.call : GATES.jump);

/** Copies a parameter from the caller's stack: slot `index` of `bytes` (2 or 4). */
const readParameter: FunctionRef = fn('readParameter', {
  params: { index: 'i32', bytes: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { index, bytes }) {
    const offset = stackPointer(l).add(index.mul(bytes).u64());
    const linear = l.call(stackLinearInAnyMode, offset, bytes, 0);
    const read = (size: AccessBytes) => l.load(size, linear).u64();
    l.return(
      l.choose(
        bytes.eq(2),
        'i64',
        () => read(2),
        () => read(4),
      ),
    );
  },
});

/** To a more privileged level on the stack that the TSS gives, with the gate's count of parameters. */
function callInner(l: Lift, g: Gate, code: Value, cpl: Value, nextRip: Value): void {
  l.run(loadInnerStack, cpl);
  const ss = l.get(S.innerSs);
  const esp = l.get(S.innerRsp);
  const stack = l.call(loadStackDescriptor, ss, cpl, VECTOR.ts);
  const frame = newFrame(l, { descriptor: stack, rsp: esp, error: selectorError(l, ss) });
  l.run(checkTarget, code, g.target);
  pushOn(l, frame, g.bytes, l.get(S.segSelector, SEGMENT.ss).u64());
  pushOn(l, frame, g.bytes, l.get(S.gpr, GPR.rsp));
  const left = l.var('i32', g.descriptor.shru(32).i32().and(0x1f));
  l.while(
    () => left.get().nez(),
    () => {
      const index = l.let(left.get().sub(1));
      pushOn(l, frame, g.bytes, l.call(readParameter, index, g.bytes));
      left.set(index);
    },
  );
  pushOn(l, frame, g.bytes, l.get(S.segSelector, SEGMENT.cs).u64());
  pushOn(l, frame, g.bytes, nextRip);
  l.run(markAccessed, g.selector, code);
  l.run(installSegment, SEGMENT.ss, ss, stack);
  const mask = frameMask(l, frame.attributes);
  l.set(S.gpr, frame.pointer.get().and(mask).or(esp.and(mask.not())), GPR.rsp);
  l.set(S.cpl, cpl);
  l.run(enterCode, g.selector, code, g.target);
}

/** The same in long mode: a null SS, eight-byte slots, no parameters. */
function callInnerLong(l: Lift, g: Gate, code: Value, cpl: Value, nextRip: Value): void {
  const rsp = l.call(loadTss64Stack, cpl);
  l.unlikely(isNonCanonical(rsp), () => raiseWithCode(l, VECTOR.ss, l.let(externalBit(l))));
  l.run(checkTarget, code, g.target);
  l.run(markAccessed, g.selector, code);
  const store = (slot: number, value: Value) => l.run(frameStore, rsp.sub(8 * slot), 8, value, 1);
  store(1, l.get(S.segSelector, SEGMENT.ss).u64());
  store(2, l.get(S.gpr, GPR.rsp));
  store(3, l.get(S.segSelector, SEGMENT.cs).u64());
  store(4, nextRip);
  l.run(installNull, SEGMENT.ss, cpl);
  l.set(S.gpr, rsp.sub(32n), GPR.rsp);
  l.set(S.cpl, cpl);
  l.run(enterCode, g.selector, code, g.target);
}

function transfer(isCall: boolean): FunctionRef {
  const legacy = legacyTransfer(isCall);
  const inProtected = protectedTransfer(isCall);
  return fn(isCall ? 'callFar' : 'jumpFar', {
    params: TRANSFER_PARAMS,
    faults: true,
    build(l, { selector, offset, bytes, nextRip }) {
      l.if(
        l.get(S.legacyMode),
        () => l.run(legacy, selector, offset, bytes, nextRip),
        () => l.run(inProtected, selector, offset, bytes, nextRip),
      );
    },
  });
}

/** Leave the new `S.rip`. */
export const jumpFar: FunctionRef = transfer(false);
export const callFar: FunctionRef = transfer(true);

/** RET far; `release` bytes of parameters are dropped from both stacks. */
function returnFarFunction(bits: 16 | 32 | 64): FunctionRef {
  return fn(`returnFar${bits}`, {
    params: { release: 'i32' },
    faults: true,
    build(l, { release }) {
      const rip = peek(l, bits, 0);
      const cs = l.let(peek(l, bits, 1).i32().and(0xffff));
      const inner = l.let(behind(l, bits, 2).add(release.u64()));
      l.if(l.get(S.legacyMode), () => {
        l.raiseIf(rip.gtu(l.get(S.segLimit, SEGMENT.cs).u64()), VECTOR.gp, 0);
        setStackPointer(l, undefined, inner);
        l.run(installLegacyCode, cs);
        l.set(S.rip, rip);
        l.run(updateMode);
        l.return();
      });
      const descriptor = l.call(loadReturnSegment, cs);
      l.run(checkTarget, descriptor, rip);
      const ss = l.var('i32', -1);
      const rsp = l.var('i64', inner);
      l.if(cs.and(3).ne(l.get(S.cpl)), () => {
        // The outer stack pointer lies behind the inner stack's parameters.
        const bytes = (bits / 8) as AccessBytes;
        const at = (slot: number) => {
          const offset = stackPointer(l)
            .add(release.u64())
            .add(bytes * slot);
          return l.let(l.load(bytes, l.call(stackLinearInAnyMode, offset, bytes, 0)).u64());
        };
        rsp.set(at(2).add(release.u64()));
        ss.set(at(3).i32().and(0xffff));
      });
      l.run(finishReturn, cs, descriptor, rip, ss.get(), rsp.get(), 0, 0);
    },
  });
}

/** By operand size. */
export const RETURN_FAR = {
  16: returnFarFunction(16), 32: returnFarFunction(32), 64: returnFarFunction(64),
} as const; // biome-ignore format: a list
