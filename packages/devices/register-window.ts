// A part of a device's registers, for parts whose registers lie at several places of the address
// map. Such a device numbers its offsets in one row and says in its header which offsets belong
// together.

import type { Device } from './device.ts';

/** The registers of `device` from `offset` on, as something a bus can map. */
export function registerWindow(
  device: Pick<Device, 'read' | 'write'>,
  offset: number,
): Pick<Device, 'read' | 'write'> {
  return {
    read: (at, size) => device.read(offset + at, size),
    write: (at, size, value) => device.write(offset + at, size, value),
  };
}
