// Commands as bytes: a length and JSON, in which bigints and byte arrays keep their kind.

export function encodeFrame(command: unknown): Uint8Array {
  const body = new TextEncoder().encode(
    JSON.stringify(command, (_key, value: unknown) => {
      if (typeof value === 'bigint') return { $bigint: `0x${value.toString(16)}` };
      if (value instanceof Uint8Array) return { $bytes: Array.from(value) };
      return value;
    }),
  );
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, 4);
  return frame;
}

export function decodeFrame(body: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(body), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('$bigint' in value) return BigInt(String(value.$bigint));
    if ('$bytes' in value) return Uint8Array.from(value.$bytes as number[]);
    return value;
  });
}
