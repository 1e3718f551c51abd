// The list of devices that contract.test.ts puts through the device contract, one factory each,
// with wires that record what the device does to them. Imported by tests only. Add a line for every
// new device.

import type { ByteSink, IrqLine, ManualClock } from '@mimic/base';
import { AcpiPm } from './acpi-pm.ts';
import { CoprocessorError } from './coprocessor-error.ts';
import { DebugPort } from './debug-port.ts';
import type { Device } from './device.ts';
import { Hpet } from './hpet.ts';
import { I8042 } from './i8042.ts';
import { Ioapic } from './ioapic.ts';
import { Pic8259 } from './pic8259.ts';
import { Pit8254 } from './pit8254.ts';
import { PostCode } from './post-code.ts';
import { ResetControl } from './reset-control.ts';
import { Rtc } from './rtc.ts';
import { SystemControlPort } from './system-control-port.ts';
import { Uart16550 } from './uart16550.ts';

/** A line that remembers its level and counts its rising edges. */
export class RecordingLine implements IrqLine {
  high = false;
  rises = 0;

  set(high: boolean): void {
    if (high && !this.high) this.rises += 1;
    this.high = high;
  }
}

/** Pseudo-random numbers from 0 to `limit` - 1, the same in every run. */
export type Random = (limit: number) => number;

/** One device on a test bench. */
export interface Bench {
  readonly device: Device;
  /** Output lines, by name. */
  readonly lines: Readonly<Record<string, RecordingLine>>;
  /** What else the device did to its wires since `forget`, in a form that can be compared. */
  observed?(): unknown;
  forget?(): void;
  /** Does something to the device's inputs (a key, a packet, a line), if it has any. */
  stimulate?(random: Random): void;
}

export interface ContractCase {
  readonly name: string;
  /** Offsets that hold registers; accesses go a little beyond. */
  readonly sizeBytes: number;
  /** A new device. Benches made with one clock see the same time. */
  create(clock: ManualClock): Bench;
}

/** Keeps the last things that happened to the wires. */
export class Recorder implements ByteSink {
  #entries: unknown[] = [];

  add(entry: unknown): void {
    this.#entries = [...this.#entries, entry].slice(-64);
  }

  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.add(byte);
  }

  entries(): unknown[] {
    return this.#entries;
  }

  forget(): void {
    this.#entries = [];
  }
}

export const CONTRACT_CASES: readonly ContractCase[] = [
  {
    name: 'pit8254',
    sizeBytes: 4,
    create(clock) {
      const irq = new RecordingLine();
      const device = new Pit8254({ irq, clock });
      return {
        device,
        lines: { irq },
        observed: () => device.output(2),
        stimulate: (random) => {
          device.setGate(random(3), random(2) === 1);
          // Starts counter 0 with a short count: random ones are rarely loaded.
          device.setGate(0, true);
          device.write(3, 1, 0x30 | (random(6) << 1));
          device.write(0, 1, random(256));
          device.write(0, 1, random(4));
        },
      };
    },
  },
  {
    name: 'system-control-port',
    sizeBytes: 1,
    create(clock) {
      const timer = { setGate: () => {}, output: () => clock.now() % 2 === 0 };
      return { device: new SystemControlPort({ timer, clock }), lines: {} };
    },
  },
  {
    name: 'pic8259',
    sizeBytes: 6,
    create() {
      const intr = new RecordingLine();
      const device = new Pic8259({ intr });
      let vector = 0;
      return {
        device,
        lines: { intr },
        observed: () => vector,
        forget: () => {
          vector = 0;
        },
        stimulate: (random) => {
          if (random(3) === 0) vector = device.acknowledge();
          else device.line(random(16)).set(random(2) === 1);
        },
      };
    },
  },
  {
    name: 'ioapic',
    sizeBytes: 0x44,
    create() {
      const recorder = new Recorder();
      const device = new Ioapic({ sink: { send: (message) => recorder.add(message) } });
      return {
        device,
        lines: {},
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
        stimulate: (random) => {
          // Programs a pin too: random accesses alone rarely select an entry.
          device.write(0, 4, random(0x40));
          device.pin(random(24)).set(random(2) === 1);
          device.endOfInterrupt(random(256));
        },
      };
    },
  },
  {
    name: 'uart16550',
    sizeBytes: 8,
    create(clock) {
      const irq = new RecordingLine();
      const recorder = new Recorder();
      const device = new Uart16550({
        irq,
        out: recorder,
        clock,
        roomAvailable: () => recorder.add('room'),
      });
      return {
        device,
        lines: { irq },
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
        stimulate: (random) => {
          // 8N1 at 115200 with a trigger level of 14, so that the timeout is near.
          device.write(3, 1, 0x80);
          device.write(0, 2, 1);
          device.write(3, 1, 0x03);
          device.write(4, 1, 0);
          device.write(2, 1, 0xc1);
          device.write(1, 1, random(16));
          recorder.add(device.receive(new Uint8Array(random(20)).fill(random(256))));
          if (random(4) === 0) recorder.add(device.receiveBreak());
          const [cts, dsr, ri, dcd] = [1, 2, 4, 8].map((bit) => (random(16) & bit) !== 0);
          device.setModem({ cts: cts!, dsr: dsr!, ri: ri!, dcd: dcd! });
        },
      };
    },
  },
  {
    name: 'hpet',
    sizeBytes: 0x180,
    create(clock) {
      const lines: Record<string, RecordingLine> = {};
      const line = (name: string): RecordingLine => {
        const made = new RecordingLine();
        lines[name] = made;
        return made;
      };
      const pin = (index: number): RecordingLine => line(`pin${index}`);
      const device = new Hpet({ clock, irq0: line('irq0'), irq8: line('irq8'), pin });
      return {
        device,
        lines,
        stimulate: (random) => {
          device.pitInput.set(random(2) === 1);
          device.rtcInput.set(random(2) === 1);
          // Random values are too far away to match: bring a comparator near.
          const timer = 0x100 + 0x20 * random(3);
          device.write(0x10, 4, 1 + 2 * random(2));
          device.write(timer, 4, 0x144 + 8 * random(2) + 2 * random(2) + (20 << 9));
          device.write(timer + 8, 4, (device.read(0xf0, 4) + random(30_000)) >>> 0);
          device.write(timer + 8, 4, random(30_000));
        },
      };
    },
  },
  {
    name: 'rtc',
    sizeBytes: 2,
    create(clock) {
      const irq = new RecordingLine();
      const wallClockMs = (): number => 1_700_000_000_000 + clock.now() / 1e6;
      const device = new Rtc({ irq, clock, wallClockMs }, { cmos: [[0x15, 0x80]] });
      return {
        device,
        lines: { irq },
        stimulate: (random) => {
          // Random bytes rarely leave the clock running with an interrupt enabled.
          device.write(0, 1, 0x0a);
          device.write(1, 1, 0x20 + random(16));
          device.write(0, 1, 0x0b);
          device.write(1, 1, random(128));
          device.write(0, 1, random(0x10));
        },
      };
    },
  },
  {
    name: 'acpi-pm',
    sizeBytes: 0x42,
    create(clock) {
      const sci = new RecordingLine();
      const recorder = new Recorder();
      const device = new AcpiPm({ sci, clock, sleep: (type) => recorder.add(type) });
      return {
        device,
        lines: { sci },
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
        stimulate: (random) => {
          recorder.add(device.pressPowerButton());
          device.raiseGpe(random(20));
          if (random(2) === 0) device.wake();
        },
      };
    },
  },
  {
    name: 'reset-control',
    sizeBytes: 2,
    create() {
      const a20 = new RecordingLine();
      const recorder = new Recorder();
      const device = new ResetControl({
        reset: (kind) => recorder.add(kind),
        a20: (enabled) => a20.set(enabled),
      });
      return {
        device,
        lines: { a20 },
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
      };
    },
  },
  {
    name: 'debug-port',
    sizeBytes: 1,
    create() {
      const out = new Recorder();
      const device = new DebugPort({ out });
      return { device, lines: {}, observed: () => out.entries(), forget: () => out.forget() };
    },
  },
  {
    name: 'coprocessor-error',
    sizeBytes: 1,
    create() {
      const irq = new RecordingLine();
      return { device: new CoprocessorError({ irq }), lines: { irq } };
    },
  },
  {
    name: 'post-code',
    sizeBytes: 1,
    create: () => ({ device: new PostCode(), lines: {} }),
  },
  {
    name: 'i8042',
    sizeBytes: 5,
    create(clock) {
      const lines = {
        keyboardIrq: new RecordingLine(),
        mouseIrq: new RecordingLine(),
        a20: new RecordingLine(),
      };
      lines.a20.set(true);
      const recorder = new Recorder();
      const device = new I8042({
        ...lines,
        clock,
        reset: () => recorder.add('reset'),
        a20: (enabled) => lines.a20.set(enabled),
        keyRoomAvailable: () => recorder.add('room'),
      });
      return {
        device,
        lines,
        observed: () => recorder.entries(),
        forget: () => recorder.forget(),
        stimulate: (random) => {
          const keys = ['KeyA', 'ShiftLeft', 'Pause', 'PrintScreen', 'ArrowUp', 'F7', 'Nonsense'];
          for (let count = random(8); count > 0; count -= 1) {
            recorder.add(device.pressKey(keys[random(keys.length)]!, random(2) === 1));
          }
          const [dx, dy] = [random(600) - 300, random(600) - 300];
          device.moveMouse({ dx, dy, wheel: random(5) - 2, buttons: random(32) });
          // Opens both ports, and sends a command to the mouse or the keyboard.
          device.write(4, 1, 0x60);
          device.write(0, 1, 0x03 | (random(2) << 6));
          if (random(2) === 0) device.write(4, 1, 0xd4);
          device.write(0, 1, 0xe6 + random(26));
          // Leaves a key that repeats, with the way to the guest free.
          device.write(0, 1, 0xf4);
          device.pressKey('KeyQ', false);
          device.pressKey('KeyQ', true);
          for (let count = 0; count < 40; count += 1) device.read(0, 1);
        },
      };
    },
  },
];
