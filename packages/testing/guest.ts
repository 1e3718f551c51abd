// A guest that a test drives through its serial console, the same on Mimic and on QEMU: what QEMU shows is what a
// suite may expect. MIMIC_TEST_EMULATOR=qemu runs the suites that use `startGuest` there, to check the suites.

import type { Accel, CpuModelName, ExpectMatch, ExpectOptions } from '@mimic/machine';

export interface GuestOptions {
  /** Path of a kernel image. */
  readonly kernel: string;
  readonly initrd?: Uint8Array;
  /** Put behind `console=ttyS0`. */
  readonly append?: string;
  /** Default 256. */
  readonly memoryMib?: number;
  /** What the processor can do; default: as for any machine. */
  readonly cpu?: CpuModelName;
  /** Default 1. */
  readonly cpus?: number;
  /** Mimic's engine; default: as for any machine. */
  readonly accel?: Accel;
  /** Paths of raw images; the first is /dev/vda. */
  readonly disks?: readonly string[];
}

/** 'power-off' is the guest's own doing by ACPI; anything else says what happened instead. */
export type GuestEnd = 'power-off' | 'reset' | 'stopped' | (string & {});

export interface Guest extends AsyncDisposable {
  /** Waits for text on the serial console and moves past it. */
  expect(pattern: string | RegExp, options?: ExpectOptions): Promise<ExpectMatch>;
  /** Types a line and presses Enter. */
  sendLine(line?: string): Promise<void>;
  /** All that the guest has sent. */
  readonly output: string;
  readonly exited: Promise<GuestEnd>;
  /** Pulls the plug; also at the end of an `await using`. */
  stop(): Promise<void>;
}

export type Emulator = 'mimic' | 'qemu';

export function emulatorUnderTest(): Emulator {
  return process.env.MIMIC_TEST_EMULATOR === 'qemu' ? 'qemu' : 'mimic';
}

export async function startGuest(
  options: GuestOptions,
  emulator: Emulator = emulatorUnderTest(),
): Promise<Guest> {
  // Loaded when needed: tests of single packages import this package too, and need no machine.
  if (emulator === 'qemu') return (await import('./qemu-guest.ts')).startQemuGuest(options);
  return await (await import('./mimic-guest.ts')).startMimicGuest(options);
}
