// Registers by the names that people use, for debugger, monitor and API.

import { at, type Field, GPR, S, SEGMENT, X87_SIGN_EXPONENT } from './layout.ts';

/** Where a register lives: a field, the element, and how many bits of it count. */
export interface RegisterPlace {
  readonly field: Field;
  readonly index: number;
  readonly bits: number;
  /** x87 registers have their upper 16 bits here. */
  readonly high?: Field;
}

const places = new Map<string, RegisterPlace>();

for (const [name, index] of Object.entries(GPR))
  places.set(name, { field: S.gpr, index, bits: 64 });
places.set('rip', { field: S.rip, index: 0, bits: 64 });
// 'rflags' is computed; it stands in the list for its place in the order.
places.set('rflags', { field: S.rflags, index: 0, bits: 32 });
for (const [name, index] of Object.entries(SEGMENT)) {
  places.set(name, { field: S.segSelector, index, bits: 16 });
  places.set(`${name}.base`, { field: S.segBase, index, bits: 64 });
  places.set(`${name}.limit`, { field: S.segLimit, index, bits: 32 });
  places.set(`${name}.attributes`, { field: S.segAttributes, index, bits: 32 });
}
for (const name of ['gdtr', 'idtr'] as const) {
  places.set(`${name}.base`, { field: S[`${name}Base`], index: 0, bits: 64 });
  places.set(`${name}.limit`, { field: S[`${name}Limit`], index: 0, bits: 32 });
}
for (const name of ['cr0', 'cr2', 'cr3', 'cr4', 'efer', 'xcr0'] as const)
  places.set(name, { field: S[name], index: 0, bits: 64 });
for (const index of [0, 1, 2, 3, 6, 7]) places.set(`dr${index}`, { field: S.dr, index, bits: 64 });
places.set('cpl', { field: S.cpl, index: 0, bits: 32 });
places.set('mxcsr', { field: S.mxcsr, index: 0, bits: 32 });
for (let index = 0; index < 16; index++)
  places.set(`xmm${index}`, { field: S.xmm, index, bits: 128 });
for (const [name, field] of Object.entries({
  fcw: S.x87Control,
  fsw: S.x87Status,
  ftw: S.x87Tags,
})) {
  places.set(name, { field, index: 0, bits: 16 });
}
for (let index = 0; index < 8; index++)
  places.set(`st${index}`, { field: S.x87Significand, index, bits: 80, high: X87_SIGN_EXPONENT });

/** Names in the order to print them; others name registers that these are part of. */
export const REGISTER_NAMES: readonly string[] = [...places.keys()];

for (let index = 0; index < 16; index++)
  places.set(`ymm${index}`, { field: S.xmm, index, bits: 256 });

export function registerPlace(name: string): RegisterPlace | undefined {
  return places.get(name);
}

/** Offset of a place in the vCPU's state. */
export function placeOffset(place: RegisterPlace): number {
  return at(place.field, place.index);
}
