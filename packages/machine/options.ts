// What a machine is made from, and the checks that name a wrong value before anything is started.

import {
  CPU_MODEL_DEFAULT,
  CPU_MODELS,
  type CpuModelName,
  findCpuModel,
  ownFeatures,
  VCPU_COUNT_MAX,
} from '@mimic/cpu/outline';
import {
  checkDeterministic,
  type DeterministicConfig,
  type DeterministicOptions,
} from './deterministic-options.ts';
import { MachineError } from './errors.ts';
import { TRACE_KINDS, type TraceKind } from './protocol.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
export const MEMORY_MIN_BYTES = 16 * MIB;
/** The 32-bit WebAssembly memory also holds the processors' state, and the PC's PCI hole ends at 4 GiB. */
export const MEMORY_MAX_BYTES = 3584 * MIB;
export const MEMORY_DEFAULT_BYTES = 512 * MIB;
/** Slots that the PC board has for cards, a few kept for others. */
export const DISK_COUNT_MAX = 16;
export const SHARE_COUNT_MAX = 8;
/** Ports of the one virtio console card. */
export const CONSOLE_COUNT_MAX = 16;
/** A tag is also a folder's name in the guest, a word of the kernel's command line and of a mount command. */
const TAG_PATTERN = /^[A-Za-z0-9][\w.-]{0,30}$/;

/** A console port's name, as a rule in reverse domain order: 'org.example.agent'. */
const PORT_NAME_PATTERN = /^[A-Za-z0-9][\w.-]{0,62}$/;
/** Locally administered (IEEE 802 §8.4), then the letters of 'Mimic'. */
const MAC_DEFAULT = '02:4d:69:6d:69:63';

/** A disk image that the host has opened and locked. */
export interface DiskAttachment {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** The host's own words for the open image: can be cloned to the worker, which turns it into a store. */
  readonly descriptor: unknown;
  /** Gives image and lock back; called once, after the machine has ended. */
  close(): void;
}

/** A folder that the host has opened for sharing. */
export interface ShareAttachment {
  /** What the guest mounts: `mount -t 9p TAG /mnt`. */
  readonly tag: string;
  readonly readOnly: boolean;
  /** The host's own words for the folder, as with disks. */
  readonly descriptor: unknown;
  /** Called once, after the machine has ended. */
  close(): void;
}

/** A port of the virtio console. */
export interface ConsoleOptions {
  /** What programs in the guest know it by: /sys/class/virtio-ports/…/name. The first port needs none. */
  readonly name?: string;
}

/** A virtio network card. There is no network yet: what the guest sends is counted and dropped. */
export interface NetworkOptions {
  /** Default 02:4d:69:6d:69:63. */
  readonly mac?: string;
  /** What the guest sees of the cable. Default 'down'. */
  readonly link?: 'down' | 'up';
}

export type EntropySource = 'host' | { readonly seed: number };

/** Engines that run guest code. */
export const ACCELS = ['jit', 'interpreter'] as const;
export type Accel = (typeof ACCELS)[number];

export interface MachineOptions {
  /** A Linux bzImage, or an ELF kernel with a PVH entry. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  /** The kernel's command line. Default: none. */
  readonly append?: string;
  /** Bytes, or '512M', '1G'; 16 MiB to 3584 MiB. Default 512 MiB. */
  readonly memory?: number | string;
  /** Processors, 1 to 8, each on a thread of its own. Default 1. */
  readonly cpus?: number;
  /**
   * What the processors can do: 'v2' and 'v3' are the levels of x86-64, 'max' is everything. Default 'v2'.
   * A program that finds out by CPUID runs on each.
   */
  readonly cpu?: CpuModelName;
  /**
   * What runs the guest: 'jit' makes WebAssembly of the code that runs often (default), 'interpreter' never does.
   * The guest cannot tell, but by the time that things take.
   */
  readonly accel?: Accel;
  /**
   * For several processors on a host that orders memory accesses less than x86 does, such as ARM: 'strong' makes
   * them keep x86's order all the same, and interprets. Default 'host'.
   */
  readonly memoryOrder?: 'host' | 'strong';
  /** Virtio disks, /dev/vda first. */
  readonly disks?: readonly DiskAttachment[];
  /** Folders of the host that the guest can mount, by virtio-9p. */
  readonly shares?: readonly ShareAttachment[];
  /** Ports of a virtio console: the first is /dev/hvc0, the others /dev/vport*p1 and so on. Default: no such card. */
  readonly consoles?: readonly ConsoleOptions[];
  /** A virtio network card. Default: none. */
  readonly network?: NetworkOptions;
  /** Where the guest's random numbers come from. A seed makes them the same each time. Default 'host'. */
  readonly rng?: EntropySource;
  /**
   * Serial input that is there before the guest is: 'type' it as a person would, whether anybody reads or not
   * (default), or 'hold' it until a driver has turned on the port's receive interrupt. Drivers empty the port
   * when they start, so a script piped in from the beginning would lose its first bytes.
   */
  readonly earlySerialInput?: 'type' | 'hold';
  /** A guest that resets the machine is booted again (default), or the machine ends. */
  readonly onReset?: 'boot' | 'stop';
  /** Default 'stop': the machine ends and says where. */
  readonly onTripleFault?: 'reset' | 'stop';
  /** Default: no; guest time is host time. */
  readonly deterministic?: DeterministicOptions;
  /** Takes the lines of a recording, without newlines, as they come; the machine is deterministic then. */
  readonly onRecord?: (line: string) => void;
  /** The text of a recording: the machine gets its input from there, and all of `deterministic` but the limit. */
  readonly replay?: string;
  readonly trace?: readonly TraceKind[];
  /** Takes the trace, whole lines of text. The guest waits for a promise that it returns. */
  readonly onTrace?: (lines: Uint8Array) => void | Promise<void>;
}

/** What the worker gets: checked, complete, and made of things that can be cloned. */
export interface ComputerConfig {
  /** The machine's own copies: hosts hand their memory to the worker, and a boot may leave them empty. */
  readonly kernel: Uint8Array<ArrayBuffer>;
  readonly initrd: Uint8Array<ArrayBuffer> | undefined;
  readonly append: string;
  readonly ramBytes: number;
  readonly cpuCount: number;
  readonly cpu: CpuModelName;
  readonly accel: Accel;
  readonly memoryOrder: 'host' | 'strong';
  readonly disks: readonly {
    readonly sizeBytes: number;
    readonly readOnly: boolean;
    readonly descriptor: unknown;
  }[];
  readonly shares: readonly Omit<ShareAttachment, 'close'>[];
  readonly consoles: readonly ConsoleOptions[];
  readonly network: { readonly mac: Uint8Array; readonly link: 'down' | 'up' } | undefined;
  readonly rng: EntropySource;
  readonly deterministic: DeterministicConfig | undefined;
  readonly earlySerialInput: 'type' | 'hold';
  readonly trace: readonly TraceKind[];
  readonly onReset: 'boot' | 'stop';
  readonly onTripleFault: 'reset' | 'stop';
}

/** Bytes of '64K', '512M', '2G' or '4096'; binary units, also written KiB, MB and so on. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?$/i.exec(text.trim());
  const unit = { '': 1, K: KIB, M: MIB, G: GIB, T: 1024 * GIB }[match?.[2]?.toUpperCase() ?? ''];
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new MachineError('BAD_OPTION', `"${text}" is not a size`, {
      hint: 'write a number with an optional unit: 512M, 1G, 65536K',
    });
  }
  return bytes;
}

/** '512M' for a whole number of MiB. */
export function formatSize(bytes: number): string {
  if (bytes % GIB === 0 && bytes > 0) return `${bytes / GIB}G`;
  if (bytes % MIB === 0) return `${bytes / MIB}M`;
  return bytes % KIB === 0 ? `${bytes / KIB}K` : `${bytes} bytes`;
}

/** Trace kinds of a list like 'ports,mmio'. */
export function parseTraceKinds(list: string): TraceKind[] {
  return list.split(',').map((word) => {
    const kind = TRACE_KINDS.find((known) => known === word.trim());
    if (kind !== undefined) return kind;
    throw new MachineError('BAD_OPTION', `"${word}" is not something to trace`, {
      hint: `choose from ${TRACE_KINDS.join(', ')}, with commas between`,
    });
  });
}

export function checkOptions(options: MachineOptions): ComputerConfig {
  const { append = '', cpus = 1, disks = [], shares = [], rng = 'host' } = options;
  if (!(Number.isInteger(cpus) && cpus >= 1 && cpus <= VCPU_COUNT_MAX)) {
    throw new MachineError('BAD_OPTION', `a machine cannot have ${cpus} processors`, {
      hint: `a machine has 1 to ${VCPU_COUNT_MAX}`,
    });
  }
  if (disks.length > DISK_COUNT_MAX) {
    throw new MachineError('BAD_OPTION', `${disks.length} disks are too many`, {
      hint: `a machine has at most ${DISK_COUNT_MAX}`,
    });
  }
  checkShares(shares);
  checkConsoles(options.consoles ?? []);
  if (rng !== 'host' && !Number.isSafeInteger(rng.seed)) {
    throw new MachineError('BAD_OPTION', `${rng.seed} is not a whole number to seed with`);
  }
  const deterministic = checkDeterministic(options);
  return {
    kernel: new Uint8Array(options.kernel),
    initrd: options.initrd && new Uint8Array(options.initrd),
    append,
    cpuCount: cpus,
    cpu: checkCpu(options.cpu ?? CPU_MODEL_DEFAULT),
    accel: options.memoryOrder === 'strong' ? 'interpreter' : checkAccel(options.accel ?? 'jit'),
    memoryOrder: options.memoryOrder ?? 'host',
    ramBytes: checkMemory(options.memory ?? MEMORY_DEFAULT_BYTES),
    disks: disks.map(({ sizeBytes, readOnly, descriptor }) => ({
      sizeBytes,
      readOnly,
      descriptor,
    })),
    shares: shares.map(({ tag, readOnly, descriptor }) => ({ tag, readOnly, descriptor })),
    consoles: (options.consoles ?? []).map(({ name }) => (name === undefined ? {} : { name })),
    network: options.network && {
      mac: checkMac(options.network.mac ?? MAC_DEFAULT),
      link: options.network.link ?? 'down',
    },
    rng: deterministic === undefined ? rng : { seed: deterministic.seed },
    deterministic,
    earlySerialInput: deterministic?.replay ? 'type' : (options.earlySerialInput ?? 'type'),
    trace: options.trace ?? [],
    onReset: options.onReset ?? 'boot',
    onTripleFault: options.onTripleFault ?? 'stop',
  };
}

/** Also for what no type checker saw. */
function checkAccel(accel: Accel): Accel {
  if (ACCELS.includes(accel)) return accel;
  throw new MachineError('BAD_OPTION', `there is no engine '${String(accel)}'`, {
    hint: `the engines are ${ACCELS.join(' and ')}`,
  });
}

function checkCpu(name: string): CpuModelName {
  const model = findCpuModel(name);
  if (model !== undefined) return model.name;
  throw new MachineError('BAD_OPTION', `there is no processor model "${name}"`, {
    hint: `choose from ${CPU_MODELS.map((known) => known.name).join(', ')}`,
  });
}

/** The models as a table for people: each line has the features that the model adds to the one before. */
export function describeCpuModels(): string {
  return CPU_MODELS.map((model) => {
    const isDefault = model.name === CPU_MODEL_DEFAULT ? ' (default)' : '';
    return `${model.name.padEnd(5)}${model.summary}${isDefault}\n${wrap(ownFeatures(model))}`;
  }).join('\n');
}
/** Words in lines of at most 80 columns, indented by five. */
function wrap(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > 80) lines.push(`     ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.map((line) => `${line}\n`).join('');
}

function checkShares(shares: readonly ShareAttachment[]): void {
  if (shares.length > SHARE_COUNT_MAX) {
    throw new MachineError('BAD_OPTION', `${shares.length} shared folders are too many`, {
      hint: `a machine has at most ${SHARE_COUNT_MAX}`,
    });
  }
  const seen = new Set<string>();
  for (const { tag } of shares) {
    if (!TAG_PATTERN.test(tag)) {
      throw new MachineError('BAD_OPTION', `"${tag}" is not a tag for a shared folder`, {
        hint: 'a tag has 1 to 31 letters, digits and any of _ . - but begins with a letter or digit',
      });
    }
    if (seen.has(tag)) {
      throw new MachineError('BAD_OPTION', `two shared folders have the tag "${tag}"`, {
        hint: 'give each a tag of its own',
      });
    }
    seen.add(tag);
  }
}

function checkConsoles(consoles: readonly ConsoleOptions[]): void {
  if (consoles.length > CONSOLE_COUNT_MAX) {
    throw new MachineError('BAD_OPTION', `${consoles.length} consoles are too many`, {
      hint: `a machine has at most ${CONSOLE_COUNT_MAX}`,
    });
  }
  const seen = new Set<string>();
  for (const { name } of consoles) {
    if (name === undefined) continue;
    if (!PORT_NAME_PATTERN.test(name)) {
      throw new MachineError('BAD_OPTION', `"${name}" is not a name for a console`, {
        hint: 'a name has 1 to 63 letters, digits and any of _ . - but begins with a letter or digit',
      });
    }
    if (seen.has(name)) {
      throw new MachineError('BAD_OPTION', `two consoles have the name "${name}"`, {
        hint: 'give each a name of its own',
      });
    }
    seen.add(name);
  }
}

/** IEEE 802 §8.2: an address with the lowest bit of its first byte set is a group's, and no card's. */
function checkMac(text: string): Uint8Array {
  const isMac = /^[\da-f]{2}(:[\da-f]{2}){5}$/i.test(text);
  const mac = Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
  if (!isMac || (mac[0]! & 1) !== 0 || mac.every((byte) => byte === 0)) {
    throw new MachineError('BAD_OPTION', `"${text}" is not the address of a network card`, {
      hint: `write six bytes, such as ${MAC_DEFAULT}; the first is even`,
    });
  }
  return mac;
}

function checkMemory(memory: number | string): number {
  const bytes = typeof memory === 'string' ? parseSize(memory) : memory;
  const range = `a machine has ${formatSize(MEMORY_MIN_BYTES)} to ${formatSize(MEMORY_MAX_BYTES)}`;
  if (!(bytes >= MEMORY_MIN_BYTES && bytes <= MEMORY_MAX_BYTES)) {
    const size = typeof memory === 'string' ? memory : formatSize(memory);
    throw new MachineError('BAD_OPTION', `${size} of memory is out of range`, { hint: range });
  }
  if (bytes % MIB !== 0) {
    throw new MachineError('BAD_OPTION', `${formatSize(bytes)} of memory are not whole mebibytes`, {
      hint: `${range}, in steps of 1M`,
    });
  }
  return bytes;
}
