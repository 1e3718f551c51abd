// What the parts of a machine need of each other, as the smallest interfaces that say it.
// They stand here, below processor and devices, because both sides speak them and neither imports the other.

/** A signal line into an interrupt controller or the processor. Setting it to the level it has is a no-op. */
export interface IrqLine {
  set(high: boolean): void;
}

/** Takes the bytes that a device sends out. Never blocks, never refuses; who needs back pressure queues. */
export interface ByteSink {
  write(bytes: Uint8Array): void;
}

/** Guest time: nanoseconds since the machine was started, not counting pauses. Never runs backwards. */
export interface Clock {
  now(): number;
  /** A timer that calls `expired` once when `now()` has reached its deadline, between two guest instructions. */
  timer(expired: () => void): Timer;
}

export interface Timer {
  /** Replaces the deadline. A deadline in the past expires as soon as possible, never inside this call. */
  arm(deadlineNs: number): void;
  cancel(): void;
  /** The pending deadline, or undefined. */
  readonly deadlineNs: number | undefined;
}

/**
 * The guest's physical RAM as devices see it (DMA). Addresses are guest-physical, at most 2^52, and come
 * from the guest, so each call checks them: outside RAM (MMIO, ROM, beyond the end) is `false` or `undefined`,
 * and then nothing was read or written. Writes mark pages dirty and drop code cached from them.
 */
export interface GuestMemory {
  /** Bytes of RAM in the machine (not the highest address: there is a hole below 1 MiB). */
  readonly sizeBytes: number;
  read(gpa: number, into: Uint8Array): boolean;
  write(gpa: number, from: Uint8Array): boolean;
  /** Little-endian; undefined outside RAM. */
  readU16(gpa: number): number | undefined;
  readU32(gpa: number): number | undefined;
  readU64(gpa: number): bigint | undefined;
  writeU16(gpa: number, value: number): boolean;
  writeU32(gpa: number, value: number): boolean;
  writeU64(gpa: number, value: bigint): boolean;
  /**
   * The bytes themselves, for large transfers: a view over shared memory, valid until the caller returns to
   * the event loop. Whoever wrote into it calls `written` for the same range afterwards.
   */
  view(gpa: number, lengthBytes: number): Uint8Array | undefined;
  written(gpa: number, lengthBytes: number): void;
}

/** Delivery modes of an APIC message. SDM vol 3A table 11-18 ("ICR"), numbers as encoded. */
export type DeliveryMode = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

/** An interrupt message on its way to local APICs, from an I/O APIC, an MSI write or another local APIC. */
export interface InterruptMessage {
  /** APIC id, or logical destination; 8 bits (xAPIC) or 32 bits (x2APIC). */
  readonly destination: number;
  readonly logical: boolean;
  readonly deliveryMode: DeliveryMode;
  readonly vector: number;
  /** Level-triggered messages set TMR, so that their EOI is broadcast to the I/O APICs. */
  readonly level: boolean;
}

/** Where interrupt messages go: the local APICs of all processors. */
export interface InterruptSink {
  send(message: InterruptMessage): void;
}
