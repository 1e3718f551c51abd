// A running computer as a program sees it: made, started, paused, looked into, stopped. The computer itself lives in
// a worker (worker.ts); this side owns its lifecycle, its serial port and its events.

import { OperatingError } from '@mimic/base';
import { MEMORY_ACCESS_MAX_BYTES } from './commands.ts';
import type { DisassembledInstruction, PartReport } from './computer.ts';
import { MachineError, type MachineErrorCode } from './errors.ts';
import { Emitter } from './events.ts';
import type { Host, WorkerHandle } from './host.ts';
import type { JitReport } from './jit-report.ts';
import { Mailbox } from './mailbox.ts';
import { runMonitorCommand } from './monitor.ts';
import { checkOptions, type MachineOptions } from './options.ts';
import { type PanicNews, PanicWatcher } from './panic.ts';
import { type ProfileOptions, Profiler } from './profile/profiler.ts';
import type {
  CommandName,
  Commands,
  ErrorReport,
  FinalState,
  ProcessorReport,
  Report,
  StateHash,
  TraceKind,
  WorkerEnd,
} from './protocol.ts';
import { SerialPort } from './serial.ts';

/** A worker that has not ended this long after it was told to is ended by force. */
const STOP_GRACE_MS = 5_000;

/** How a machine ended. 'reset' only with `onReset: 'stop'`; 'panic' is a reset after the kernel's last words. */
export type MachineEnd = WorkerEnd | { readonly reason: 'panic'; readonly message: string };

export interface MachineEvents {
  /** The guest runs, for the first time or after a pause. */
  running: undefined;
  paused: undefined;
  /** The guest, or `reset()`, made the machine boot again. */
  reset: undefined;
  /** The guest's kernel said on the serial console that it gave up. */
  panic: PanicNews;
  exit: MachineEnd;
}

export type MachineState = 'created' | 'running' | 'paused' | 'ended';

export class Machine implements AsyncDisposable {
  /** The first serial port, COM1: Linux's ttyS0. */
  readonly serial: SerialPort;
  /** The ports of the virtio console, in the order of the options: the first is Linux's hvc0. */
  readonly consoles: readonly SerialPort[];
  /** How the machine ended; never rejects. */
  readonly exited: Promise<MachineEnd>;
  /** Bytes of RAM. */
  readonly memoryBytes: number;
  readonly cpuCount: number;
  /** Without what the worker alone needs: kernel and initrd are megabytes. */
  readonly #options: Omit<MachineOptions, 'kernel' | 'initrd'>;
  readonly #mailbox: Mailbox;
  readonly #events = new Emitter<MachineEvents>();
  readonly #panic = new PanicWatcher();
  readonly #worker: WorkerHandle;
  readonly #ready = Promise.withResolvers<void>();
  readonly #exit = Promise.withResolvers<MachineEnd>();
  readonly #replies = new Map<number, PromiseWithResolvers<unknown>>();
  #state: MachineState = 'created';
  #stopping = false;
  #commandCount = 0;
  #end: MachineEnd | undefined;
  #finalState: FinalState | undefined;

  /**
   * Builds a machine and loads the kernel; `start` makes it run. Fails with a `MachineError` if an option cannot be
   * met. Disks and shares that were passed in belong to the machine from here on and are closed when it ends, or if this fails.
   */
  static async create(options: MachineOptions, host: Host): Promise<Machine> {
    let machine: Machine;
    try {
      machine = new Machine(options, host);
    } catch (error) {
      closeAttachments(options);
      throw error;
    }
    try {
      await machine.#ready.promise;
    } catch (error) {
      await machine.exited;
      throw error;
    }
    return machine;
  }

  private constructor(options: MachineOptions, host: Host) {
    const config = checkOptions(options);
    const { kernel: _kernel, initrd: _initrd, ...rest } = options;
    this.#options = rest;
    this.memoryBytes = config.ramBytes;
    this.cpuCount = config.cpuCount;
    const mailbox = new Mailbox({ consoleCount: config.consoles.length });
    this.#mailbox = mailbox;
    this.serial = new SerialPort(mailbox);
    this.consoles = mailbox.consoleInputs.map((input) => new SerialPort(mailbox, input));
    this.exited = this.#exit.promise;
    this.#worker = host.startWorker(
      { mailbox: this.#mailbox.buffer, config },
      (report) => this.#take(report),
      (error) => this.#gone(error),
    );
  }

  get state(): MachineState {
    return this.#state;
  }

  /** How the machine ended, once it has. */
  get end(): MachineEnd | undefined {
    return this.#end;
  }

  /** Calls `listener` on each such event; returns the function that ends the subscription. */
  on<Name extends keyof MachineEvents>(
    name: Name,
    listener: (detail: MachineEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /** Lets the guest run. Does nothing if it runs already. */
  async start(): Promise<void> {
    await this.#command('resume', {});
    if (this.#state === 'running' || this.#end !== undefined) return;
    this.#state = 'running';
    this.#events.emit('running', undefined);
  }

  /** Holds the guest between two instructions; its clock stands still. */
  async pause(): Promise<void> {
    await this.#command('pause', {});
    if (this.#state === 'paused' || this.#end !== undefined) return;
    this.#state = 'paused';
    this.#events.emit('paused', undefined);
  }

  /** Lets a paused guest run on. */
  resume(): Promise<void> {
    return this.start();
  }

  /** Pushes the reset button: all is lost that the guest did not save, and the kernel boots again. */
  async reset(): Promise<void> {
    await this.#command('reset', {});
  }

  /** Pushes the power button: a guest that listens to ACPI shuts down. False if it does not listen (yet). */
  pressPowerButton(): Promise<boolean> {
    return this.#command('pressPowerButton', {});
  }

  /** Sends a non-maskable interrupt to all processors. */
  async nmi(): Promise<void> {
    await this.#command('nmi', {});
  }

  /** Pulls the plug. Resolves when the machine is gone; also called by `await using`. */
  async stop(): Promise<void> {
    if (this.#end === undefined) {
      this.#stopping = true;
      // Ending makes the reply moot: what counts is that the worker goes away.
      this.#command('stop', {}).catch(() => undefined);
      const timeout = setTimeout(() => void this.#worker.terminate(), STOP_GRACE_MS);
      await this.exited;
      clearTimeout(timeout);
    }
    await this.exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Registers, virtual memory and disassembly are this processor's from now on; a reset goes back to the first. */
  async selectProcessor(index: number): Promise<void> {
    await this.#command('selectProcessor', { index });
  }

  /** Where each processor is. */
  processors(): Promise<ProcessorReport[]> {
    return this.#command('processors', {});
  }

  /** 'rax' to 'r15', 'rip', 'rflags', 'cs', 'cr0', 'efer', 'xmm0' (128 bits), 'ymm0' (256 bits), 'st0' (80 bits) … */
  async readRegister(name: string): Promise<bigint> {
    const values = await this.#command('readRegisters', { names: [name] });
    return values[name] ?? 0n;
  }

  /** The named registers, or all of them. */
  readRegisters(names: readonly string[] = []): Promise<Record<string, bigint>> {
    return this.#command('readRegisters', { names: [...names] });
  }

  async writeRegister(name: string, value: bigint): Promise<void> {
    await this.#command('writeRegister', { register: name, value });
  }

  /** Guest-physical memory. Fails with code `BAD_ADDRESS` if any of it is not RAM. */
  readMemory(gpa: number, lengthBytes: number): Promise<Uint8Array> {
    return gather(lengthBytes, (at, count) =>
      this.#command('readMemory', { gpa: gpa + at, lengthBytes: count }),
    );
  }

  async writeMemory(gpa: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MEMORY_ACCESS_MAX_BYTES) {
      const piece = new Uint8Array(bytes.subarray(at, at + MEMORY_ACCESS_MAX_BYTES));
      await this.#command('writeMemory', { gpa: gpa + at, bytes: piece });
    }
  }

  /** Guest-virtual memory, by the current page tables. Fails with code `BAD_ADDRESS` if any of it is not mapped. */
  readVirtualMemory(gva: bigint, lengthBytes: number): Promise<Uint8Array> {
    return gather(lengthBytes, (at, count) =>
      this.#command('readVirtual', { gva: gva + BigInt(at), lengthBytes: count }),
    );
  }

  async writeVirtualMemory(gva: bigint, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MEMORY_ACCESS_MAX_BYTES) {
      const piece = new Uint8Array(bytes.subarray(at, at + MEMORY_ACCESS_MAX_BYTES));
      await this.#command('writeVirtual', { gva: gva + BigInt(at), bytes: piece });
    }
  }

  /** The guest-physical address behind a virtual one; undefined if none is mapped. No accessed bit is set. */
  async translate(gva: bigint): Promise<number | undefined> {
    return (await this.#command('translate', { gva }))?.gpa;
  }

  /** From `gva`, by default the next instruction to run. */
  disassemble(gva: bigint, count = 10): Promise<DisassembledInstruction[]> {
    return this.#command('disassemble', { gva, count });
  }

  /** The parts on the board with their state, for people to read. */
  parts(): Promise<PartReport[]> {
    return this.#command('parts', {});
  }

  /** What translation of guest code has come to: counters of the translator and of each processor. */
  jit(): Promise<JitReport> {
    return this.#command('jit', {});
  }

  /** Finds out where the guest spends its time, from now until `stop()` of what this gives. */
  async profile(options: ProfileOptions = {}): Promise<Profiler> {
    const memory = await this.#command('wasmMemory', {});
    if (memory === null) throw new MachineError('BAD_STATE', 'this computer cannot be profiled');
    const state = () => {
      if (this.#end !== undefined) return 'ended';
      return this.#state === 'running' ? 'running' : 'waiting';
    };
    return new Profiler({ memory, cpuCount: this.cpuCount, state }, options);
  }

  /**
   * SHA-256 of all that the guest can see now: processor, RAM, devices. Two deterministic machines that got the same
   * input have the same at the same count of instructions.
   */
  stateHash(): Promise<StateHash> {
    return this.#command('stateHash', {});
  }

  /** The state in which a deterministic machine ended. */
  get finalState(): FinalState | undefined {
    return this.#finalState;
  }

  /** Replaces what is traced; lines go to `onTrace`. */
  async trace(kinds: readonly TraceKind[]): Promise<void> {
    await this.#command('setTrace', { kinds: [...kinds] });
  }

  /** Runs one line of the monitor's language, such as 'info registers'; `help` lists it. Returns what to print. */
  monitor(line: string): Promise<string> {
    return runMonitorCommand(this, line);
  }

  async #command<Name extends CommandName>(
    name: Name,
    argument: Commands[Name]['takes'],
  ): Promise<Commands[Name]['gives']> {
    if (this.#end !== undefined) throw this.#endedError(name);
    this.#commandCount += 1;
    const id = this.#commandCount;
    const reply = Promise.withResolvers<unknown>();
    this.#replies.set(id, reply);
    // The machine may end, and refuse the reply, while the command still waits for room in the mailbox.
    reply.promise.catch(() => undefined);
    await Promise.race([this.#mailbox.post({ id, name, argument }), this.exited]);
    return (await reply.promise) as Commands[Name]['gives'];
  }

  #endedError(what: string): MachineError {
    return new MachineError('BAD_STATE', `${what}: the machine has ended (${this.#end?.reason})`);
  }

  #take(report: Report): void {
    switch (report.kind) {
      case 'ready':
        this.#ready.resolve();
        break;
      case 'failed':
        this.#fail(errorFrom(report.error));
        break;
      case 'reply':
        this.#replies.get(report.id)?.resolve(report.value);
        this.#replies.delete(report.id);
        break;
      case 'refused':
        this.#replies.get(report.id)?.reject(errorFrom(report.error));
        this.#replies.delete(report.id);
        break;
      case 'serial':
        this.#serialOutput(report.bytes);
        break;
      case 'console':
        this.#acknowledgeAfter(
          report.bytes.length,
          this.consoles[report.index]?.deliver(report.bytes),
        );
        break;
      case 'trace':
        this.#acknowledgeAfter(report.bytes.length, this.#options.onTrace?.(report.bytes));
        break;
      case 'reset':
        this.#panic.forget();
        this.#events.emit('reset', undefined);
        break;
      case 'recorded':
        this.#options.onRecord?.(report.line);
        break;
      case 'ended':
        this.#finalState = report.final;
        this.#finish(report.end);
        break;
    }
  }

  #serialOutput(bytes: Uint8Array): void {
    const news = this.#panic.push(bytes);
    this.#acknowledgeAfter(bytes.length, this.serial.deliver(bytes));
    if (news !== undefined) this.#events.emit('panic', news);
  }

  #acknowledgeAfter(byteCount: number, disposed: Promise<void> | undefined | void): void {
    const acknowledge = () => this.#mailbox.acknowledge(byteCount);
    if (disposed instanceof Promise) disposed.then(acknowledge, acknowledge);
    else acknowledge();
  }

  /** The machine could not be built. */
  #fail(error: Error): void {
    this.#ready.reject(error);
    this.#finish({ reason: 'crashed', message: error.message, stack: error.stack ?? '' });
  }

  #gone(error: Error | undefined): void {
    if (this.#end !== undefined) return;
    if (error === undefined && this.#stopping) this.#finish({ reason: 'stopped' });
    else this.#fail(error ?? new Error('the worker ended by itself'));
  }

  #finish(end: WorkerEnd): void {
    if (this.#end !== undefined) return;
    const message = this.#panic.message;
    const panicked =
      message !== undefined && (end.reason === 'reset' || end.reason === 'triple-fault');
    this.#end = panicked ? { reason: 'panic', message } : end;
    this.#state = 'ended';
    for (const port of [this.serial, ...this.consoles]) port.end(this.#end.reason);
    for (const reply of this.#replies.values()) reply.reject(this.#endedError('command'));
    this.#replies.clear();
    this.#close(this.#end);
  }

  /** `exited` resolves once nothing of the machine is left. */
  async #close(end: MachineEnd): Promise<void> {
    await this.#worker.terminate();
    closeAttachments(this.#options);
    this.#exit.resolve(end);
    this.#events.emit('exit', end);
  }
}

function closeAttachments({
  disks = [],
  shares = [],
}: Pick<MachineOptions, 'disks' | 'shares'>): void {
  for (const attachment of [...disks, ...shares]) attachment.close();
}

async function gather(
  lengthBytes: number,
  read: (at: number, count: number) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at += MEMORY_ACCESS_MAX_BYTES) {
    bytes.set(await read(at, Math.min(MEMORY_ACCESS_MAX_BYTES, lengthBytes - at)), at);
  }
  return bytes;
}

function errorFrom({ code, message, hint }: ErrorReport): Error {
  if (code === 'CRASHED') return new MachineError('CRASHED', message);
  const options = hint === undefined ? {} : { hint };
  return MACHINE_CODES.has(code)
    ? new MachineError(code as MachineErrorCode, message, options)
    : new OperatingError(code, message, options);
}

const MACHINE_CODES: ReadonlySet<string> = new Set<MachineErrorCode>([
  'BAD_OPTION',
  'BAD_RECORDING',
  'BAD_KERNEL',
  'BAD_STATE',
  'BAD_ADDRESS',
  'BAD_REGISTER',
  'BAD_COMMAND',
]);
