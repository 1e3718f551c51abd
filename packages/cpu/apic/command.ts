// The interrupt command register: what a write to it sends. SDM vol 3A §11.6.1.

import { type DeliveryMode, get, type InterruptMessage } from '@mimic/base';
import { BROADCAST_32, DELIVERY, ICR, SHORTHAND, VECTOR_MIN } from './registers.ts';

export interface Command {
  /** One of SHORTHAND. */
  readonly shorthand: number;
  readonly message: InterruptMessage;
}

/** What the register's low half asks for; nothing for what has no effect, an error for a vector below 16. */
export function decodeCommand(
  icrLow: number,
  destination: number,
): Command | 'illegalVector' | undefined {
  const deliveryMode = get(icrLow, ICR.deliveryMode);
  const vector = get(icrLow, ICR.vector);
  const shorthand = get(icrLow, ICR.shorthand);
  const isDeassert = get(icrLow, ICR.level) === 1 && get(icrLow, ICR.assert) === 0;
  // 3 and 7 are reserved; INIT level de-assert only synchronised arbitration ids.
  if (deliveryMode === 3 || deliveryMode === DELIVERY.extInt) return undefined;
  if (deliveryMode === DELIVERY.init && isDeassert) return undefined;
  if (deliveryMode <= DELIVERY.lowestPriority && vector < VECTOR_MIN) return 'illegalVector';
  const isDirect = shorthand === SHORTHAND.none;
  return {
    shorthand,
    message: {
      destination: isDirect ? destination : BROADCAST_32,
      logical: isDirect && get(icrLow, ICR.logical) === 1,
      deliveryMode: deliveryMode as DeliveryMode,
      vector,
      level: false,
    },
  };
}
