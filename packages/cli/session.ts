// One run of one machine from the command line: build, connect, start, wait for the end, tell how it ended.

import type { CpuModelName, Host, MachineEnd, MachineOptions } from 'mimic';
import { collectGarbage } from './garbage.ts';
import { ProfileOutput } from './profile.ts';
import { withProgress } from './progress.ts';
import { deterministicOptions, RecordingFile, reportFinalState } from './recording.ts';
import { type RunEnd, reportEnd } from './report.ts';
import type { RunOptions } from './run-options.ts';
import { openConsole, openConsolePorts, openFile, type SerialConsole } from './serial-console.ts';

/** A kernel that has said its last words is given this long to have them printed. */
const LAST_WORDS_MS = 500;
/** Signals that come within this time of the first are echoes of it: a terminal sends to parent and child. */
const ECHO_MS = 1_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Images {
  readonly kernel: string | Uint8Array;
  readonly initrd?: string | Uint8Array;
  readonly append?: string;
  /** What the guest is told when piped input ends; its shell takes Ctrl-D for the end. Default 'silent'. */
  readonly endOfInput?: 'silent' | 'ctrl-d';
}

/** Returns the exit code. Fails, with nothing left behind, if the machine cannot be made. */
export async function runSession(
  images: Images,
  options: RunOptions,
  host: Host | undefined,
): Promise<number> {
  const { endOfInput = 'silent', ...files } = images;
  const { Machine, nodeHost, parseTraceKinds } = await import('mimic');
  const trace = new TraceOutput(options.trace?.path);
  const recording = new RecordingFile(options.record);
  const profile = new ProfileOutput(options, images.kernel);
  const machine = await withProgress('Building the machine', () => {
    const machineOptions: MachineOptions = {
      ...files,
      ...(options.memory === undefined ? {} : { memory: options.memory }),
      ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
      ...(options.cpu === undefined ? {} : { cpu: options.cpu as CpuModelName }),
      ...(options.accel === undefined ? {} : { accel: options.accel }),
      ...(options.memoryOrder === undefined ? {} : { memoryOrder: options.memoryOrder }),
      ...(options.rng === undefined ? {} : { rng: options.rng }),
      disks: options.disk ?? [],
      shares: options.share ?? [],
      consoles: (options.console ?? []).map(({ name }) => (name === undefined ? {} : { name })),
      ...(typeof options.net === 'object' ? { network: options.net } : {}),
      earlySerialInput: process.stdin.isTTY === true ? 'type' : 'hold',
      onReset: options.reboot ? 'boot' : 'stop',
      onTripleFault: options.tripleFault ?? 'stop',
      trace: options.trace === undefined ? [] : parseTraceKinds(options.trace.kinds),
      onTrace: (lines) => trace.write(lines),
      ...deterministicOptions(options, recording),
    };
    const { keepTranslations } = options;
    return Machine.create(machineOptions, host ?? nodeHost(undefined, { keepTranslations }));
  });
  await using running = machine;

  let ours: RunEnd | undefined;
  const end = (why: RunEnd) => {
    ours ??= why;
    void running.stop();
  };
  await trace.open();
  await recording.open();
  await profile.start(running);
  await using consoles = new Consoles(await openConsolePorts(options.console ?? [], running));
  const serialTarget = options.serial ?? { to: 'stdio' };
  const serial = await openConsole(serialTarget, running, {
    quit: () => end('quit'),
    outputGone: () => end('output-gone'),
    endOfInput,
  });
  const interactive = serialTarget.to === 'stdio' && process.stdin.isTTY === true;
  let stuck: MachineEnd | undefined;
  running.on('panic', ({ message, final }) => {
    if (!final) return;
    if (interactive && options.reboot) process.stderr.write(stuckNotice(message));
    else {
      stuck = { reason: 'panic', message };
      setTimeout(() => void running.stop(), LAST_WORDS_MS);
    }
  });
  const unwatchSignals = watchSignals(end);
  const timeout =
    options.timeout === undefined ? undefined : setTimeout(end, options.timeout, 'timeout');

  const printing = [
    pump(running.serial.readable, serial),
    ...consoles.ports.map((port, index) => pump(running.consoles[index]!.readable, port)),
  ];
  await running.start();
  collectGarbage();
  const how = await running.exited;
  await Promise.all(printing);
  clearTimeout(timeout);
  await serial.close();
  await trace.close();
  await recording.close();
  await profile.finish();
  unwatchSignals();
  if (running.finalState !== undefined) reportFinalState(running.finalState);
  return reportEnd(ours === undefined && how.reason === 'stopped' ? (stuck ?? how) : how, ours);
}

function stuckNotice(message: string): string {
  return (
    `\nThe guest's kernel panicked (${message}) and does nothing more. ` +
    'Ctrl-A x quits; "reset" in the monitor (Ctrl-A c) boots again.\n'
  );
}

async function pump(from: ReadableStream<Uint8Array>, to: SerialConsole): Promise<void> {
  for await (const bytes of from) await to.write(bytes);
}

/** The first signal ends the run in good order; another, later one does not wait for that. */
function watchSignals(end: (why: RunEnd) => void): () => void {
  let firstMs: number | undefined;
  const listeners = SIGNALS.map((signal) => {
    const listener = () => {
      if (firstMs !== undefined && performance.now() - firstMs > ECHO_MS) process.exit(1);
      firstMs ??= performance.now();
      end(signal);
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    for (const unwatch of listeners) unwatch();
  };
}

/** What the virtio console's ports are connected to; closed whichever way the run ends. */
class Consoles implements AsyncDisposable {
  readonly ports: readonly SerialConsole[];

  constructor(ports: readonly SerialConsole[]) {
    this.ports = ports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const port of this.ports) await port.close();
  }
}

/** The trace's way out; the file is made only once the machine could be built. */
class TraceOutput {
  readonly #path: string | undefined;
  #file: SerialConsole | undefined;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  async open(): Promise<void> {
    if (this.#path !== undefined) this.#file = await openFile(this.#path);
  }

  write(lines: Uint8Array): Promise<void> {
    if (this.#file !== undefined) return this.#file.write(lines);
    return new Promise((resolve) => {
      process.stderr.write(lines, () => resolve());
    });
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}
