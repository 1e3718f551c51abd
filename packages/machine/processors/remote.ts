// Several processors, each in a worker of its own, as the board's worker sees them: it serves their accesses, holds
// them and lets them go, and looks into them by commands.

import type { IrqLine } from '@mimic/base';
import type { Pc } from '@mimic/board';
import {
  BlockStore,
  cpuModel,
  engine,
  InterruptBus,
  PostedInterrupts,
  planMemory,
  REGISTER_NAMES,
  SharedGuestMemory,
  type StartState,
  World,
} from '@mimic/cpu';
import type {
  ComputerWires,
  DisassembledInstruction,
  Processor,
  ProcessorView,
  StopCause,
  Translation,
} from '../computer.ts';
import { MachineError } from '../errors.ts';
import { type JitReport, jitReport } from '../jit-report.ts';
import type { ComputerConfig } from '../options.ts';
import type { TraceKind } from '../protocol.ts';
import { BoardTracer } from '../tracer.ts';
import { ACCESS, type Access, ENDED, ProcessorChannel } from './channel.ts';
import type { ProcessorCommandName, ProcessorCommands, ProcessorReply } from './commands.ts';
import { engineKind } from './engine-kind.ts';
import type { Processors } from './processors.ts';
import { startTranslation, type TranslatorHost } from './translation.ts';
import type { ProcessorStart } from './worker.ts';

/** Looks for accesses that often after the last one before the worker sleeps: about 20 microseconds. */
const SPINS = 200;
/** Accesses served before timers and commands get their turn. */
const ROUNDS_MAX = 10_000;
const SLEEP_MAX_MS = 1_000;
/** A worker that has not begun this long after it was started never will. */
const START_MAX_NS = 120e9;

interface Remote {
  readonly channel: ProcessorChannel;
  readonly posted: PostedInterrupts;
}

export function remoteProcessors(
  config: ComputerConfig,
  wires: ComputerWires,
  options: { board: () => Pc; host: TranslatorHost },
): Processors {
  return new RemoteProcessors(config, wires, options);
}

/** Commands to one processor. */
type Call = <Name extends ProcessorCommandName>(
  name: Name,
  argument: ProcessorCommands[Name]['takes'],
) => ProcessorCommands[Name]['gives'];

class RemoteView implements ProcessorView {
  readonly registerNames: readonly string[] = REGISTER_NAMES;
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }
  get instructionCount(): number {
    return this.#call('instructionCount', {});
  }
  nmi(): void {
    this.#call('nmi', {});
  }
  readRegister(register: string): bigint | undefined {
    return this.#call('readRegister', { register }) ?? undefined;
  }
  writeRegister(register: string, value: bigint): boolean {
    return this.#call('writeRegister', { register, value });
  }
  translate(gva: bigint): Translation | undefined {
    return this.#call('translate', { gva }) ?? undefined;
  }
  disassemble(gva: bigint, count: number): DisassembledInstruction[] {
    return this.#call('disassemble', { gva, count });
  }
}

class RemoteProcessor extends RemoteView implements Processor {
  readonly run: () => StopCause;
  readonly stop: () => void;
  readonly hold: () => void;

  constructor(call: Call, all: Pick<RemoteProcessor, 'run' | 'stop' | 'hold'>) {
    super(call);
    this.run = all.run;
    this.stop = all.stop;
    this.hold = all.hold;
  }
}

class RemoteProcessors implements Processors {
  readonly memory: SharedGuestMemory;
  readonly slices = undefined;
  readonly interrupts: InterruptBus;
  readonly intr: IrqLine;
  readonly processor: Processor;
  readonly views: readonly ProcessorView[];
  readonly #wires: ComputerWires;
  readonly #host: TranslatorHost;
  readonly #startedNs: number;
  readonly #board: () => Pc;
  readonly #remotes: readonly Remote[];
  readonly #tracer: BoardTracer;
  readonly wasmMemory: WebAssembly.Memory;
  readonly #isTranslated: boolean;
  #isRunning = false;
  #stopAsked = false;
  /** The one that commands are about: the first, the one chosen, or the one that shut down. */
  #shown = 0;

  constructor(
    config: ComputerConfig,
    wires: ComputerWires,
    options: { board: () => Pc; host: TranslatorHost },
  ) {
    const { ramBytes, cpuCount: vcpuCount, cpu, rng } = config;
    const layout = planMemory({ ramBytes, vcpuCount });
    const pages = { initial: layout.wasmPages, maximum: layout.wasmPages };
    const memory = new WebAssembly.Memory({ ...pages, shared: true });
    this.wasmMemory = memory;
    this.#isTranslated = config.accel === 'jit';
    this.#wires = wires;
    this.#board = options.board;
    const { handlers, image } = engine(engineKind(config));
    const world = new World({ memory, index: -1, vcpuCount });
    const model = cpuModel(cpu);
    const blocks = new BlockStore({ memory, handlers, ramBytes, vcpuCount, model, world });
    this.memory = new SharedGuestMemory({ memory, layout, blocks });
    this.interrupts = new InterruptBus();
    const { host } = options;
    this.#host = host;
    this.#startedNs = host.now();
    const links =
      config.accel === 'jit'
        ? startTranslation(host, { memory, vcpuCount, lacking: model.lacking })
        : [];
    this.#remotes = Array.from({ length: vcpuCount }, (_, index) => {
      const posted = new PostedInterrupts(memory, index);
      this.interrupts.attach(posted, index);
      const channel = new ProcessorChannel();
      const { mailbox } = wires;
      const start: ProcessorStart = {
        index,
        memory,
        layout,
        engine: image,
        channel: channel.buffer,
        mailbox: mailbox.buffer,
        cpu,
        rng,
      };
      host.startProcessor(start, links[index]);
      return { channel, posted };
    });
    this.intr = { set: (high: boolean) => this.#remotes[0]!.posted.setLint0(high) };
    this.#tracer = new BoardTracer(options.board, wires.trace);
    this.views = this.#remotes.map(
      (_, index) => new RemoteView((name, argument) => this.#call(index, name, argument)),
    );
    this.processor = new RemoteProcessor(
      (name, argument) => this.#call(this.#shown, name, argument),
      {
        run: () => this.#run(),
        stop: () => {
          this.#stopAsked = true;
        },
        hold: () => this.#hold(),
      },
    );
  }

  select(index: number): void {
    this.#shown = index;
  }

  start(state: StartState): void {
    this.#hold();
    this.#shown = 0;
    for (const index of this.#remotes.keys())
      this.#call(index, 'start', { state: index === 0 ? state : null });
  }

  apics(): object[] {
    return this.#remotes.map((_, index) => this.#call(index, 'apic', {}));
  }

  visibleStates(): object[] {
    return this.#remotes.map((_, index) => ({ text: this.#call(index, 'visibleState', {}) }));
  }

  jit(): JitReport {
    const processors = this.#remotes.map((_, index) => this.#call(index, 'runCounters', {}));
    return jitReport({
      memory: this.wasmMemory,
      ramBytes: this.memory.sizeBytes,
      processors,
      isTranslated: this.#isTranslated,
    });
  }

  setTrace(kinds: readonly TraceKind[]): void {
    this.#tracer.set(kinds);
    for (const index of this.#remotes.keys()) this.#call(index, 'setTrace', { kinds: [...kinds] });
  }

  /** Serves accesses until there have been none for a moment. */
  #run(): StopCause {
    if (!this.#isRunning) {
      this.#isRunning = true;
      const { offsetNs } = this.#wires.clock;
      for (const index of this.#remotes.keys()) this.#call(index, 'run', { offsetNs });
    }
    let idle = 0;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      idle = this.#serve() ? 0 : idle + 1;
      if (this.#stopAsked) break;
      const failed = this.#remotes.findIndex(({ channel }) => channel.ended !== 0);
      if (failed >= 0) return this.#ended(failed);
      if (idle > SPINS) return 'halted';
    }
    this.#stopAsked = false;
    return 'event';
  }

  #ended(index: number): StopCause {
    const { channel } = this.#remotes[index]!;
    if (channel.ended === ENDED.crashed) throw this.#crash(index, channel.takeReply());
    this.#shown = index;
    this.#hold();
    return 'shutdown';
  }
  #crash(index: number, reply: unknown): Error {
    const text = (reply as { error?: string } | undefined)?.error ?? 'no report';
    return new MachineError('CRASHED', `the worker of processor ${index} failed: ${text}`);
  }

  #hold(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    for (const index of this.#remotes.keys()) this.#call(index, 'hold', {});
    // Posted accesses that nobody waits for.
    while (this.#serve());
  }

  // --- accesses ---

  /** True if any processor wanted something. */
  #serve(): boolean {
    let served = false;
    for (const remote of this.#remotes)
      if (remote.channel.serve((access) => this.#access(remote, access))) served = true;
    return served;
  }

  #access({ channel }: Remote, { kind, address, size, value }: Access): number {
    const board = this.#board();
    const bytes = size as 1 | 2 | 4;
    switch (kind) {
      case ACCESS.portRead:
        return board.portRead(address, bytes);
      case ACCESS.portWrite:
        board.portWrite(address, bytes, value);
        return 0;
      case ACCESS.memoryRead:
        return board.memoryRead(address, bytes);
      case ACCESS.memoryWrite:
        board.memoryWrite(address, bytes, value);
        return 0;
      case ACCESS.acknowledgeInterrupt:
        return board.acknowledgeInterrupt();
      case ACCESS.endOfInterrupt:
        board.endOfInterrupt(value);
        return 0;
      case ACCESS.ferr:
        board.ferr.set(value !== 0);
        return 0;
      case ACCESS.initRequested:
        this.#wires.reset();
        return 0;
      case ACCESS.trace:
        this.#wires.traceText(channel.text.read(channel.text.length));
        return 0;
    }
  }

  // --- commands ---

  #call<Name extends ProcessorCommandName>(
    index: number,
    name: Name,
    argument: ProcessorCommands[Name]['takes'],
  ): ProcessorCommands[Name]['gives'] {
    const { channel, posted } = this.#remotes[index]!;
    const { mailbox } = this.#wires;
    channel.command({ name, argument });
    posted.wakeForCommand();
    for (;;) {
      const { bell } = mailbox;
      // A processor that waits for the board does not take commands before its access is served.
      if (this.#serve()) continue;
      const reply = channel.takeReply() as ProcessorReply | undefined;
      const isLost = !channel.hasBegun && this.#host.now() > this.#startedNs + START_MAX_NS;
      if (isLost) throw this.#crash(index, { error: 'it did not begin' });
      if (reply === undefined && channel.ended !== ENDED.crashed) mailbox.sleep(bell, SLEEP_MAX_MS);
      else if (reply === undefined || 'error' in reply) throw this.#crash(index, reply);
      else return reply.value as ProcessorCommands[Name]['gives'];
    }
  }
}
