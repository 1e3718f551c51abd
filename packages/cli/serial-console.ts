// Where the guest's serial port goes: the terminal or pipe, a file, or whoever calls a TCP port.

import { open } from 'node:fs/promises';
import { fileError, type Machine, TcpConsole } from 'mimic';
import type { SerialTarget } from './run-options.ts';
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
    case 'file':
      return await openFile(target.path);
    case 'tcp': {
      const tcp = await TcpConsole.listen(target.address, (bytes) => machine.serial.write(bytes));
      process.stderr.write(`The serial port waits for a caller on TCP port ${tcp.port}.\n`);
      return tcp;
    }
  }
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
