// The receive filter of the virtio network device: mode bits and address tables, set through the
// control queue. Virtio 1.2 §5.1.6.5.1, §5.1.6.5.2. As on a hardware card, the guest's bridge asks
// for promiscuous mode.

import type { ReadableStream } from './chain.ts';

export const MAC_BYTES = 6;
/** Addresses kept of each table; with more than that, all frames of the kind pass. */
export const FILTER_ADDRESSES_MAX = 64;

export interface ReceiveFilter {
  mac: Uint8Array;
  /** Which frames pass whatever their address is. */
  promiscuous: boolean;
  allMulticast: boolean;
  unicast: Uint8Array[];
  multicast: Uint8Array[];
  /** The driver's table was too long to keep. */
  unicastOverflow: boolean;
  multicastOverflow: boolean;
}

/** §5.1.6.5.1: VIRTIO_NET_CTRL_RX commands that are in VIRTIO_NET_F_CTRL_RX. */
const RX = { promiscuous: 0, allMulticast: 1 } as const;

/** §5.1.6.5.1: a driver that sets no filter gets everything meant for it, and all multicasts. */
export function resetFilter(mac: Uint8Array): ReceiveFilter {
  return {
    mac: mac.slice(),
    promiscuous: false,
    allMulticast: true,
    unicast: [],
    multicast: [],
    unicastOverflow: false,
    multicastOverflow: false,
  };
}

export function acceptsFrame(filter: ReceiveFilter, frame: Uint8Array): boolean {
  if (filter.promiscuous) return true;
  if (isAddress(frame, filter.mac)) return true;
  if ((frame[0]! & 1) === 0) {
    return filter.unicastOverflow || filter.unicast.some((address) => isAddress(frame, address));
  }
  if (filter.allMulticast || filter.multicastOverflow) return true;
  const broadcast = frame.subarray(0, MAC_BYTES).every((byte) => byte === 0xff);
  return broadcast || filter.multicast.some((address) => isAddress(frame, address));
}

/** Each of these takes a command's data; false if it is unknown or too short. */
export function setReceiveMode(
  filter: ReceiveFilter,
  command: number,
  data: ReadableStream,
): boolean {
  const on = data.readNumber(1);
  if (on === undefined) return false;
  if (command === RX.promiscuous) filter.promiscuous = on !== 0;
  else if (command === RX.allMulticast) filter.allMulticast = on !== 0;
  else return false;
  return true;
}

export function setAddress(filter: ReceiveFilter, data: ReadableStream): boolean {
  const mac = new Uint8Array(MAC_BYTES);
  if (data.read(mac) !== MAC_BYTES) return false;
  filter.mac = mac;
  return true;
}

/** Two tables, unicast and multicast, each a u32 count and that many addresses. */
export function setAddressTable(filter: ReceiveFilter, data: ReadableStream): boolean {
  const unicast = readTable(data);
  const multicast = unicast && readTable(data);
  if (!unicast || !multicast) return false;
  filter.unicast = unicast.addresses;
  filter.unicastOverflow = unicast.overflow;
  filter.multicast = multicast.addresses;
  filter.multicastOverflow = multicast.overflow;
  return true;
}

function readTable(
  data: ReadableStream,
): { addresses: Uint8Array[]; overflow: boolean } | undefined {
  const count = data.readNumber(4);
  if (count === undefined || count * MAC_BYTES > data.remaining) return undefined;
  if (count > FILTER_ADDRESSES_MAX) {
    data.skip(count * MAC_BYTES);
    return { addresses: [], overflow: true };
  }
  const addresses: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    const address = new Uint8Array(MAC_BYTES);
    data.read(address);
    addresses.push(address);
  }
  return { addresses, overflow: false };
}

function isAddress(frame: Uint8Array, address: Uint8Array): boolean {
  return address.every((byte, index) => frame[index] === byte);
}
