// The worker of a machine whose computer is a script. Started by tests only.

import { ScriptedComputer } from '../../../machine/testing/scripted-computer.ts';
import { runInWorker } from '../worker-host.ts';

await runInWorker(async (config, wires) => new ScriptedComputer(config, wires));
