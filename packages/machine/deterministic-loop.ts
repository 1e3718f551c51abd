// The loop of a deterministic machine's worker. It differs from MachineLoop in that nothing of the host reaches the
// guest but input, and that each input has a place in the guest's time: found out and written down while recording,
// waited for while replaying. Input is given between two instructions only, never in the middle of one.

import type { TimerQueue } from '@mimic/base';
import { runCommand } from './commands.ts';
import type { Computer } from './computer.ts';
import type { DeterministicConfig } from './deterministic-options.ts';
import { MachineError } from './errors.ts';
import { Diverged, GuestRun } from './guest-run.ts';
import type { InstructionTime, Place } from './instruction-time.ts';
import {
  CONSOLE_PIECE_BYTES,
  type GuestSignals,
  type LoopOptions,
  SERIAL_PIECE_BYTES,
  SLEEP_MAX_MS,
  takeCommands,
} from './loop.ts';
import type { Mailbox } from './mailbox.ts';
import type { Output } from './output.ts';
import type { CommandFrame, FinalState, Report, WorkerEnd } from './protocol.ts';
import { type Input, printInput, RECORDED_COMMANDS } from './recording.ts';

export class DeterministicLoop {
  readonly #computer: Computer;
  readonly #clock: TimerQueue;
  readonly #mailbox: Mailbox;
  readonly #output: Output;
  readonly #send: (report: Report) => void;
  readonly #config: DeterministicConfig;
  readonly #guest: GuestRun;
  readonly #time: InstructionTime;
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
    this.#config = parts.config;
    this.#guest = new GuestRun({
      ...parts,
      replay: parts.config.replay?.inputs,
      onInput: ({ at, input }) => this.#record(at, input),
      onReset: () => this.#send({ kind: 'reset' }),
    });
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

  /** Input, guest code, output; then goes to where something happens if the guest waits. */
  #slice(bell: number): WorkerEnd | undefined {
    if (this.#config.replay === undefined) this.#liveInput();
    else this.#dropTyped();
    const { instructionsMax } = this.#config;
    const end = this.#guest.advance(instructionsMax);
    this.#output.flush();
    if (end !== undefined && end !== 'waits') return end;
    if (this.#guest.place.count >= instructionsMax) return { reason: 'instruction-limit' };
    if (end === 'waits') this.#idle(bell);
    return undefined;
  }

  /** The guest waits: for its next timer, or for input. */
  #idle(bell: number): void {
    const deadlineNs = this.#clock.nextDeadlineNs();
    if (deadlineNs === undefined || this.#config.idle === 'skip' || this.#config.replay) {
      if (!this.#guest.skip()) this.#mailbox.sleep(bell, SLEEP_MAX_MS);
      return;
    }
    const now = this.#time.now();
    const waitMs = Math.min((deadlineNs - now) / 1e6, SLEEP_MAX_MS);
    this.#mailbox.sleep(bell, waitMs);
    if (this.#mailbox.bell === bell) this.#guest.skip(now + Math.ceil(waitMs * 1e6));
  }

  // --- input ---

  /** What people typed, as far as the guest's ports take it. */
  #liveInput(): void {
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
      const taken = this.#guest.give(offered);
      ring.skip(taken);
      if (taken > 0) this.#record(this.#guest.place, input(offered.bytes.slice(0, taken)));
      if (taken < offered.bytes.length) return;
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
    const recorded = this.#guest.nextInput;
    if (recorded === undefined || end.reason === 'stopped' || end.reason === 'instruction-limit') {
      // Without the recorded end, or stopped by hand before it, there is nothing to compare with.
      if (recorded?.input.kind !== 'end' || recorded.at.count !== final.count) return undefined;
    }
    const { input, at } = recorded;
    if (input.kind !== 'end' || input.reason !== end.reason || at.count !== final.count) {
      const message = `it ended at ${this.#guest.where()} (${end.reason}), the recorded machine did not`;
      return { reason: 'diverged', message };
    }
    if (input.sha256 === final.sha256) return undefined;
    const message = `it ended as recorded, but in another state: ${final.sha256}, not ${input.sha256}`;
    return { reason: 'diverged', message };
  }

  // --- commands ---

  #takeCommands(): void {
    takeCommands(this.#mailbox, this.#send, (frame) => {
      const value = this.#command(frame);
      return { value, isLast: this.#state === 'stopped' };
    });
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
    if (this.#config.replay !== undefined) {
      throw new MachineError('BAD_STATE', `${frame.name}: the machine replays a recording`);
    }
    let value: unknown = null;
    if (frame.name === 'reset') this.#guest.boot();
    else value = runCommand(this.#computer, frame);
    const { name, argument } = frame;
    this.#record(this.#guest.place, { kind: 'command', name, argument });
    this.#guest.settle();
    return value;
  }
}
