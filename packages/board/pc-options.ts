// What a PC board is built from. All needs of its parts come in here; the board owns none of them.

import type { ByteSink, Clock, GuestMemory, InterruptSink, IrqLine } from '@mimic/base';
import {
  type BlockStore,
  CONSOLE_PORTS_MAX,
  type ConsolePortOptions,
  type FillRandom,
  type VirtioDevice,
} from '@mimic/devices';
import { MEMORY, PCI_SLOT, PORT } from './address-map.ts';
import { BoardError } from './errors.ts';

/** A serial port's host side. */
export interface SerialWires {
  readonly out: ByteSink;
  /** The port takes input again after `receive` had to refuse some. */
  readonly roomAvailable?: () => void;
}

export interface PcOptions {
  readonly memory: GuestMemory;
  readonly cpuCount: number;
  readonly clock: Clock;
  /** Messages for local APICs, from the I/O APIC and from MSIs. */
  readonly interrupts: InterruptSink;
  /** LINT0 of the boot processor: high while the PICs ask for `acknowledgeInterrupt`. */
  readonly intr: IrqLine;
  /** Milliseconds since 1970 for the real-time clock. */
  readonly wallClockMs: () => number;
  /** COM1 to COM4, as many as given. */
  readonly serial?: readonly SerialWires[];
  readonly disks?: readonly BlockStore[];
  /** Ports of one virtio console; the first is hvc0. None: no such card. */
  readonly consoles?: readonly ConsolePortOptions[];
  /** Source of the virtio entropy card; none: no such card. */
  readonly fillRandom?: FillRandom;
  /** Further cards (network, shared folders), in slot order. */
  readonly cards?: readonly VirtioDevice[];
  /** Bytes written to the debug console at port 0xE9. */
  readonly debug?: ByteSink;
  /** The guest turned itself off. */
  readonly onPowerOff?: () => void;
  /** The guest asked for a reset: of the whole board, or of the processors only (INIT). */
  readonly onReset?: (scope: 'system' | 'processor') => void;
  /** The guest entered a sleep state other than off; no table of ours offers one. */
  readonly onSleep?: (sleepType: number) => void;
}

const MEBIBYTE = 0x10_0000;
const RAM_MIN = 4 * MEBIBYTE;
export const CPU_COUNT_MAX = 255; // APIC ids of xAPIC, 8 bits, 0xFF is broadcast.

/** Throws a `BoardError` unless a PC can hold all that. */
export function checkOptions(options: PcOptions): void {
  const ramBytes = options.memory.sizeBytes;
  if (ramBytes < RAM_MIN || ramBytes > MEMORY.ramEndMax || ramBytes % MEBIBYTE !== 0) {
    throw new BoardError(
      'BOARD_BAD_MEMORY_SIZE',
      `The machine cannot have ${ramBytes} bytes of memory.`,
      { hint: 'Choose whole mebibytes from 4 to 3584.' },
    );
  }
  const { cpuCount, consoles = [], disks = [], cards = [], fillRandom } = options;
  if (!Number.isInteger(cpuCount) || cpuCount < 1 || cpuCount > CPU_COUNT_MAX) {
    throw new BoardError('BOARD_BAD_CPU_COUNT', `The machine cannot have ${cpuCount} processors.`, {
      hint: `Choose 1 to ${CPU_COUNT_MAX}.`,
    });
  }
  if (consoles.length > CONSOLE_PORTS_MAX) {
    const message = `The machine has ${consoles.length} console ports; a card has ${CONSOLE_PORTS_MAX}.`;
    throw new BoardError('BOARD_TOO_MANY_PARTS', message, { hint: 'Take some of them out.' });
  }
  const cardCount =
    disks.length +
    cards.length +
    (consoles.length > 0 ? 1 : 0) +
    (fillRandom === undefined ? 0 : 1);
  const slots = PCI_SLOT.count - PCI_SLOT.firstCard;
  if (cardCount > slots) {
    throw new BoardError(
      'BOARD_TOO_MANY_PARTS',
      `The machine has ${cardCount} disks and other cards; there are ${slots} slots.`,
      { hint: 'Take some of them out.' },
    );
  }
  if ((options.serial?.length ?? 0) > PORT.com.length) {
    throw new BoardError('BOARD_TOO_MANY_PARTS', 'A PC has at most 4 serial ports.', {
      hint: 'Use virtio consoles for more.',
    });
  }
}
