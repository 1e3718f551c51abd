// A deterministic computer in the hands of whoever made it, without a worker: it runs exactly as far as it is told to.
// For tools that compare runs, and for debuggers that go back by running again.

import { TimerQueue } from '@mimic/base';
import type { Computer } from './computer.ts';
import { GuestRun } from './guest-run.ts';
import type { WorkerHost } from './host.ts';
import { InstructionTime, type Place } from './instruction-time.ts';
import type { GuestSignals } from './loop.ts';
import { Mailbox } from './mailbox.ts';
import { checkOptions, type MachineOptions } from './options.ts';
import type { WorkerEnd } from './protocol.ts';
import type { Assemble } from './worker.ts';

/** What such a computer needs of its host. */
export type RunHost<Store> = Pick<
  WorkerHost<Store>,
  'openStore' | 'openFolder' | 'sha256' | 'setAside'
>;

export class DeterministicRun {
  readonly computer: Computer;
  readonly #guest: GuestRun;
  #end: WorkerEnd | undefined;

  /** `output` takes what the guest sends to its first serial port. */
  static async create<Store>(
    options: MachineOptions,
    host: RunHost<Store>,
    assemble: Assemble<Store>,
    output: (bytes: Uint8Array) => void = () => {},
  ): Promise<DeterministicRun> {
    const config = checkOptions({ deterministic: {}, ...options });
    let computer: Computer | undefined;
    let guest: GuestRun | undefined;
    const time = new InstructionTime(
      () => computer?.processor.instructionCount ?? 0,
      config.deterministic!.nsPerInstruction,
    );
    const clock = new TimerQueue(
      () => time.now(),
      () => guest?.deadlineChanged(),
    );
    const signals: GuestSignals = { poweredOff: false, resetAsked: false };
    const stop = () => computer?.processor.stop();
    const wires = {
      clock,
      serialOutput: { write: output },
      // Recorded input was taken at its place, at once.
      serialRoom: () => {},
      consoleOutputs: config.consoles.map(() => ({ write: () => {} })),
      consoleRoom: () => {},
      trace: () => {},
      traceText: () => {},
      mailbox: new Mailbox(),
      powerOff: () => {
        signals.poweredOff = true;
        stop();
      },
      reset: () => {
        signals.resetAsked = true;
        stop();
      },
    };
    const unused = () => {
      throw new Error('a deterministic computer has no such host function');
    };
    computer = await assemble(config, wires, {
      ...host,
      now: unused,
      send: unused,
      startProcessor: unused,
      startTranslator: unused,
      receiveTranslation: unused,
      collectGarbage: unused,
      engine: async () => undefined,
      startTicker: unused,
    });
    computer.boot();
    const replay = config.deterministic?.replay?.inputs;
    guest = new GuestRun({ computer, clock, time, signals, options: config, replay });
    guest.settle();
    return new DeterministicRun(computer, guest);
  }

  private constructor(computer: Computer, guest: GuestRun) {
    this.computer = computer;
    this.#guest = guest;
  }

  get place(): Place {
    return this.#guest.place;
  }

  /** How it ended, if it did: 'stopped' too for a guest that waits for an input that never comes. */
  get end(): WorkerEnd | undefined {
    return this.#end;
  }

  /** Runs until its count of instructions is `count`, or it ends. Fails if it leaves the path of its recording. */
  runTo(count: number): void {
    while (this.#end === undefined && this.place.count < count) {
      const end = this.#guest.advance(count);
      if (end !== 'waits') this.#end = end;
      else if (this.place.count < count && !this.#guest.skip()) this.#end = { reason: 'stopped' };
    }
  }
}
