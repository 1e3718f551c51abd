// The options that say what machine to run and how, shared by all commands that run one: their help, their syntax.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { MachineOptions } from 'mimic';

export interface RunOptions {
  readonly append?: string;
  readonly memory?: string;
  readonly cpus?: number;
  /** A model's name, or 'list'. */
  readonly cpu?: string;
  readonly disk?: DiskOption[];
  readonly share?: ShareOption[];
  readonly serial?: SerialTarget;
  readonly console?: ConsoleOption[];
  readonly net?: NetworkOption;
  readonly rng?: NonNullable<MachineOptions['rng']>;
  /** The seed; true for the default one. */
  readonly deterministic?: number | true;
  readonly record?: string;
  readonly replay?: string;
  readonly instructions?: number;
  readonly accel?: NonNullable<MachineOptions['accel']>;
  readonly memoryOrder?: NonNullable<MachineOptions['memoryOrder']>;
  readonly trace?: TraceOption;
  readonly profile?: string;
  readonly symbols?: string[];
  /** Commander's way to say --no-keep-translations and --no-reboot: true unless they were given. */
  readonly keepTranslations: boolean;
  readonly reboot: boolean;
  readonly tripleFault?: 'stop' | 'reset';
  readonly timeout?: number;
}

export interface DiskOption {
  readonly path: string;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
}

export interface ShareOption {
  readonly path: string;
  readonly tag: string;
  readonly readOnly: boolean;
}

export type SerialTarget =
  | { readonly to: 'stdio' }
  | { readonly to: 'file'; readonly path: string }
  | { readonly to: 'tcp'; readonly address: string };

export interface ConsoleOption {
  readonly target: Exclude<SerialTarget, { readonly to: 'stdio' }>;
  readonly name?: string;
}

export type NetworkOption = 'none' | { readonly mac?: string };

export interface TraceOption {
  readonly kinds: string;
  /** Standard error if undefined. */
  readonly path: string | undefined;
}

const TAG_DEFAULT = 'share';

export function addRunOptions(command: Command): Command {
  return command
    .option('-m, --memory <size>', 'RAM, 16M to 3584M (default: 512M)')
    .option(
      '--cpus <count>',
      'processors, 1 to 8; each runs on a thread of its own (default: 1)',
      parseCount,
    )
    .option(
      '--cpu <model>',
      'what the processors can do: v2, v3 or max; list: print the features of each (default: v2)',
    )
    .option(
      '-d, --disk <file[,ro][,snapshot=on]>',
      'raw disk image; repeat for more, the first is /dev/vda; ro: the guest may not write; ' +
        'snapshot=on: what it writes is forgotten at the end',
      collectDisk,
    )
    .option(
      '--share <dir[:tag][,ro]>',
      'share a folder of this computer; repeat for more; the guest mounts it by its tag ' +
        '(default: share): mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt; ' +
        'ro: the guest may not write',
      collectShare,
    )
    .option('--append <text>', "the kernel's command line, such as 'console=ttyS0 root=/dev/vda'")
    .option(
      '--serial <target>',
      'where the serial port goes: stdio, file:FILE (output only), or tcp:HOST:PORT ' +
        '(waits for a caller) (default: stdio)',
      parseSerial,
    )
    .option(
      '--console <target[,name=NAME]>',
      'a virtio console: file:FILE or tcp:HOST:PORT, as for --serial; repeat for more; the first is ' +
        '/dev/hvc0, further ones are /dev/vport*p1, p2 and so on; /sys/class/virtio-ports tells their names',
      collectConsole,
    )
    .option(
      '--net <network>',
      'none; or unplugged[,mac=ADDRESS]: a virtio network card whose cable is not plugged in; ' +
        'there is no network behind it yet (default: none)',
      parseNet,
    )
    .option(
      '--rng <source>',
      "the guest's random numbers: host, or seed:N (default: host)",
      parseRng,
    )
    .option(
      '--deterministic [seed]',
      "the run depends on nothing but these options, the files and the input: the guest's time is " +
        'counted in instructions, its date begins with 2026; tells the hash of the state at the end ' +
        '(default seed: 1)',
      parseSeed,
    )
    .option('--record <file>', "write down all input with its place in the guest's time")
    .option('--replay <file>', 'take all input from a recording; the options must be those of then')
    .option('--instructions <count>', 'end behind so many instructions; deterministic', parseCount)
    .addOption(
      new Option(
        '--memory-order <order>',
        'of several processors; host: right on x86; strong: x86-like on any host (default: host)',
      ).choices(['host', 'strong']),
    )
    .addOption(
      new Option('--accel <engine>', 'what runs the guest (default: jit)').choices([
        'jit',
        'interpreter',
      ]),
    )
    .option(
      '--no-keep-translations',
      "neither take translated code from the user's cache nor keep it there",
    )
    .option(
      '--trace <list[:file]>',
      'write what happens to standard error or a file: any of instructions, exceptions, ports, ' +
        'mmio, interrupts, jit, with commas between',
      parseTrace,
    )
    .option(
      '--profile <file>',
      'find out where the guest spends its time; writes a .cpuprofile for DevTools or speedscope, and ' +
        'the hottest places to standard error',
    )
    .option(
      '--symbols <file>',
      "names for the profile's addresses: a System.map, the output of nm, an ELF file, or the " +
        "guest's /proc/kallsyms; repeat for more",
      collectFile,
    )
    .option('--no-reboot', 'end when the guest resets the machine, instead of booting again')
    .addOption(
      new Option('--triple-fault <action>', 'what follows a triple fault (default: stop)').choices([
        'stop',
        'reset',
      ]),
    )
    .option('--timeout <time>', 'end after this time: 90s, 5m, 1h', parseDuration);
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It is not a whole number.');
  return Number(text);
}

/** A comma in a path is written twice, as QEMU has it. */
function splitAtCommas(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).map((word) => word.replaceAll(',,', ','));
}

export function parseDisk(text: string): DiskOption {
  const [path = '', ...flags] = splitAtCommas(text);
  let readOnly = false;
  let snapshot = false;
  for (const flag of flags) {
    if (flag === 'ro' || flag === 'ro=on') readOnly = true;
    else if (flag === 'snapshot=on' || flag === 'snapshot') snapshot = true;
    else if (flag !== 'snapshot=off' && flag !== 'ro=off' && flag !== 'format=raw') {
      throw new InvalidArgumentError(
        `A disk has no option "${flag}"; there are ro and snapshot=on.`,
      );
    }
  }
  if (path === '') throw new InvalidArgumentError('The file is missing.');
  return { path, readOnly, snapshot };
}

function collectFile(path: string, before: string[] = []): string[] {
  return [...before, path];
}

function collectDisk(text: string, before: DiskOption[] = []): DiskOption[] {
  return [...before, parseDisk(text)];
}

/** The tag is behind the last colon, unless a slash there shows that the colon is the path's. */
export function parseShare(text: string): ShareOption {
  const [place = '', ...flags] = splitAtCommas(text);
  let readOnly = false;
  for (const flag of flags) {
    if (flag === 'ro' || flag === 'ro=on') readOnly = true;
    else if (flag !== 'ro=off') {
      throw new InvalidArgumentError(`A shared folder has no option "${flag}"; there is ro.`);
    }
  }
  const [, path = '', tag = TAG_DEFAULT] = /^(.*?)(?::([^:/]*))?$/s.exec(place) ?? [];
  if (path === '') throw new InvalidArgumentError('The folder is missing.');
  return { path, tag, readOnly };
}

function collectShare(text: string, before: ShareOption[] = []): ShareOption[] {
  return [...before, parseShare(text)];
}

export function parseSerial(text: string): SerialTarget {
  if (text === 'stdio') return { to: 'stdio' };
  const [, to, rest = ''] = /^(file|tcp):(.+)$/.exec(text) ?? [];
  if (to === 'file') return { to, path: rest };
  if (to === 'tcp') return { to, address: rest };
  throw new InvalidArgumentError('Write stdio, file:FILE or tcp:HOST:PORT.');
}

export function parseConsole(text: string): ConsoleOption {
  const [place = '', ...flags] = splitAtCommas(text);
  const [, to, rest = ''] = /^(file|tcp):(.+)$/.exec(place) ?? [];
  if (to === undefined) throw new InvalidArgumentError('Write file:FILE or tcp:HOST:PORT.');
  const target =
    to === 'file' ? { to: 'file' as const, path: rest } : { to: 'tcp' as const, address: rest };
  let option: ConsoleOption = { target };
  for (const flag of flags) {
    if (!flag.startsWith('name=')) {
      throw new InvalidArgumentError(`A console has no option "${flag}"; there is name=NAME.`);
    }
    option = { target, name: flag.slice('name='.length) };
  }
  return option;
}

function collectConsole(text: string, before: ConsoleOption[] = []): ConsoleOption[] {
  return [...before, parseConsole(text)];
}

export function parseNet(text: string): NetworkOption {
  if (text === 'none') return 'none';
  const [, mac] = /^unplugged(?:,mac=(.+))?$/.exec(text) ?? [];
  if (mac !== undefined) return { mac };
  if (text === 'unplugged') return {};
  throw new InvalidArgumentError(
    'Write none, unplugged or unplugged,mac=ADDRESS; there is no network to plug into yet.',
  );
}

export function parseRng(text: string): NonNullable<MachineOptions['rng']> {
  if (text === 'host') return 'host';
  const [, seed] = /^seed:(\d+)$/.exec(text) ?? [];
  if (seed === undefined || !Number.isSafeInteger(Number(seed))) {
    throw new InvalidArgumentError('Write host, or seed:N with a whole number N.');
  }
  return { seed: Number(seed) };
}

/** Not asked when the option has no value. */
export function parseSeed(text: string): number {
  const seed = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(seed)) throw new InvalidArgumentError('A seed is a whole number.');
  return seed;
}

export function parseTrace(text: string): TraceOption {
  const colon = text.indexOf(':');
  if (colon < 0) return { kinds: text, path: undefined };
  return { kinds: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** Milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const ms = Number(match?.[1]) * (units[match?.[2] ?? 's'] ?? Number.NaN);
  // setTimeout counts in 32 bits.
  if (!(ms > 0 && ms < 2 ** 31)) {
    throw new InvalidArgumentError('Write a time such as 90s, 5m or 1h, at most 24 days.');
  }
  return ms;
}
