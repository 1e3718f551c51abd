export { AssertionError, assert, unreachable } from './assert.ts';
export { type BitField, bit, bits, get, set } from './bits.ts';
export { fromHex, loadLittleEndian, storeLittleEndian, toHex } from './bytes.ts';
export { OperatingError } from './errors.ts';
export { ManualClock, TimerQueue } from './virtual-clock.ts';
export type {
  ByteSink,
  Clock,
  DeliveryMode,
  GuestMemory,
  InterruptMessage,
  InterruptSink,
  IrqLine,
  Timer,
} from './wires.ts';
