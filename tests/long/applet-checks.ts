// Programs to run in a guest whose output is known from the host: busybox's applets on data that they make themselves
// and on busybox's own code. Nothing here prints a time, an address, a user or a kernel's name.

import type { GuestCheck } from '@mimic/testing';

const check = (name: string, script: string): GuestCheck => ({
  name,
  script: `${script.trim()}\n`,
});

/** Integer work: hashes, compression, archives. */
const DATA = [
  check(
    'digests',
    `
    for sum in md5sum sha1sum sha256sum sha512sum sha3sum crc32; do
      for count in 0 1 55 56 63 64 65 111 112 119 128 1000; do
        head -c $count $BUSYBOX | $sum
      done
      $sum < $BUSYBOX
    done
  `,
  ),
  check(
    'cat-copies',
    'cat $BUSYBOX $BUSYBOX > both; wc -c both; md5sum < both; head -c 1000000 $BUSYBOX | cmp - both; echo $?',
  ),
  check(
    'gzip',
    'gzip -c < $BUSYBOX > a.gz; wc -c < a.gz; md5sum < a.gz; gunzip -c a.gz | cmp - $BUSYBOX && echo same',
  ),
  check(
    'bzip2',
    'head -c 400000 $BUSYBOX > a; bzip2 -k a; md5sum < a.bz2; bunzip2 -c a.bz2 | cmp - a && echo same',
  ),
  check('lzop', 'head -c 400000 $BUSYBOX > a; lzop -k a && lzop -dc a.lzo | cmp - a && echo same'),
  check(
    'tar',
    `
    mkdir -p d/e; seq 1 3000 > d/one; head -c 70000 $BUSYBOX > d/e/two; ln -s one d/link; chmod 640 d/one
    tar -cf - d | tar -tf - | sort; tar -czf d.tgz d; mkdir x; tar -xzf d.tgz -C x; cmp d/e/two x/d/e/two
    readlink x/d/link; stat -c '%a %s %n' x/d/one; diff -r d x/d && echo same
  `,
  ),
  check(
    'cpio',
    `
    mkdir d; seq 1 500 > d/one; head -c 5000 $BUSYBOX > d/two
    find d | sort | cpio -o -H newc 2>/dev/null > a; cpio -t < a; mkdir x; cd x; cpio -id < ../a; diff -r d ../d && echo same
  `,
  ),
  check(
    'base64',
    'head -c 100000 $BUSYBOX > a; base64 a | md5sum; base64 a | base64 -d | cmp - a && echo same',
  ),
  check(
    'uuencode',
    'head -c 50000 $BUSYBOX > a; uuencode a b | tee c | md5sum; uudecode c; cmp a b && echo same',
  ),
  check(
    'dd',
    `
    dd if=$BUSYBOX of=a bs=777 skip=3 seek=5 count=1000 2>/dev/null; md5sum < a
    dd if=/dev/zero bs=1M count=16 2>/dev/null | md5sum
  `,
  ),
  check(
    'od',
    'head -c 4096 $BUSYBOX | od -A x -t x1 | md5sum; head -c 256 $BUSYBOX | od -t u8 -t d2 -t o4',
  ),
  check('od-float', 'head -c 900000 $BUSYBOX | tail -c 640 | od -A d -t f8 -t f4'),
  check('hexdump', 'head -c 20000 $BUSYBOX | hexdump -C | md5sum; head -c 200 $BUSYBOX | xxd'),
  check('strings', 'strings -n 6 $BUSYBOX | md5sum; strings $BUSYBOX | wc -l'),
  check(
    'patch',
    'seq 1 300 > a; sed s/7/seven/ a > b; diff -u a b | tail -n +3 > p; head -n 40 p; (echo "--- a"; echo "+++ a"; cat p) | patch -p0 a; cmp a b && echo same',
  ),
];

/** Text and shell. */
const TEXT = [
  check(
    'sort',
    "seq 1 20000 | awk '{ print ($1 * 7919) % 20011, $1 }' > a; sort -n a | md5sum; sort a | md5sum; sort -k2,2nr a | head -n 5; sort -u -n a | wc -l",
  ),
  check(
    'sed',
    'seq 1 5000 | sed -n -e "s/\\([0-9]\\)\\([0-9]\\)$/\\2-\\1/p" | md5sum; seq 1 20 | sed -e "2,4d;s/1/<&>/g;\\$!N;P;D"',
  ),
  check(
    'grep',
    'strings $BUSYBOX > a; grep -c e a; grep -E -c "^[a-z]+_[a-z]+" a; grep -n -i "usage" a | md5sum; grep -o -E "[0-9]{3,}" a | md5sum',
  ),
  check(
    'tr',
    'seq 1 5000 | tr 0-9 a-j | tr -s "\\n" " " | md5sum; echo Hello, World | tr "[:lower:]" "[:upper:]" | rev',
  ),
  check(
    'text',
    'seq 1 2000 > a; paste a a | tail -n 2; fold -w 7 a | md5sum; nl a | md5sum; tac a | head -n 3; cut -c 2- a | md5sum; expand a | wc; comm -12 a a 2>/dev/null | wc -l; uniq -c a | tail -n 1',
  ),
  check(
    'diff',
    'seq 1 1000 > a; sed -e 5d -e s/50/fifty/ a > b; diff -u a b | tail -n +3 | md5sum; diff -q a b; echo $?',
  ),
  check(
    'factor',
    'factor 1 2 97 65536 1000003 4294967291 4294967297 1000000007000000 600851475143 999999000001',
  ),
  check('cal', 'cal 2024; cal 1 1970; cal 9 1752; cal 2 2000'),
  check(
    'date',
    'for t in 0 86399 951782400 1000000000 1709164800 2147483647 4102444800; do date -u -d @$t "+%Y-%m-%d %H:%M:%S %j %U %a %s"; done',
  ),
  check('ed', 'seq 1 10 > a; printf "3d\\n2,4s/5/five/\\nw\\nq\\n" | ed a; cat a'),
  check('xargs', 'seq 1 100 | xargs -n 7 echo | md5sum; seq 1 8 | xargs -n 1 -I{} echo "<{}>"'),
  check(
    'find',
    'mkdir -p a/b/c; touch a/x a/b/y a/b/c/z; find a -type f | sort; find a -name "[yz]" -exec echo found {} ";" | sort',
  ),
  check(
    'expr',
    'expr 6 \\* 7; expr 100 / 7; expr -17 % 5; expr length abcdef; expr abc : "a\\(.\\)"; echo $((0x7fffffffffffffff + 1)) $((-7 / 2)) $((-7 % 3)) $((1 << 62)) $((-1 >> 1)) $((5 ** 0))',
  ),
  check(
    'shell',
    `
    fib() { if [ $1 -lt 2 ]; then echo $1; else echo $(( $(fib $(($1 - 1))) + $(fib $(($1 - 2))) )); fi; }
    fib 9
    i=0; s=0; while [ $i -lt 5000 ]; do s=$((s * 31 + i & 0xffffffff)); i=$((i + 1)); done; echo $s
    x=abc.def.ghi; echo \${x%.*} \${x##*.} \${#x} \${x/def/DEF} \${x:4:3}
    trap 'echo trapped' USR1; kill -USR1 $$; (exit 42); echo $?
    false || true && echo and; case foo in f*) echo matched;; esac
    cat <<EOF | while read -r a b; do echo "$b $a"; done
1 one
2 two
EOF
    sleep 0.1 & wait $!; echo $?
  `,
  ),
  check(
    'signals',
    'ulimit -c 0; (trap "echo term; exit 3" TERM; kill -TERM $(exec sh -c "echo \\$PPID"); sleep 1) ; echo $?; sh -c "kill -SEGV \\$\\$"; echo $?; timeout 1 sleep 5; echo $?',
  ),
  check(
    'pipes',
    'yes | head -n 10000 | md5sum; seq 1 3 | tee a b | cat - a b; mkfifo f; (seq 1 1000 > f) & sort -rn f | head -n 2',
  ),
];

/** Floating point: 17 digits show every bit of a double. */
const FLOATING = [
  check(
    'maths-functions',
    `
    $MAWK 'BEGIN { for (i = 1; i <= 200; i++) { x = i * 0.37 - 20
      printf "%.17g %.17g %.17g %.17g %.17g %.17g %.17g\\n",
        x, exp(x), log(x * x), sin(x * x), cos(x), atan2(x, 3.5 - i), sqrt(i) } }'
  `,
  ),
  check(
    'maths-large',
    `
    $MAWK 'BEGIN { for (e = -320; e <= 308; e += 4) { x = 10 ^ e * 1.2345
      printf "%.17g %.17g %.17g %e %d\\n", x, sin(x), log(x), sqrt(x), x % 7 } }'
  `,
  ),
  check(
    'maths-pow',
    `$MAWK 'BEGIN { for (i = 1; i < 60; i++) printf "%.17g %.17g %.17g\\n", i ^ 0.5, (1 + 1 / i) ^ i, i ^ -i }'`,
  ),
  check(
    'maths-special',
    `$MAWK 'BEGIN { big = 10 ^ 308; inf = big * 10; nan = inf - inf
      print inf, -inf, (nan == nan), int(-3.7), int(2 ^ 53 + 1), 1e308 + 1e308, log(0)
      printf "%.17g %g %g\\n", 2 ^ -1074, log(0), exp(-800) }'`,
  ),
  check(
    'awk-print',
    `awk 'BEGIN { for (i = 0; i < 100; i++) { x = i / 7; print x, x * 1e10, int(x * 1e6); printf "%8.3f|%-12.5e|%g|%i|%x|%o|%c\\n", x, x, x, x, i, i, 65 + i % 26 } }'`,
  ),
  check(
    'awk-sum',
    `awk 'BEGIN { for (i = 0; i < 100000; i++) s += 1 / (i + 1) - i * 1e-9; printf "%.17g\\n", s }'`,
  ),
  check(
    'awk-text',
    `strings $BUSYBOX | awk '{ n[length($0)]++; w += NF } END { for (i = 0; i < 40; i++) print i, n[i]; print w }'`,
  ),
  check(
    'awk-mandelbrot',
    `
    awk 'BEGIN { for (y = -1.2; y <= 1.2; y += 0.1) { line = ""
      for (x = -2; x <= 0.6; x += 0.05) { a = b = n = 0
        while (n < 40 && a * a + b * b < 4) { t = a * a - b * b + x; b = 2 * a * b + y; a = t; n++ }
        line = line substr(" .:-=+*#%@", 1 + n / 4.01, 1) }
      print line } }'
  `,
  ),
  check(
    'bc',
    'echo "scale = 60; 4 * a(1); e(1); l(2); sqrt(2); s(1); 2 ^ 300; 355 / 113; obase = 16; 2 ^ 100 - 1" | bc -l',
  ),
  check(
    'dc',
    'echo "40 k 2 v p 3 7 / p 2 200 ^ p 16 o 255 p [la 1 + d sa p 5 >b] sb 0 sa lb x" | dc',
  ),
  check(
    'printf',
    'printf "%.15g %.3f %e %g\\n" 3.14159265358979 2.5 12345.678 1e-10; printf "%d %x %o %05d|%-6s|%6s|\\n" 255 255 255 42 ab cd',
  ),
  check('seq-float', 'seq 0 0.1 5; seq -w 1 0.25 3; seq 10 -2.5 -10'),
  check('sleep', 'sleep 0.25; usleep 1000; echo slept'),
];

export const APPLET_CHECKS: readonly GuestCheck[] = [...DATA, ...TEXT, ...FLOATING];
