// Runs a 64 KiB firmware image on a whole virtual processor from its reset vector, with a log on port 0xE9, as the
// system test programs in testing/system expect it.

import { ManualClock } from '@mimic/base';
import type { ExitReason, Vcpu } from '../vcpu.ts';
import { type LoneVcpu, makeLoneVcpu } from './lone-vcpu.ts';

const FIRMWARE_BASE = 0xf0000;
const LOG_PORT = 0xe9;
/** The test device: asks for the interrupt that is written, for an NMI; counts its reads. */
const DEVICE = { interrupt: 0x500, nmi: 0x501, counter: 0x502 } as const;
/** What wakes a HLT with interrupts on. */
const WAKE_VECTOR = 0x52;
const RFLAGS_IF = 0x200n;
/** Far more than any of the programs needs. */
const INSTRUCTIONS_MAX = 2_000_000;

export interface FirmwareRun {
  readonly log: string;
  /** Why it stopped: 'halted' at its last HLT, 'shutdown' after a triple fault. */
  readonly reason: ExitReason;
  readonly vcpu: Vcpu;
}

/** `look` is called behind each instruction. */
export function runFirmware(
  image: Uint8Array,
  options: { readonly instructionsMax?: number; readonly look?: (lone: LoneVcpu) => void } = {},
): FirmwareRun {
  let log = '';
  let count = 0;
  const asked: number[] = [];
  const ask = (vector: number) => {
    asked.push(vector);
    vcpu.intr.set(true);
  };
  const bus = {
    portRead: (port: number) => (port === DEVICE.counter ? 0x61 + (count++ % 26) : 0xffff_ffff),
    portWrite: (port: number, _size: number, value: number) => {
      if (port === LOG_PORT) log += String.fromCharCode(value);
      else if (port === DEVICE.interrupt) ask(value);
      else if (port === DEVICE.nmi) vcpu.nmi();
    },
    memoryRead: () => 0xffff_ffff,
    memoryWrite: () => undefined,
    acknowledgeInterrupt: () => {
      const vector = asked.shift() ?? 0xff;
      vcpu.intr.set(asked.length > 0);
      return vector;
    },
    endOfInterrupt: () => undefined,
  };
  const clock = new ManualClock();
  const lone = makeLoneVcpu({ bus, clock, random: () => 4n });
  const { vcpu, ram } = lone;
  ram.write(FIRMWARE_BASE, image);
  vcpu.apic.setVirtualWireMode();
  vcpu.writeRegister('cs.base', BigInt(FIRMWARE_BASE));
  let reason: ExitReason = 'budget';
  const { look, instructionsMax = INSTRUCTIONS_MAX } = options;
  const slice = look ? 1 : 10_000;
  for (let n = 0; n < instructionsMax && reason === 'budget'; n += slice) {
    clock.advance(slice);
    reason = look ? vcpu.step() : vcpu.run(slice);
    look?.(lone);
    if (reason === 'halted' && (vcpu.readRegister('rflags') ?? 0n) & RFLAGS_IF) {
      ask(WAKE_VECTOR);
      reason = 'budget';
    }
  }
  return { log, reason, vcpu };
}
