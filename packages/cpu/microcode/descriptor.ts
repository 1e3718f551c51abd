// Segment and gate descriptors in GDT and LDT: finding, reading, taking apart, marking. SDM vol 3A §3.4.5, §3.5.
// A raw descriptor is the 64 bits in the table.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { EFER } from '../state/control-bits.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { raiseSelectorIf } from './fault.ts';
import { probeWrite } from './memory.ts';
import { writeRam } from './physical-memory.ts';
import { ATTRIBUTES } from './segment-access.ts';

/** Types of system descriptors, bits 11–8 of the high word. SDM vol 3A table 3-2. */
export const SYSTEM_TYPE = {
  tss16: 1, ldt: 2, tss16Busy: 3, callGate16: 4, taskGate: 5, interruptGate16: 6, trapGate16: 7,
  tss32: 9, tss32Busy: 11, callGate32: 12, interruptGate32: 14, trapGate32: 15,
} as const; // biome-ignore format: a list

/** What `S.segAttributes` keeps of the high word. */
const ATTRIBUTE_MASK = 0x00f0_ff00;

export function isNull(selector: Value): Value {
  return selector.and(0xfffc).eqz();
}
/** Hidden attributes of a raw descriptor. */
export function attributesOf(descriptor: Value): Value {
  return descriptor.shru(32).i32().and(ATTRIBUTE_MASK);
}
export function dplOf(attributes: Value): Value {
  return attributes.shru(13).and(3);
}
export function systemTypeOf(attributes: Value): Value {
  return attributes.shru(8).and(0xf);
}
export function isSystem(attributes: Value): Value {
  return attributes.and(ATTRIBUTES.s).eqz();
}
export function isPresent(attributes: Value): Value {
  return attributes.and(ATTRIBUTES.present).nez();
}
export function isCode(attributes: Value): Value {
  return attributes.and(ATTRIBUTES.s | ATTRIBUTES.code).eq(ATTRIBUTES.s | ATTRIBUTES.code);
}
export function isConforming(attributes: Value): Value {
  const bits = ATTRIBUTES.s | ATTRIBUTES.code | ATTRIBUTES.expandDown;
  return attributes.and(bits).eq(bits);
}
export function isWritableData(attributes: Value): Value {
  const mask = ATTRIBUTES.s | ATTRIBUTES.code | ATTRIBUTES.writable;
  return attributes.and(mask).eq(ATTRIBUTES.s | ATTRIBUTES.writable);
}
export function isReadable(attributes: Value): Value {
  const unreadable = attributes.and(ATTRIBUTES.code | ATTRIBUTES.writable).eq(ATTRIBUTES.code);
  return attributes.and(ATTRIBUTES.s).nez().and(unreadable.eqz());
}
/** Base, 32 bits. */
export function baseOf(descriptor: Value): Value {
  return descriptor.shru(16).and(0xff_ffffn).or(descriptor.shru(32).and(0xff00_0000n));
}
/** Limit in bytes (i32, unsigned), granularity applied. */
export function limitOf(l: Lift, descriptor: Value): Value {
  const raw = l.let(descriptor.and(0xffffn).or(descriptor.shru(32).and(0xf_0000n)).i32());
  const isPages = attributesOf(descriptor).and(ATTRIBUTES.granularity);
  return l.select(isPages, raw.shl(12).or(0xfff), raw);
}

/** In long mode: IA-32e, whatever the code segment's size. */
export function isLongMode(l: Lift): Value {
  return l.get(S.efer).i32().and(EFER.lma).nez();
}

/** Linear address of a selector's descriptor of `bytes` (8 or 16); beyond the table's limit raises `vector`(selector). */
export const descriptorAddress: FunctionRef = fn('descriptorAddress', {
  params: { selector: 'i32', vector: 'i32', bytes: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector, vector, bytes }) {
    const offset = l.let(selector.and(0xfff8));
    const last = l.let(offset.add(bytes).sub(1));
    const base = l.var('i64', 0n);
    l.if(
      selector.and(4),
      () => {
        const isMissing = l.get(S.segAttributes, SEGMENT.ldtr).eqz();
        const isBeyond = last.gtu(l.get(S.segLimit, SEGMENT.ldtr));
        raiseSelectorIf(l, isMissing.or(isBeyond), vector, selector);
        base.set(l.get(S.segBase, SEGMENT.ldtr));
      },
      () => {
        raiseSelectorIf(l, last.gtu(l.get(S.gdtrLimit)), vector, selector);
        base.set(l.get(S.gdtrBase));
      },
    );
    const linear = l.let(base.get().add(offset.u64()));
    l.return(l.select(isLongMode(l), linear, linear.and(0xffff_ffffn)));
  },
});

/** The raw descriptor of a selector. */
export const loadDescriptor: FunctionRef = fn('loadDescriptor', {
  params: { selector: 'i32', vector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector, vector }) {
    const linear = l.call(descriptorAddress, selector, vector, 8);
    l.return(l.load(8, linear, { system: true }));
  },
});

/** The upper eight bytes of a 16-byte system descriptor of long mode. */
export const loadDescriptorHigh: FunctionRef = fn('loadDescriptorHigh', {
  params: { selector: 'i32', vector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector, vector }) {
    const linear = l.call(descriptorAddress, selector, vector, 16);
    l.return(l.load(8, linear.add(8n), { system: true }));
  },
});

/**
 * Replaces the bits `clear` of the type byte by `set`, with a locked access where the byte is in plain RAM.
 * The selector is known to lie in its table.
 */
export const changeDescriptorType: FunctionRef = fn('changeDescriptorType', {
  params: { selector: 'i32', clear: 'i32', set: 'i32' },
  faults: true,
  build(l, { selector, clear, set }) {
    const linear = l.let(l.call(descriptorAddress, selector, 13, 8).add(5n));
    const host = l.call(probeWrite, linear, 1, l.get(S.tlbSystem));
    const changed = (type: Value) => type.and(clear.not()).or(set);
    l.if(host.eqz(), () => {
      const type = l.let(l.load(1, linear, { system: true }));
      l.store(1, linear, changed(type), { system: true });
      l.return();
    });
    writeRam(l, host, 1, () =>
      l.loop((again) => {
        const type = l.loadRaw('i32.load8_u', host);
        const seen = l.atomic('i32.atomic.rmw8.cmpxchg_u', host, 0, type, l.let(changed(type)));
        l.if(seen.ne(type), again);
      }),
    );
  },
});

/** Sets the accessed bit of a code or data segment's descriptor if it is clear. */
export const markAccessed: FunctionRef = fn('markAccessed', {
  params: { selector: 'i32', descriptor: 'i64' },
  faults: true,
  build(l, { selector, descriptor }) {
    const isAccessed = attributesOf(descriptor).and(ATTRIBUTES.accessed);
    l.if(isAccessed.eqz(), () => l.run(changeDescriptorType, selector, 0, 1));
  },
});

/** Fills a segment register from a raw descriptor of a code or data segment. */
export const installSegment: FunctionRef = fn('installSegment', {
  params: { segment: 'i32', selector: 'i32', descriptor: 'i64' },
  build(l, { segment, selector, descriptor }) {
    const word = l.let(segment.shl(2));
    l.setAt(S.segSelector, word, selector.and(0xffff));
    l.setAt(S.segAttributes, word, attributesOf(descriptor).or(ATTRIBUTES.accessed));
    l.setAt(S.segLimit, word, limitOf(l, descriptor));
    l.setAt(S.segBase, segment.shl(3), baseOf(descriptor));
  },
});

/** Makes a segment register unusable; its base goes to 0, as on Intel processors. */
export const installNull: FunctionRef = fn('installNull', {
  params: { segment: 'i32', selector: 'i32' },
  build(l, { segment, selector }) {
    const word = l.let(segment.shl(2));
    l.setAt(S.segSelector, word, selector.and(0xffff));
    l.setAt(S.segAttributes, word, l.i32(0));
    l.setAt(S.segLimit, word, l.i32(0));
    l.setAt(S.segBase, segment.shl(3), l.i64(0n));
  },
});

/** Attributes of a segment loaded in virtual-8086 mode: present, DPL 3, writable data, accessed. */
const VIRTUAL_8086_ATTRIBUTES = 0xf300;

/** Loads a segment register as real and virtual-8086 mode do. In real mode limit and attributes stay. */
export const installLegacy: FunctionRef = fn('installLegacy', {
  params: { segment: 'i32', selector: 'i32' },
  build(l, { segment, selector }) {
    const word = l.let(segment.shl(2));
    const value = l.let(selector.and(0xffff));
    l.setAt(S.segSelector, word, value);
    l.setAt(S.segBase, segment.shl(3), value.shl(4).u64());
    l.if(l.get(S.legacyMode).eq(2), () => {
      l.setAt(S.segAttributes, word, l.i32(VIRTUAL_8086_ATTRIBUTES));
      l.setAt(S.segLimit, word, l.i32(0xffff));
    });
  },
});

/** CS as real mode loads it: also writable again, after a protected-mode code segment. */
export const installLegacyCode: FunctionRef = fn('installLegacyCode', {
  params: { selector: 'i32' },
  build(l, { selector }) {
    l.run(installLegacy, SEGMENT.cs, selector);
    l.if(l.get(S.legacyMode).eq(1), () => {
      const size = l.get(S.segAttributes, SEGMENT.cs).and(ATTRIBUTES.big | ATTRIBUTES.granularity);
      l.set(S.segAttributes, size.or(0x9300), SEGMENT.cs);
    });
  },
});
