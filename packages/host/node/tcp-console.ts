// A serial port on a TCP socket: waits for one caller at a time, who then sees the last output and types to the guest.

import { createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../errors.ts';

/** A caller first gets this much of what the guest sent before. */
const REPLAY_SIZE_MAX_BYTES = 1 << 16;
const HANG_UP_MS = 2_000;

export class TcpConsole {
  readonly #server: Server;
  readonly #onInput: (bytes: Uint8Array) => Promise<void>;
  #caller: Socket | undefined;
  #replay: Uint8Array = new Uint8Array();

  /** `address` is 'HOST:PORT' or '[IPV6]:PORT'. Fails with a `HostError` if it cannot be listened on. */
  static async listen(
    address: string,
    onInput: (bytes: Uint8Array) => Promise<void>,
  ): Promise<TcpConsole> {
    const { host, port } = parseAddress(address);
    const tcpConsole = new TcpConsole(onInput);
    await new Promise<void>((resolve, reject) => {
      tcpConsole.#server.once('error', (cause) => reject(listenError(address, cause)));
      tcpConsole.#server.listen(port, host, resolve);
    });
    return tcpConsole;
  }

  private constructor(onInput: (bytes: Uint8Array) => Promise<void>) {
    this.#onInput = onInput;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** The port, of use when it was asked for as 0. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Resolves when the caller has taken the bytes; at once when there is none. */
  async write(bytes: Uint8Array): Promise<void> {
    const replay = new Uint8Array(this.#replay.length + bytes.length);
    replay.set(this.#replay);
    replay.set(bytes, this.#replay.length);
    this.#replay = replay.slice(-REPLAY_SIZE_MAX_BYTES);
    const caller = this.#caller;
    if (caller === undefined || caller.write(bytes)) return;
    await new Promise<void>((resolve) => {
      caller.once('drain', resolve);
      caller.once('close', () => resolve());
    });
  }

  /** Hangs up after what was written has been sent (not for ever to a caller that does not read), stops listening. */
  async close(): Promise<void> {
    const caller = this.#caller;
    caller?.destroySoon();
    const timeout = setTimeout(() => caller?.destroy(), HANG_UP_MS);
    timeout.unref();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #accept(socket: Socket): void {
    if (this.#caller !== undefined) {
      socket.end('mimic: someone else is connected to this console\r\n');
      return;
    }
    this.#caller = socket;
    socket.setNoDelay(true);
    // A caller that resets the connection has hung up, nothing more.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#caller = undefined;
    });
    socket.on('data', (bytes) => {
      socket.pause();
      this.#onInput(bytes).then(
        () => socket.resume(),
        () => socket.end(),
      );
    });
    socket.write(this.#replay);
  }
}

function parseAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new HostError('ADDRESS_BAD', `"${address}" is not an address to listen on`, {
      hint: 'write HOST:PORT, such as 127.0.0.1:4000',
    });
  }
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

function listenError(address: string, cause: Error): HostError {
  const code = 'code' in cause ? cause.code : undefined;
  if (code === 'EADDRINUSE') {
    return new HostError('ADDRESS_IN_USE', `something else listens on ${address} already`, {
      hint: 'choose another port, or 0 for any free one',
      cause,
    });
  }
  return new HostError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${cause.message}`, {
    hint: 'use an address of this host, such as 127.0.0.1, and a port above 1023',
    cause,
  });
}
