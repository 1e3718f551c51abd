// The life of one vCPU of several, in its worker: guest code in slices, its local timers, the board's commands. It
// sleeps on its wake word whenever the guest has halted, or is held. Its board is in another worker (channel.ts).

import { TimerQueue } from '@mimic/base';
import {
  adoptEngine,
  BlockStore,
  type Bus,
  cpuModel,
  type EngineImage,
  InterruptBus,
  type MemoryLayout,
  PostedInterrupts,
  Slices,
  ThreadedTranslations,
  type TranslatorMessage,
  Vcpu,
  World,
} from '@mimic/cpu';
import type { StopCause } from '../computer.ts';
import { entropyFrom } from '../entropy.ts';
import { Mailbox } from '../mailbox.ts';
import type { ComputerConfig, EntropySource } from '../options.ts';
import { Pacer } from '../pacer.ts';
import { canonical } from '../state-hash.ts';
import { Tracer } from '../tracer.ts';
import { ACCESS, type AccessKind, ENDED, ProcessorChannel } from './channel.ts';
import type { ProcessorCommands, ProcessorFrame, ProcessorReply } from './commands.ts';

/** A sleep that nothing bounds is still looked at once in a while: a lost wake-up costs this, not a hang. */
const SLEEP_MAX_MS = 1_000;

/** All that the worker is started with; can be cloned. */
export interface ProcessorStart {
  readonly index: number;
  readonly memory: WebAssembly.Memory;
  readonly layout: MemoryLayout;
  readonly engine: EngineImage;
  readonly channel: SharedArrayBuffer;
  /** The machine's mailbox, whose bell wakes the board. */
  readonly mailbox: SharedArrayBuffer;
  readonly cpu: ComputerConfig['cpu'];
  readonly rng: EntropySource;
}

/** What the worker has of its host. */
export interface ProcessorHost {
  /** The host's clock, the same in all workers, in ns. */
  now(): number;
  /** Undefined: all code is interpreted. */
  collectGarbage(): void;
  readonly receiveTranslation: (() => TranslatorMessage | undefined) | undefined;
}

/** Returns only by an error, which the board is told of. */
export function runProcessor(start: ProcessorStart, host: ProcessorHost): void {
  const channel = new ProcessorChannel(start.channel);
  const mailbox = new Mailbox(start.mailbox);
  channel.begin();
  try {
    new ProcessorLoop(start, channel, { host, ring: () => mailbox.ring() }).run();
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    channel.reply({ error: text } satisfies ProcessorReply);
    channel.end(ENDED.crashed);
    mailbox.ring();
  }
}

type Handlers = {
  readonly [Name in keyof ProcessorCommands]: (
    argument: ProcessorCommands[Name]['takes'],
  ) => ProcessorCommands[Name]['gives'];
};

class ProcessorLoop {
  readonly #channel: ProcessorChannel;
  readonly #ring: () => void;
  readonly #posted: PostedInterrupts;
  readonly #clock: TimerQueue;
  readonly #pacer: Pacer;
  readonly #vcpu: Vcpu;
  readonly #tracer: Tracer;
  readonly #runner: { run(instructionsMax: number): StopCause };
  #isHeld = true;

  constructor(
    start: ProcessorStart,
    channel: ProcessorChannel,
    wires: { host: ProcessorHost; ring: () => void },
  ) {
    const { index, memory, layout } = start;
    const { ramBytes, vcpuCount } = layout;
    this.#channel = channel;
    this.#ring = wires.ring;
    this.#posted = new PostedInterrupts(memory, index);
    const { host } = wires;
    const now = () => host.now();
    this.#clock = new TimerQueue(now, () => {
      if (this.#pacer.isOverdue) this.#vcpu.requestExit();
    });
    this.#clock.pause();
    const receive = host.receiveTranslation;
    const collectGarbage = () => host.collectGarbage();
    this.#pacer = new Pacer(this.#clock, receive && new Slices(memory, index, now));
    const interrupts = new InterruptBus();
    for (let n = 0; n < vcpuCount; n++) interrupts.attach(new PostedInterrupts(memory, n), n);
    const world = new World({ memory, index, vcpuCount });
    const engine = adoptEngine(start.engine);
    const { handlers } = engine;
    const model = cpuModel(start.cpu);
    const { rng } = start;
    // Each processor has random numbers of its own, also those that a seed repeats.
    const entropy = entropyFrom(rng === 'host' ? rng : { seed: rng.seed + 1 + index });
    this.#vcpu = new Vcpu({
      memory,
      layout,
      index,
      bus: this.#bus(),
      clock: this.#clock,
      blocks: new BlockStore({
        memory, handlers, ramBytes, vcpuCount, model, world, index, shares: true,
      }), // biome-ignore format: options
      interrupts,
      world,
      engine,
      ...(receive && {
        translation: new ThreadedTranslations({ memory, index, receive, collectGarbage }),
      }),
      ...(index === 0
        ? { ferr: { set: (high: boolean) => this.#ask(ACCESS.ferr, Number(high)) } }
        : {}),
      initRequested: () => this.#ask(ACCESS.initRequested),
      random: () => entropy.u64(),
    });
    const trace = (line: string) => this.#trace(`cpu${index} ${line}`);
    this.#tracer = new Tracer({ vcpu: this.#vcpu, trace });
    this.#runner = {
      run: (instructionsMax) => {
        const cause = this.#tracer.run(instructionsMax);
        return cause === 'fault' ? 'event' : cause;
      },
    };
  }

  run(): never {
    for (;;) {
      const { wakeCount } = this.#posted;
      this.#takeCommands();
      if (this.#isHeld) this.#posted.sleep(wakeCount, SLEEP_MAX_MS);
      else this.#slice(wakeCount);
    }
  }

  #slice(wakeCount: number): void {
    this.#vcpu.takePosted();
    this.#clock.runExpired();
    const cause = this.#pacer.run(this.#runner);
    if (cause === 'halted') {
      const { idleMs } = this.#pacer;
      if (idleMs > 0) this.#posted.sleep(wakeCount, Math.min(idleMs, SLEEP_MAX_MS));
    } else if (cause === 'shutdown') {
      this.#isHeld = true;
      this.#channel.end(ENDED.shutdown);
      this.#ring();
    }
  }

  // --- to the board ---

  #ask(kind: AccessKind, value = 0, address = 0, size = 0): number {
    return this.#channel.ask({ kind, address, size, value }, this.#ring);
  }

  #bus(): Bus {
    const { portRead, portWrite, memoryRead, memoryWrite, acknowledgeInterrupt, endOfInterrupt } =
      ACCESS;
    const post = (kind: AccessKind, value: number, address = 0, size = 0) =>
      this.#channel.post({ kind, address, size, value }, this.#ring);
    return {
      portRead: (port, size) => this.#ask(portRead, 0, port, size),
      portWrite: (port, size, value) => void this.#ask(portWrite, value, port, size),
      memoryRead: (gpa, size) => this.#ask(memoryRead, 0, gpa, size),
      memoryWrite: (gpa, size, value) => post(memoryWrite, value, gpa, size),
      acknowledgeInterrupt: () => this.#ask(acknowledgeInterrupt),
      endOfInterrupt: (vector) => post(endOfInterrupt, vector),
    };
  }

  /** The board empties the ring at each access, so there is room for one line. */
  #trace(line: string): void {
    this.#channel.text.write(new TextEncoder().encode(`${line}\n`));
    this.#ask(ACCESS.trace);
  }

  // --- from the board ---

  #takeCommands(): void {
    for (;;) {
      const frame = this.#channel.takeCommand() as ProcessorFrame | undefined;
      if (frame === undefined) return;
      const handler = this.#handlers[frame.name] as (argument: unknown) => unknown;
      this.#channel.reply({ value: handler(frame.argument) } satisfies ProcessorReply);
      this.#ring();
    }
  }

  readonly #handlers: Handlers = {
    run: ({ offsetNs }) => {
      this.#clock.follow(offsetNs);
      this.#isHeld = false;
      return null;
    },
    hold: () => {
      this.#clock.pause();
      this.#isHeld = true;
      return null;
    },
    start: ({ state }) => {
      this.#channel.end(0);
      this.#posted.clear();
      if (state === null) this.#vcpu.startSecondary();
      else this.#vcpu.start(state);
      return null;
    },
    instructionCount: () => Number(this.#vcpu.instructionCount),
    visibleState: () => canonical(this.#vcpu.visibleState()),
    nmi: () => {
      this.#vcpu.nmi();
      return null;
    },
    readRegister: ({ register }) => this.#vcpu.readRegister(register) ?? null,
    writeRegister: ({ register, value }) => this.#vcpu.writeRegister(register, value),
    translate: ({ gva }) => this.#vcpu.translate(gva) ?? null,
    disassemble: ({ gva, count }) => this.#vcpu.disassemble(gva, count),
    runCounters: () => this.#vcpu.runCounters,
    apic: () => this.#vcpu.apic.save(),
    setTrace: ({ kinds }) => {
      this.#tracer.set(kinds);
      return null;
    },
  };
}
