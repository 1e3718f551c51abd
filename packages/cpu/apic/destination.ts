// Whether an interrupt message is for a local APIC: physical and logical destinations. SDM vol 3A §11.6.2, §11.12.10.

import type { InterruptMessage } from '@mimic/base';
import { BROADCAST_8, BROADCAST_32 } from './registers.ts';
import type { LocalApicState } from './state.ts';

/** What decides whether a message is for an APIC. */
export type Addressed = Pick<
  LocalApicState,
  'mode' | 'id' | 'logicalDestination' | 'destinationFormat'
>;

/** LDR. In x2APIC mode it follows from the id: cluster in the upper half, a bit for the member in the lower. */
export function logicalDestination(state: Addressed): number {
  const { mode, id } = state;
  if (mode !== 'x2apic') return state.logicalDestination;
  return ((id >>> 4) << 16) | (1 << (id & 15));
}

export function isDestination(state: Addressed, message: InterruptMessage): boolean {
  const { mode, id, destinationFormat } = state;
  const { destination } = message;
  if (mode === 'disabled') return false;
  if (destination === BROADCAST_32) return true;
  if (!message.logical) return destination === id || destination === BROADCAST_8;
  const logical = logicalDestination(state);
  if (mode === 'x2apic') {
    return destination >>> 16 === logical >>> 16 && (destination & logical & 0xffff) !== 0;
  }
  const own = logical >>> 24;
  // Flat model: a bit for each processor. Cluster model: four bits of cluster, four of members.
  if (destinationFormat >>> 28 === 0xf) return (destination & own) !== 0;
  const isCluster = destination >> 4 === own >> 4 || destination >> 4 === 0xf;
  return isCluster && (destination & own & 0xf) !== 0;
}
