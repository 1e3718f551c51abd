// `mimic run` from the outside: input and output of every kind, endings and their exit codes, wrong usage.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { POWER_OFF, print, STOP, tinyKernel } from '../machine/testing/tiny-kernel.ts';
import { makeFolder, runCli } from './testing/run-cli.ts';

const HELLO = 'print hello\\n\n';

describe('mimic run', { concurrency: 3 }, () => {
  test('piped input is typed to the guest, and a guest that turns itself off ends with 0', async () => {
    using folder = makeFolder({ k: HELLO });
    const input = 'print one\\n\nprint two\\n\npoweroff\n';
    const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, input });
    assert.deepEqual(result, { code: 0, output: 'hello\none\ntwo\n', errors: '' });
  });

  for (const is of ['closed', 'null'] as const) {
    test(`the guest runs on when standard input is ${is}`, async () => {
      using folder = makeFolder({ k: `${HELLO}sleep 300\nprint later\\n\npoweroff\n` });
      const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, input: { is } });
      assert.deepEqual(result, { code: 0, output: 'hello\nlater\n', errors: '' });
    });
  }

  test('the end of piped input does not end the guest', async () => {
    using folder = makeFolder({ k: `${HELLO}sleep 300\nprint later\\n\npoweroff\n` });
    const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, input: '' });
    assert.equal(result.output, 'hello\nlater\n');
  });

  test('a Debian shell is told of the end of piped input, on a line of its own', async () => {
    using folder = makeFolder({ k: 'echo\n', b: 'busybox' });
    const args = ['run', 'debian', '-k', 'k', '--busybox', 'b'];
    // It goes on telling until the run ends.
    const told = async (input: string) => {
      const signal = { after: '\x04\x04', name: 'SIGTERM' } as const;
      const { code, output } = await runCli(args, { cwd: folder.path, input, signal });
      assert.match(output.replaceAll('\x04', '^D'), /-abc\n(\^D){2,}$/);
      assert.equal(code, 143);
    };
    const notTold = async () => {
      const { code, output } = await runCli([...args, '--timeout', '2s'], { cwd: folder.path });
      assert.match(output, /echoing\n$/);
      assert.equal(code, 124);
    };
    // The first 16 bytes may come before the guest echoes.
    const filler = '-'.repeat(32);
    await Promise.all([told(`${filler}abc\n`), told(`${filler}abc`), notTold()]);
  });

  test('all of a long output arrives before the process ends', async () => {
    using folder = makeFolder({ k: 'flood 200000\npoweroff\n' });
    const { code, output } = await runCli(['run', '-k', 'k'], { cwd: folder.path });
    assert.equal(code, 0);
    assert.equal(output.length, 200_000 * 8);
    assert.ok(output.endsWith('0199999\n'));
  });

  test('a reader that goes away ends the run quietly', async () => {
    using folder = makeFolder({ k: Array(50).fill('flood 10000').join('\n') });
    const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, readOnly: 100 });
    assert.equal(result.code, 141);
    assert.equal(result.errors, '');
  });

  test('endings have their exit codes and say what happened', async () => {
    const panic = 'print [1.0] Kernel panic - not syncing: No working init found.\\n\n';
    const mark = 'print ---[ end Kernel panic - not syncing: No working init found. ]---\\n\n';
    using folder = makeFolder({
      triple: `${HELLO}triple-fault\n`,
      reset: `${HELLO}reset\n`,
      panic: `${panic}reset\n`,
      stuck: `${panic}${mark}spin\n`,
      crash: 'crash\n',
      spin: 'spin\n',
    });
    const table: [args: string[], code: number, message: RegExp][] = [
      [['triple'], 11, /^error: triple fault at rip 0x100000 .*\nhint: "--trace exceptions"/],
      [['reset', '--no-reboot'], 0, /^$/],
      [
        ['panic', '--no-reboot'],
        10,
        /^error: the guest's kernel panicked: No working init found\.\n/,
      ],
      [['stuck'], 10, /^error: the guest's kernel panicked: No working init found\.\n/],
      [['crash'], 1, /^error: Mimic failed, which is a bug: .*told to crash/],
      [['spin', '--timeout', '300ms'], 124, /^error: the time of --timeout is over/],
      [['reset', '--timeout', '300ms'], 124, /^error: the time/],
    ];
    for (const [args, code, message] of table) {
      const result = await runCli(['run', '-k', ...args], { cwd: folder.path });
      assert.equal(result.code, code, args.join(' '));
      assert.match(result.errors, message);
    }
  });

  test('a signal ends the run with the code that shells expect', async () => {
    using folder = makeFolder({ k: `${HELLO}spin\n` });
    for (const [name, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const signal = { after: 'hello', name };
      const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, signal });
      assert.equal(result.code, code);
      assert.equal(result.errors, '');
    }
  });

  test('the serial port and the trace go to files', async () => {
    using folder = makeFolder({ k: `${HELLO}poweroff\n` });
    const args = ['--serial', 'file:out.txt', '--trace', 'instructions:trace.txt'];
    const result = await runCli(['run', '-k', 'k', ...args], { cwd: folder.path });
    assert.deepEqual(result, { code: 0, output: '', errors: '' });
    assert.equal(readFileSync(join(folder.path, 'out.txt'), 'utf8'), 'hello\n');
    const trace = readFileSync(join(folder.path, 'trace.txt'), 'utf8');
    assert.equal(trace, 'instruction print hello\\n\ninstruction poweroff\n');
  });
});

describe('mimic run of a real machine', { concurrency: 2 }, () => {
  test('a kernel prints and turns the machine off', async () => {
    using folder = makeFolder({ k: tinyKernel([...print('Hello!\n'), ...POWER_OFF, ...STOP]) });
    const result = await runCli(['run', '-k', 'k', '-m', '16M'], { cwd: folder.path, real: true });
    assert.equal(result.code, 0);
    assert.equal(result.output, 'Hello!\n');
  });

  test('a triple fault says where', async () => {
    using folder = makeFolder({ k: tinyKernel([0x0f, 0x0b]) });
    const result = await runCli(['run', '-k', 'k', '-m', '16M'], { cwd: folder.path, real: true });
    assert.equal(result.code, 11);
    assert.match(result.errors, /error: triple fault at rip 0x100000 \(cs 0x10, .*cr0 0x11/);
  });
});

describe('mimic run on a terminal', { concurrency: 3 }, () => {
  /** The output between the two lines of stty, which must be the same. */
  function checkRestored(output: string): string {
    const lines = output.replaceAll('\r', '').trim().split('\n');
    const settings = (line = '') => /[0-9a-f]+(:[0-9a-f]+){10,}/.exec(line)?.[0];
    assert.ok(settings(lines[0]) !== undefined);
    assert.equal(settings(lines.at(-1)), settings(lines[0]));
    return lines.slice(1, -1).join('\n');
  }

  test('Ctrl-A x quits with 0; Ctrl-C goes to the guest; the terminal is restored', async () => {
    using folder = makeFolder({ k: 'echo\n' });
    const typed = [
      { after: 'echoing', keys: 'abc\x03\x01a' },
      { after: 'abc\x03\x01', keys: '\x01x' },
    ];
    const { code, output } = await runCli(['run', '-k', 'k'], { cwd: folder.path, typed });
    assert.equal(code, 0);
    assert.match(checkRestored(output), /Ctrl-A x quits/);
  });

  test('Ctrl-A h helps; Ctrl-A c opens the monitor and goes back to the guest', async () => {
    using folder = makeFolder({ k: `${HELLO}` });
    const typed = [
      { after: 'hello', keys: '\x01h' },
      { after: 'switch between guest and monitor', keys: '\x01c' },
      { after: '(mimic) ', keys: 'info registers\r' },
      { after: 'rip    0000000000100000', keys: 'nonsense\r' },
      { after: 'there is no command "nonsense"', keys: '\x01c' },
      { after: '\n', keys: 'print back\\n\r' },
      { after: 'back', keys: '\x01c' },
      { after: '(mimic) ', keys: 'quit\r' },
    ];
    const { code, output } = await runCli(['run', '-k', 'k'], { cwd: folder.path, typed });
    assert.equal(code, 0);
    checkRestored(output);
  });

  test('the terminal is restored after a triple fault, a crash and a signal', async () => {
    using folder = makeFolder({ triple: `${HELLO}triple-fault\n`, crash: `${HELLO}crash\n` });
    for (const [script, code] of [
      ['triple', 11],
      ['crash', 1],
    ] as const) {
      const result = await runCli(['run', '-k', script], { cwd: folder.path, typed: [] });
      assert.equal(result.code, code);
      checkRestored(result.output);
    }
  });
});

describe('mimic used wrongly', { concurrency: 3 }, () => {
  const DISK = new Uint8Array(1024);
  const table: [what: string, args: string[], message: RegExp][] = [
    ['no kernel', ['run'], /^error: there is no kernel to run\nhint: name one with --kernel/],
    ['missing kernel', ['run', '-k', 'none'], /^error: none: there is no such file\nhint: /],
    ['missing initrd', ['run', '-k', 'k', '-i', 'none'], /^error: none: there is no such file/],
    ['a directory', ['run', '-k', '.'], /^error: \. is a directory, not a file\nhint: /],
    [
      'memory too small',
      ['run', '-k', 'k', '-m', '15M'],
      /^error: 15M of memory is out of range\n/,
    ],
    ['memory too large', ['run', '-k', 'k', '-m', '4G'], /\nhint: a machine has 16M to 3584M\n$/],
    [
      'memory no size',
      ['run', '-k', 'k', '-m', 'lots'],
      /^error: "lots" is not a size\nhint: .*512M/,
    ],
    [
      'a processor that there is not',
      ['run', '-k', 'k', '--cpu', 'v9'],
      /^error: .*"v9"\nhint: choose from v2, v3, max\n$/,
    ],
    ['nine processors', ['run', '-k', 'k', '--cpus', '9'], /^error: .* 9 processors\nhint: /],
    ['unknown option', ['run', '--memroy', '1G'], /'--memroy'\nhint: did you mean --memory\?\n$/],
    ['unknown command', ['rnu'], /^error: unknown command 'rnu'\nhint: did you mean run\?/],
    [
      'odd argument',
      ['run', 'k'],
      /^error: too many arguments.*\nhint: "mimic run --help" explains/,
    ],
    [
      'bad rng',
      ['run', '-k', 'k', '--rng', 'seed:x'],
      /^error: .*'seed:x' is invalid\. Write host/,
    ],
    [
      'bad serial',
      ['run', '-k', 'k', '--serial', 'com1'],
      /^error: .*Write stdio, file:FILE or tcp/,
    ],
    ['bad engine', ['run', '-k', 'k', '--accel', 'kvm'], /^error: .*choices are jit, interpreter/],
    [
      'bad trace',
      ['run', '-k', 'k', '--trace', 'all'],
      /^error: "all" is not something to trace\n/,
    ],
    ['bad time', ['run', '-k', 'k', '--timeout', 'soon'], /^error: .*Write a time such as 90s/],
    ['missing disk', ['run', '-k', 'k', '-d', 'none'], /^error: none: there is no such file/],
    ['no whole sectors', ['run', '-k', 'k', '-d', 'k'], /^error: k has .* not a raw disk of whole/],
    ['bad disk option', ['run', '-k', 'k', '-d', 'd,rw'], /^error: .*A disk has no option "rw"/],
    ['disk twice', ['run', '-k', 'k', '-d', 'd', '-d', 'd'], /^error: d is in use by another/],
    [
      'missing share',
      ['run', '-k', 'k', '--share', 'none'],
      /^error: none: there is no such folder/,
    ],
    [
      'share of a file',
      ['run', '-k', 'k', '--share', 'd'],
      /^error: d is a file, not a folder\nhint/,
    ],
    ['bad tag', ['run', '-k', 'k', '--share', '.:a b'], /^error: "a b" is not a tag .*\nhint: /],
    [
      'empty tag',
      ['run', '-k', 'k', '--share', '.:'],
      /^error: "" is not a tag for a shared folder/,
    ],
    [
      'tag twice',
      ['run', '-k', 'k', '--share', '.', '--share', '.:x', '--share', '.'],
      /^error: two shared folders have the tag "share"\nhint: give each a tag of its own/,
    ],
    ['bad share option', ['run', '-k', 'k', '--share', '.,rw'], /^error: .*has no option "rw"/],
    ['bad address', ['run', '-k', 'k', '--serial', 'tcp:x'], /^error: "x" is not an address/],
    [
      'serial file in no folder',
      ['run', '-k', 'k', '--serial', 'file:a/b'],
      /^error: a\/b: there is/,
    ],
    [
      'trace file in no folder',
      ['run', '-k', 'k', '--trace', 'ports:a/b'],
      /^error: a\/b: there is/,
    ],
  ];
  for (const [what, args, message] of table) {
    test(`${what}: one sentence, a hint, code 2, nothing left behind`, async () => {
      using folder = makeFolder({ k: HELLO, d: DISK });
      const result = await runCli(args, { cwd: folder.path });
      assert.match(result.errors, message);
      assert.equal(result.code, 2);
      assert.equal(result.output, '');
      assert.ok(result.errors.split('\n').length <= 3, result.errors);
      assert.deepEqual(folder.left(), []);
    });
  }

  const ARM64 = new Uint8Array(4096);
  ARM64.set(new TextEncoder().encode('ARMd'), 0x38);
  const TRUNCATED = tinyKernel(Array(512).fill(0x90)).subarray(0, 600);
  const kernels: [what: string, kernel: Uint8Array, message: RegExp][] = [
    [
      'a script',
      new TextEncoder().encode('#!/bin/sh\n'),
      /^error: .* is not a kernel\.\nhint: Pass an x86/,
    ],
    ['a truncated kernel', TRUNCATED, /^error: .* ends too early: .*\nhint: Copy or download/],
    [
      'a kernel for ARM',
      ARM64,
      /^error: .* is an ARM64 kernel; this machine is an x86 PC\.\nhint: /,
    ],
    ['an empty file', new Uint8Array(), /^error: The kernel file is empty\.\nhint: /],
  ];
  for (const [what, kernel, message] of kernels) {
    test(`${what} in place of a kernel: one sentence, a hint, code 2`, async () => {
      using folder = makeFolder({ k: kernel });
      const result = await runCli(['run', '-k', 'k'], { cwd: folder.path, real: true });
      assert.match(result.errors, message);
      assert.equal(result.code, 2);
      assert.deepEqual(folder.left(), []);
    });
  }

  test('a TCP port that something else listens on', async () => {
    using folder = makeFolder({ k: HELLO });
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const args = ['run', '-k', 'k', '--serial', `tcp:127.0.0.1:${port}`];
    const result = await runCli(args, { cwd: folder.path });
    server.close();
    assert.equal(result.code, 2);
    assert.match(
      result.errors,
      /^error: something else listens on .* already\nhint: choose another/,
    );
  });

  test('a disk that another process holds', async () => {
    using folder = makeFolder({ k: HELLO, d: DISK });
    const holder = spawn('flock', ['d', 'sh', '-c', 'echo held; read end'], { cwd: folder.path });
    await once(holder.stdout, 'data');
    const result = await runCli(['run', '-k', 'k', '-d', 'd'], { cwd: folder.path });
    holder.stdin.end();
    assert.equal(result.code, 2);
    assert.match(result.errors, /^error: d is in use by another machine\nhint: /);
  });

  test('help goes to standard output and has examples and exit codes', async () => {
    using folder = makeFolder({});
    for (const args of [
      ['run', '--help'],
      ['run', 'debian', '--help'],
      ['help', 'run'],
    ]) {
      const { code, output, errors } = await runCli(args, { cwd: folder.path });
      assert.equal(code, 0);
      assert.equal(errors, '');
      assert.match(output, /Examples:[\s\S]*Exit codes:/);
    }
  });
});
