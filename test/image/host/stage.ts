import type { LabProcess } from '../../kernel/lab/namespace.ts';
import type { Engine } from '../../lab/engine.ts';
import type { EngineName } from '../apart.ts';
import type { HostWorld } from './world.ts';

/** What the tests of one engine share; filled in before they run. */
export interface Stage {
  readonly name: EngineName;
  engine: Engine;
  world: HostWorld;
  /** The host role that runs now. */
  role: LabProcess;
  /** Our rules and jumps, both families. */
  readonly ours: () => Promise<string>;
}
