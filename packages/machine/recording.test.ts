import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseRecording,
  printHeader,
  printInput,
  type RecordedInput,
  type RecordingHeader,
} from './recording.ts';

const HEADER: RecordingHeader = {
  seed: -3,
  nsPerInstruction: 8,
  startMs: 1_767_225_600_000,
  memoryBytes: 16 << 20,
  cpu: 'v2',
  append: 'a "quoted" word',
  kernel: 'ab',
  initrd: null,
  diskBytes: [512],
  consoleCount: 1,
  network: false,
  onReset: 'boot',
  onTripleFault: 'stop',
};
const INPUTS: readonly RecordedInput[] = [
  { at: { count: 0, ns: 0 }, input: { kind: 'serial', bytes: Uint8Array.of(0, 10, 255) } },
  { at: { count: 7, ns: 90 }, input: { kind: 'console', index: 0, bytes: Uint8Array.of(1) } },
  {
    at: { count: 7, ns: 91 },
    input: {
      kind: 'command',
      name: 'writeRegister',
      argument: { register: 'rax', value: 0xffff_ffff_ffff_ffffn },
    },
  },
  { at: { count: 2 ** 40, ns: 2 ** 50 }, input: { kind: 'end', reason: 'reset', sha256: 'f00' } },
];
const TEXT = [printHeader(HEADER), ...INPUTS.map(printInput)].join('\n');

test('what is printed is parsed again, every byte and number of it', () => {
  const { header, inputs } = parseRecording(`${TEXT}\n`);
  const { format, version, ...rest } = header as RecordingHeader & Record<string, unknown>;
  assert.deepEqual([format, version], ['mimic-recording', 1]);
  assert.deepEqual(rest, HEADER);
  assert.deepEqual(inputs, INPUTS);
});

test('a recording that is wrong is refused with the line that is', () => {
  const lines = TEXT.split('\n');
  const refused = (line: number, text: string) => {
    const changed = lines.with(line - 1, text).join('\n');
    const expected = { code: 'BAD_RECORDING', message: new RegExp(`^line ${line} `) };
    assert.throws(() => parseRecording(changed), expected, text);
  };
  for (const text of [
    'x',
    '{}',
    '[]',
    lines[0]!.replace('"version":1', '"version":2'),
    lines[0]!.replace('"seed":-3', '"seed":"-3"'),
    lines[0]!.replace('"diskBytes":[512]', '"diskBytes":[-1]'),
    lines[0]!.replace('"initrd":null,', ''),
  ]) {
    refused(1, text);
  }
  for (const text of [
    '7',
    '{"at":[7]}',
    '{"at":[7,-1],"kind":"serial","bytes":{"$hex":"00"}}',
    '{"at":[7,90],"kind":"serial","bytes":{"$hex":"0"}}',
    '{"at":[7,90],"kind":"serial","bytes":"00"}',
    '{"at":[7,90],"kind":"console","bytes":{"$hex":"00"}}',
    '{"at":[7,90],"kind":"command","name":"readMemory","argument":{}}',
    '{"at":[7,90],"kind":"command","name":"nmi"}',
    '{"at":[7,90],"kind":"mouse"}',
    '{"at":[7,90],"kind":"end","reason":"x"}',
  ]) {
    refused(3, text);
  }
  refused(4, lines[1]!); // Time does not run backwards.
  assert.throws(() => parseRecording(''), { code: 'BAD_RECORDING' });
});
