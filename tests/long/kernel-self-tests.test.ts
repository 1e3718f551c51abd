// Linux tests itself on the machine: its cryptography against known answers, in C and in assembly for each extension
// that CPUID claims; RAID6 and XOR; the BPF interpreter and compiler; copies between user and kernel; code patching.
// Linux, Documentation/crypto/architecture.rst, lib/test_*.c, crypto/tcrypt.c.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type CheckResult, collectChecks, type GuestCheck, startGuest } from '@mimic/testing';
import { checksInitramfs } from '../../tools/guests/initramfs.ts';
import {
  debianBusybox,
  debianKernel,
  kernelModules,
  modprobeTree,
  modulesUnder,
} from '../../tools/guests/kernels.ts';

const TIMEOUTS = { bootMs: 300_000, checkMs: 1_800_000 };
/** Assembly that the kernels' cryptography has for a model and not for smaller ones. */
const DRIVERS = {
  amd64: [
    'crc32c-intel',
    ...['sha1-ssse3', 'sha256-ssse3', 'sha512-ssse3', 'blowfish-asm', 'chacha20-simd'],
    ...['cbc-des3_ede-asm', 'nhpoly1305-sse2', 'poly1305-simd', 'cbc-serpent-sse2'],
    ...['ecb-twofish-3way', 'cbc-camellia-asm'],
  ],
  'amd64 on v3': [
    ...['aes-aesni', 'xts-aes-aesni', 'generic-gcm-aesni', 'ghash-clmulni', 'crc32-pclmul'],
    ...['crct10dif-pclmul', 'sha1-avx2', 'sha1-ni', 'sha256-avx2', 'sha256-ni', 'sha512-avx2'],
    ...['cbc-camellia-aesni-avx2', 'ecb-serpent-avx2', 'ecb-twofish-avx', 'nhpoly1305-avx2'],
  ],
  '686-pae': ['crc32c-intel', 'cbc-serpent-sse2', 'twofish-asm'],
} as const;
/** Debian's kernels, each on a processor. */
const SETUPS = [
  { name: 'amd64', flavour: 'amd64', cpu: 'v2', recovery: /ssse3x[12]/ },
  { name: 'amd64 on v3', flavour: 'amd64', cpu: 'v3', recovery: /avx2x[12]/ },
  { name: '686-pae', flavour: '686-pae', cpu: 'v2', recovery: /ssse3x[12]/ },
] as const;
/** Folders of the package whose modules go into the guest. */
const MODULE_FOLDERS = ['crypto', 'arch/x86/crypto', 'lib'];
/** The ones that this processor has no use for say so. */
const LOAD_ALL = `
while read -r module; do
  modprobe "$module" 2>/tmp/error || echo "$module: $(sed 's/.*: //' /tmp/error)"
done </lib/modules/wanted
`;

/** tcrypt also asks for algorithms that Debian does not build: ENOENT is 2. */
const NOT_SHIPPED =
  'grep -v -E "failed to allocate transform for .*: -2$|[(]rc=-2[)]$|tcrypt: one or more tests failed"';

const check = (name: string, script: string): GuestCheck => ({
  name,
  script: `${script.trim()}\n`,
});

const CHECKS: readonly GuestCheck[] = [
  check('raid6', 'modprobe raid6_pq && dmesg | grep raid6:'),
  check('xor', 'modprobe xor && dmesg | grep xor:'),
  check('crypto-modules', LOAD_ALL),
  // By design it never stays loaded: the error says that all tests were run.
  check(
    'tcrypt',
    `insmod /lib/modules/$(uname -r)/tcrypt.ko 2>&1; dmesg | grep -E "alg:|tcrypt:" | ${NOT_SHIPPED}`,
  ),
  check('proc-crypto', 'cat /proc/crypto'),
  check('user-copy', 'modprobe test_user_copy && dmesg | grep user_copy'),
  check('static-keys', 'modprobe test_static_key_base && modprobe test_static_keys && echo passed'),
  check('bpf', 'modprobe test_bpf; dmesg | grep test_bpf: | grep -E "Summary|FAIL"'),
  check('complaints', `dmesg -r | grep -E "^<[0-3]>|BUG:|WARNING:|alg: .*fail" | ${NOT_SHIPPED}`),
];

for (const { name, flavour, cpu, recovery } of SETUPS) {
  describe(`Debian's kernel ${name}`, () => {
    let results = new Map<string, CheckResult>();
    const output = (check: string) => results.get(check)?.output ?? '';

    before(async () => {
      const kernel = await debianKernel(flavour);
      const wanted = MODULE_FOLDERS.flatMap((folder) => modulesUnder(kernel, folder));
      const crypto = MODULE_FOLDERS.slice(0, 2).flatMap((folder) => modulesUnder(kernel, folder));
      const initrd = checksInitramfs({
        busybox: await debianBusybox(kernel.architecture),
        checks: CHECKS,
        files: [
          ...modprobeTree(kernel, kernelModules(kernel, wanted)),
          {
            path: 'lib/modules/wanted',
            contents: crypto
              .filter((name) => name !== 'tcrypt')
              .map((name) => `${name}\n`)
              .join(''),
          },
        ],
      });
      await using guest = await startGuest({
        kernel: kernel.image,
        initrd,
        append: 'quiet log_buf_len=4M',
        memoryMib: 512,
        cpu,
      });
      results = await collectChecks(guest, CHECKS, TIMEOUTS);
      assert.equal(await guest.exited, 'power-off');
    });

    test('RAID6 syndromes: the kernel measures its algorithms and picks the fastest', () => {
      assert.match(output('raid6'), /raid6: using algorithm \S+ gen\(\)/);
      const [, used = ''] = /raid6: using (\S+) recovery algorithm/.exec(output('raid6')) ?? [];
      assert.match(used, recovery);
    });

    test('XOR of blocks: the kernel measures its algorithms and picks the fastest', () => {
      assert.match(output('xor'), /xor: (using function|automatically using best)/);
    });

    test('every cryptographic algorithm passes the kernel’s test of it', () => {
      const entries = output('proc-crypto').trim().split('\n\n');
      const failed = entries.filter((entry) => !/^selftest +: passed$/m.test(entry));
      assert.deepEqual(failed, []);
      const count = entries.length;
      assert.ok(count > 100, `${count} algorithms were there to test`);
      const drivers = new Set(output('proc-crypto').match(/(?<=^driver +: ).*$/gm));
      const missing = DRIVERS[name].filter((driver) => !drivers.has(driver));
      assert.deepEqual(missing, []);
    });

    test('no known answer of tcrypt was missed', () => {
      // A missing algorithm is named as such; without any, tcrypt has not run.
      assert.match(output('tcrypt'), /insmod: can't insert .*tcrypt.ko/);
      assert.doesNotMatch(output('tcrypt'), /alg: .*(fail|unexpected|wrong|mismatch)/i);
    });

    test('copies between user and kernel stop where they have to', () => {
      assert.match(output('user-copy'), /test_user_copy: tests passed/);
    });

    test('code that is patched while it runs is run as patched', () => {
      assert.equal(output('static-keys'), 'passed\n');
    });

    test('the BPF interpreter and compiler pass all their tests', () => {
      const summary = /Summary: (\d+) PASSED, (\d+) FAILED/g;
      const counts = [...output('bpf').matchAll(summary)];
      assert.notEqual(counts.length, 0);
      for (const [, passed, failed] of counts) {
        assert.ok(Number(passed) > 0);
        assert.equal(failed, '0', output('bpf'));
      }
    });

    test('the kernel complained of nothing', () => {
      assert.equal(output('complaints'), '');
    });
  });
}
