// IA32_APIC_BASE: where the xAPIC page lies and which of its modes the local APIC is in.
// SDM vol 3A figure 11-5, §11.12.1, §11.12.5.

import { APIC_BASE } from './registers.ts';
import type { ApicMode, LocalApicState } from './state.ts';

/** The register's value. */
export function apicBase(state: LocalApicState, isBootstrap: boolean): bigint {
  let value = BigInt(state.baseAddress);
  if (isBootstrap) value |= APIC_BASE.bootstrap;
  if (state.mode !== 'disabled') value |= APIC_BASE.enabled;
  if (state.mode === 'x2apic') value |= APIC_BASE.extended;
  return value;
}

/** The mode that a write leads to; undefined for reserved bits and for transitions that figure 11-27 does not have. */
export function modeAfterWrite(
  from: ApicMode,
  value: bigint,
  physicalAddressBits: number,
): ApicMode | undefined {
  const known = APIC_BASE.bootstrap | APIC_BASE.extended | APIC_BASE.enabled;
  if (value & 0xfffn & ~known || value >> BigInt(physicalAddressBits)) return undefined;
  const isEnabled = (value & APIC_BASE.enabled) !== 0n;
  const isExtended = (value & APIC_BASE.extended) !== 0n;
  if (isExtended && !isEnabled) return undefined;
  const to = isExtended ? 'x2apic' : isEnabled ? 'xapic' : 'disabled';
  if (from === 'x2apic' && to === 'xapic') return undefined;
  if (from === 'disabled' && to === 'x2apic') return undefined;
  return to;
}
