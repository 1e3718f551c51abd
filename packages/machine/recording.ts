// The recording of a deterministic machine: what it was made from, and every input with its place in the guest's time.
// Text, one JSON object a line: a header, inputs in the order they came, and the end. docs/design/deterministic.md.

import { fromHex, toHex } from '@mimic/base';
import type { DeterministicConfig } from './deterministic-options.ts';
import { MachineError } from './errors.ts';
import type { Place } from './instruction-time.ts';
import type { ComputerConfig } from './options.ts';
import type { CommandName } from './protocol.ts';
import type { Hasher } from './state-hash.ts';

export const RECORDING_FORMAT = 'mimic-recording';
export const RECORDING_VERSION = 1;

/** What the machine must be made from to give the same run. Files by their SHA-256; disks by their size alone. */
export interface RecordingHeader {
  readonly seed: number;
  readonly nsPerInstruction: number;
  readonly startMs: number;
  readonly memoryBytes: number;
  readonly cpu: string;
  readonly append: string;
  readonly kernel: string;
  readonly initrd: string | null;
  readonly diskBytes: readonly number[];
  readonly consoleCount: number;
  readonly network: boolean;
  readonly onReset: 'boot' | 'stop';
  readonly onTripleFault: 'reset' | 'stop';
}

/** Commands that change the guest; all others only look. */
export const RECORDED_COMMANDS: ReadonlySet<CommandName> = new Set<CommandName>([
  'pressPowerButton',
  'nmi',
  'reset',
  'writeRegister',
  'writeMemory',
  'writeVirtual',
]);

export type Input =
  | { readonly kind: 'serial'; readonly bytes: Uint8Array }
  | { readonly kind: 'console'; readonly index: number; readonly bytes: Uint8Array }
  | { readonly kind: 'command'; readonly name: CommandName; readonly argument: object }
  | { readonly kind: 'end'; readonly reason: string; readonly sha256: string };

export interface RecordedInput {
  readonly at: Place;
  readonly input: Input;
}

export interface Recording {
  readonly header: RecordingHeader;
  readonly inputs: readonly RecordedInput[];
}

/** The header for a machine, and with `replay` the proof that it is the machine of that recording. */
export function headerFor(
  config: ComputerConfig,
  deterministic: DeterministicConfig,
  sha256: () => Hasher,
): RecordingHeader {
  const digest = (bytes: Uint8Array) => {
    const hasher = sha256();
    hasher.update(bytes);
    return hasher.hex();
  };
  const header: RecordingHeader = {
    seed: deterministic.seed,
    nsPerInstruction: deterministic.nsPerInstruction,
    startMs: deterministic.startMs,
    memoryBytes: config.ramBytes,
    cpu: config.cpu,
    append: config.append,
    kernel: digest(config.kernel),
    initrd: config.initrd === undefined ? null : digest(config.initrd),
    diskBytes: config.disks.map((disk) => disk.sizeBytes),
    consoleCount: config.consoles.length,
    network: config.network !== undefined,
    onReset: config.onReset,
    onTripleFault: config.onTripleFault,
  };
  const recorded = deterministic.replay?.header;
  if (recorded === undefined) return header;
  for (const name of Object.keys(header) as (keyof RecordingHeader)[]) {
    const [ours, theirs] = [JSON.stringify(header[name]), JSON.stringify(recorded[name])];
    if (ours === theirs) continue;
    const message = `the recording is of a machine with another ${name}: ${theirs}, not ${ours}`;
    throw new MachineError('BAD_RECORDING', message, {
      hint: 'replay with the same options and files as were recorded',
    });
  }
  return header;
}

export function printHeader(header: RecordingHeader): string {
  return JSON.stringify({ format: RECORDING_FORMAT, version: RECORDING_VERSION, ...header });
}

export function printInput({ at, input }: RecordedInput): string {
  return JSON.stringify({ at: [at.count, at.ns], ...input }, (_key, value: unknown) => {
    if (typeof value === 'bigint') return { $bigint: `0x${value.toString(16)}` };
    if (value instanceof Uint8Array) return { $hex: toHex(value) };
    return value;
  });
}

/** Fails with BAD_RECORDING and the number of the line that is wrong. */
export function parseRecording(text: string): Recording {
  const [first = '', ...rest] = text.split('\n').filter((line) => line !== '');
  const header = parseLine(first, 1);
  if (header.format !== RECORDING_FORMAT) throw badRecording(1, 'it is not a recording');
  if (header.version !== RECORDING_VERSION) {
    throw badRecording(1, `version ${String(header.version)} is not known`);
  }
  checkHeader(header);
  const inputs = rest.map((line, index) => recordedInput(parseLine(line, index + 2), index + 2));
  for (const [index, { at }] of inputs.entries()) {
    const before = inputs[index - 1]?.at ?? { count: 0, ns: 0 };
    if (at.count < before.count || at.ns < before.ns) {
      throw badRecording(index + 2, 'it lies before the line above');
    }
  }
  return { header: header as unknown as RecordingHeader, inputs };
}

type Json = Readonly<Record<string, unknown>>;

function parseLine(line: string, number: number): Json {
  try {
    const value: unknown = JSON.parse(line, (_key, part: unknown) => {
      if (typeof part !== 'object' || part === null) return part;
      if ('$bigint' in part) return BigInt(String(part.$bigint));
      if ('$hex' in part) return fromHex(String(part.$hex));
      return part;
    });
    if (typeof value === 'object' && value !== null) return value as Json;
  } catch {
    // Told below.
  }
  throw badRecording(number, 'it is not a JSON object');
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

function checkHeader(header: Json): void {
  const { seed, nsPerInstruction, startMs, memoryBytes, diskBytes, consoleCount } = header;
  const counts = [nsPerInstruction, memoryBytes, consoleCount].every(isCount);
  const texts = [
    header.cpu,
    header.append,
    header.kernel,
    header.onReset,
    header.onTripleFault,
  ].every((value) => typeof value === 'string');
  const isWhole = Number.isSafeInteger(seed) && Number.isSafeInteger(startMs);
  const disks = Array.isArray(diskBytes) && diskBytes.every(isCount);
  const initrd = header.initrd === null || typeof header.initrd === 'string';
  if (!(counts && texts && isWhole && disks && initrd && typeof header.network === 'boolean')) {
    throw badRecording(1, 'a field of the header is missing or wrong');
  }
}

function recordedInput(line: Json, number: number): RecordedInput {
  const { at, ...rest } = line;
  const input = rest as Partial<Record<'kind' | 'bytes' | 'index' | 'name' | 'argument', unknown>>;
  if (!Array.isArray(at) || !isCount(at[0]) || !isCount(at[1])) {
    throw badRecording(number, 'its place is missing');
  }
  const bytes = input.bytes instanceof Uint8Array;
  const isCommand =
    RECORDED_COMMANDS.has(input.name as CommandName) &&
    typeof input.argument === 'object' &&
    input.argument !== null;
  const isValid =
    (input.kind === 'serial' && bytes) ||
    (input.kind === 'console' && bytes && isCount(input.index)) ||
    (input.kind === 'command' && isCommand) ||
    (input.kind === 'end' && 'sha256' in rest);
  if (!isValid) throw badRecording(number, 'it is no input that this version knows');
  return { at: { count: at[0], ns: at[1] }, input: rest as unknown as Input };
}

function badRecording(line: number, what: string): MachineError {
  return new MachineError('BAD_RECORDING', `line ${line} of the recording: ${what}`, {
    hint: 'a recording is made with --record, and replayed by the same version of Mimic',
  });
}
