// npm run fuzz: random programs on the interpreter, the translator and the host's processor (tests/fuzz/fuzz.ts).

import { main } from '../tests/fuzz/fuzz.ts';

main(process.argv.slice(2));
