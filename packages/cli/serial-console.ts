// Where the guest's serial port and consoles go: the terminal or pipe, a file, or whoever calls a TCP port.

import { open } from 'node:fs/promises';
import { fileError, type Machine, type SerialPort, TcpConsole } from 'mimic';
import type { ConsoleOption, SerialTarget } from './run-options.ts';
import { StdioConsole } from './stdio-console.ts';

export interface SerialConsole {
  /** Resolves when the next bytes may follow. */
  write(bytes: Uint8Array): Promise<void>;
  /** After all has been written. */
  close(): Promise<void>;
}

export async function openConsole(
  target: SerialTarget,
  machine: Machine,
  options: {
    readonly quit: () => void;
    readonly outputGone: () => void;
    readonly endOfInput: 'silent' | 'ctrl-d';
  },
): Promise<SerialConsole> {
  switch (target.to) {
    case 'stdio': {
      const stdio = new StdioConsole(machine, options);
      stdio.open(options.endOfInput);
      return stdio;
    }
    default:
      return await openRemote(target, machine.serial, 'The serial port');
  }
}

/** The ends of the virtio console's ports, in the options' order. None stays open if one cannot be opened. */
export async function openConsolePorts(
  options: readonly ConsoleOption[],
  machine: Machine,
): Promise<SerialConsole[]> {
  const ports: SerialConsole[] = [];
  try {
    for (const [index, { target, name }] of options.entries()) {
      const title = `Console ${index}${name === undefined ? '' : ` (${name})`}`;
      ports.push(await openRemote(target, machine.consoles[index]!, title));
    }
    return ports;
  } catch (error) {
    for (const port of ports) await port.close();
    throw error;
  }
}

async function openRemote(
  target: ConsoleOption['target'],
  port: SerialPort,
  title: string,
): Promise<SerialConsole> {
  if (target.to === 'file') return await openFile(target.path);
  const tcp = await TcpConsole.listen(target.address, (bytes) => port.write(bytes));
  process.stderr.write(`${title} waits for a caller on TCP port ${tcp.port}.\n`);
  return tcp;
}

/** A file that is written from its start; used for the trace too. */
export async function openFile(path: string): Promise<SerialConsole> {
  try {
    const file = await open(path, 'w');
    return { write: (bytes) => file.writeFile(bytes), close: () => file.close() };
  } catch (error) {
    throw fileError(path, error);
  }
}
