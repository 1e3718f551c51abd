// The loop of a deterministic machine's worker. It differs from MachineLoop in that nothing of the host reaches the
// guest but input, and that each input has a place in the guest's time: found out and written down while recording,
// waited for while replaying. Input is given between two instructions only, never in the middle of one.

import type { TimerQueue } from '@mimic/base';
import { runCommand } from './commands.ts';
import type { Computer } from './computer.ts';
import type { DeterministicConfig } from './deterministic-options.ts';
import { MachineError } from './errors.ts';
import { GuestRun } from './guest-run.ts';
import type { InstructionTime, Place } from './instruction-time.ts';
import { errorReport, type GuestSignals, type LoopOptions, tripleFault } from './loop.ts';
import type { Mailbox } from './mailbox.ts';
import type { Output } from './output.ts';
import type { CommandFrame, FinalState, Report, WorkerEnd } from './protocol.ts';
import { type Input, printInput, RECORDED_COMMANDS, type RecordedInput } from './recording.ts';

/** A sleep that nothing bounds is still looked at once in a while: a lost wake-up costs this, not a hang. */
const SLEEP_MAX_MS = 1_000;
/** The FIFO of a 16550 holds 16 bytes. */
const SERIAL_PIECE_BYTES = 16;
/** A console's driver gives buffers of a page. */
const CONSOLE_PIECE_BYTES = 4096;

/** The guest is not where the recording says it was. */
class Diverged extends Error {}

export class DeterministicLoop {
  readonly #computer: Computer;
  readonly #clock: TimerQueue;
  readonly #mailbox: Mailbox;
  readonly #output: Output;
  readonly #send: (report: Report) => void;
  readonly #signals: GuestSignals;
  readonly #options: LoopOptions;
  readonly #config: DeterministicConfig;
  readonly #guest: GuestRun;
  readonly #time: InstructionTime;
  /** What is left of the recording; undefined when there is none. */
  readonly #replay: RecordedInput[] | undefined;
  #state: 'paused' | 'running' | 'stopped' = 'paused';

  constructor(parts: {
    computer: Computer;
    clock: TimerQueue;
    time: InstructionTime;
    mailbox: Mailbox;
    output: Output;
    send: (report: Report) => void;
    signals: GuestSignals;
    options: LoopOptions;
    config: DeterministicConfig;
  }) {
    this.#computer = parts.computer;
    this.#clock = parts.clock;
    this.#time = parts.time;
    this.#mailbox = parts.mailbox;
    this.#output = parts.output;
    this.#send = parts.send;
    this.#signals = parts.signals;
    this.#options = parts.options;
    this.#config = parts.config;
    this.#guest = new GuestRun(parts);
    this.#replay = parts.config.replay && [...parts.config.replay.inputs];
  }

  /** Runs until the machine ends, and gives the state that it ended in. */
  async run(): Promise<{ end: WorkerEnd; final: FinalState }> {
    this.#clock.resume();
    this.#guest.settle();
    let end: WorkerEnd;
    try {
      end = await this.#run();
    } catch (error) {
      if (!(error instanceof Diverged)) throw error;
      end = { reason: 'diverged', message: error.message };
    }
    const final = { ...this.#guest.place, sha256: this.#computer.stateHash() };
    if (end.reason !== 'diverged') end = this.#compareEnd(end, final) ?? end;
    this.#record(this.#guest.place, { kind: 'end', reason: end.reason, sha256: final.sha256 });
    return { end, final };
  }

  async #run(): Promise<WorkerEnd> {
    for (;;) {
      const bell = this.#mailbox.bell;
      this.#takeCommands();
      if (this.#state === 'stopped') return { reason: 'stopped' };
      if (this.#state === 'paused' || this.#output.full) {
        this.#output.flush();
        this.#mailbox.sleep(bell, SLEEP_MAX_MS);
      } else {
        const end = this.#slice(bell);
        if (end !== undefined) return end;
      }
      await undefined;
    }
  }

  /** A timer was armed or cancelled, maybe by a device in the middle of a slice. */
  deadlineChanged(): void {
    this.#guest.deadlineChanged();
  }

  /** The serial port has room again: what waits is given once the instruction under way is over. */
  feedSerial(): void {
    if (this.#mailbox.serialInput.length > 0) this.#computer.processor.stop();
  }

  /** The same for a port of the virtio console. */
  feedConsole(index: number): void {
    if (this.#mailbox.consoleInputs[index]!.length > 0) this.#computer.processor.stop();
  }

  /** Input, guest code, output; then goes to where something happens if the guest halted. */
  #slice(bell: number): WorkerEnd | undefined {
    const ended =
      this.#replay === undefined ? this.#liveInput() : this.#recordedInput(this.#replay);
    if (ended !== undefined) return ended;
    const { count } = this.#guest.place;
    const { instructionsMax } = this.#config;
    if (count >= instructionsMax) return { reason: 'instruction-limit' };
    const next = this.#replay?.[0]?.at;
    if (next?.count === count) {
      // The recorded guest waited here until the next input came.
      this.#guest.skip(next.ns);
      return undefined;
    }
    const cause = this.#guest.slice(Math.min(instructionsMax, next?.count ?? Infinity));
    this.#output.flush();
    if (this.#signals.poweredOff) return { reason: 'power-off' };
    if (cause === 'shutdown' && !this.#signals.resetAsked) {
      if (this.#options.onTripleFault === 'stop') return tripleFault(this.#computer.processor);
      this.#signals.resetAsked = true;
    }
    if (this.#signals.resetAsked) {
      if (this.#options.onReset === 'stop') return { reason: 'reset' };
      this.#boot();
    } else if (cause === 'halted') this.#idle(bell);
    return undefined;
  }

  /** The guest waits: for its next timer, or for input. */
  #idle(bell: number): void {
    const deadlineNs = this.#clock.nextDeadlineNs();
    const isOver = this.#replay?.length === 0 || this.#replay === undefined;
    if (deadlineNs === undefined) {
      if (!isOver) throw new Diverged(`the guest waits for ever at ${this.#where()}`);
      this.#mailbox.sleep(bell, SLEEP_MAX_MS);
      return;
    }
    if (this.#config.idle === 'skip' || this.#replay !== undefined) {
      this.#guest.skip();
      return;
    }
    const now = this.#time.now();
    const waitMs = Math.min((deadlineNs - now) / 1e6, SLEEP_MAX_MS);
    this.#mailbox.sleep(bell, waitMs);
    if (this.#mailbox.bell === bell) this.#guest.skip(now + Math.ceil(waitMs * 1e6));
  }

  // --- input ---

  /** What people typed, as far as the guest's ports take it. */
  #liveInput(): undefined {
    this.#feed(this.#mailbox.serialInput, SERIAL_PIECE_BYTES, (bytes) => ({
      kind: 'serial',
      bytes,
    }));
    for (const [index, ring] of this.#mailbox.consoleInputs.entries()) {
      this.#feed(ring, CONSOLE_PIECE_BYTES, (bytes) => ({ kind: 'console', index, bytes }));
    }
  }

  #feed(
    ring: Mailbox['serialInput'],
    pieceBytes: number,
    input: (bytes: Uint8Array) => Input & { readonly bytes: Uint8Array },
  ): void {
    while (ring.length > 0) {
      const offered = input(ring.peek(pieceBytes));
      const taken = this.#give(offered);
      ring.skip(taken);
      if (taken > 0) this.#record(this.#guest.place, input(offered.bytes.slice(0, taken)));
      this.#guest.settle();
      if (taken < offered.bytes.length) return;
    }
  }

  /** Gives input to a port; how many bytes it took. */
  #give(input: Input): number {
    if (input.kind === 'serial') return this.#computer.serialInput(input.bytes);
    if (input.kind === 'console') return this.#computer.consoleInput(input.index, input.bytes);
    return 0;
  }

  /** The inputs of the recording that came at this place; the end, if that is where it was stopped. */
  #recordedInput(inputs: RecordedInput[]): WorkerEnd | undefined {
    this.#dropTyped();
    for (;;) {
      const [first] = inputs;
      if (first === undefined) return undefined;
      const { at, input } = first;
      const { count, ns } = this.#guest.place;
      if (count > at.count || (count === at.count && ns > at.ns)) {
        throw new Diverged(
          `the guest is at ${this.#where()} and never was where its next input came, ${describe(at)}`,
        );
      }
      if (count < at.count || ns < at.ns) return undefined;
      if (input.kind === 'end') {
        if (input.reason === 'stopped' || input.reason === 'instruction-limit') {
          return { reason: input.reason };
        }
        throw new Diverged(`the recorded machine ended here (${input.reason}): ${this.#where()}`);
      }
      inputs.shift();
      this.#record(at, input);
      if (input.kind === 'command') this.#replayCommand(input);
      else if (this.#give(input) !== input.bytes.length) {
        throw new Diverged(`the guest does not take the input that it took at ${this.#where()}`);
      }
      this.#guest.settle();
    }
  }

  #replayCommand(input: Input & { readonly kind: 'command' }): void {
    if (input.name === 'reset') this.#boot();
    else {
      const { name, argument } = input;
      runCommand(this.#computer, { id: 0, name, argument } as CommandFrame);
    }
  }

  /** While a recording is replayed nobody else's input counts. */
  #dropTyped(): void {
    for (const ring of [this.#mailbox.serialInput, ...this.#mailbox.consoleInputs]) {
      if (ring.length > 0) ring.skip(ring.length);
    }
  }

  #record(at: Place, input: Input): void {
    if (!this.#config.records) return;
    this.#send({ kind: 'recorded', line: printInput({ at, input }) });
  }

  /** A recording that ended in another way, or in another state. */
  #compareEnd(end: WorkerEnd, final: FinalState): WorkerEnd | undefined {
    const recorded = this.#replay?.[0];
    if (recorded === undefined || end.reason === 'stopped' || end.reason === 'instruction-limit') {
      // Without the recorded end, or stopped by hand before it, there is nothing to compare with.
      if (recorded?.input.kind !== 'end' || recorded.at.count !== final.count) return undefined;
    }
    const { input, at } = recorded;
    if (input.kind !== 'end' || input.reason !== end.reason || at.count !== final.count) {
      const message = `it ended at ${this.#where()} (${end.reason}), the recorded machine did not`;
      return { reason: 'diverged', message };
    }
    if (input.sha256 === final.sha256) return undefined;
    const message = `it ended as recorded, but in another state: ${final.sha256}, not ${input.sha256}`;
    return { reason: 'diverged', message };
  }

  #where(): string {
    return describe(this.#guest.place);
  }

  // --- commands ---

  #boot(): void {
    this.#signals.resetAsked = false;
    this.#computer.boot();
    this.#guest.settle();
    this.#send({ kind: 'reset' });
  }

  #takeCommands(): void {
    for (;;) {
      const frame = this.#mailbox.take() as CommandFrame | undefined;
      if (frame === undefined) return;
      try {
        const value = this.#command(frame);
        this.#send({ kind: 'reply', id: frame.id, value });
      } catch (error) {
        this.#send({ kind: 'refused', id: frame.id, error: errorReport(error) });
      }
      if (this.#state === 'stopped') return;
    }
  }

  #command(frame: CommandFrame): unknown {
    if (frame.name === 'resume') this.#state = 'running';
    else if (frame.name === 'pause') this.#state = 'paused';
    else if (frame.name === 'stop') this.#state = 'stopped';
    else if (RECORDED_COMMANDS.has(frame.name)) return this.#change(frame);
    else return runCommand(this.#computer, frame);
    this.#output.flush();
    return null;
  }

  /** A command that changes the guest. */
  #change(frame: CommandFrame): unknown {
    if (this.#replay !== undefined) {
      throw new MachineError('BAD_STATE', `${frame.name}: the machine replays a recording`);
    }
    let value: unknown = null;
    if (frame.name === 'reset') this.#boot();
    else value = runCommand(this.#computer, frame);
    const { name, argument } = frame;
    this.#record(this.#guest.place, { kind: 'command', name, argument });
    this.#guest.settle();
    return value;
  }
}

function describe({ count, ns }: Place): string {
  return `instruction ${count} (${(ns / 1e9).toFixed(6)} s)`;
}
